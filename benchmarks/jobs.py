"""Time a pipeline with several jobs: `trainlab repro --jobs N` against `dvc repro`, side by side in one run.

python benchmarks/jobs.py sleep            # 13 stages that sleep for 3 seconds
python benchmarks/jobs.py demo             # `make demo` with 1 and 2 jobs
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

PROJECT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
PIPELINE = """
stages:
  one:
    foreach: [a, b, c, d, e, f, g, h, i, j, k, l, m]
    do:
      cmd: sleep {seconds} && echo ${{item}} > ${{item}}.txt
      outs: ["${{item}}.txt"]
"""


def main(
    what: Annotated[Literal["sleep", "demo"], typer.Argument(help="The pipeline.")],
    jobs: Annotated[list[int] | None, typer.Option(help="Numbers of jobs [default: 1 2 4 8 13 16, or 1 2].")] = None,
    rounds: Annotated[int, typer.Option(help="Times that each is measured.")] = 3,
    seconds: Annotated[float, typer.Option(help="How long a stage sleeps.")] = 3,
) -> None:
    """Print the median wall time of each way, and its ratio to `dvc repro`."""
    counts = jobs or ([1, 2, 4, 8, 13, 16] if what == "sleep" else [1, 2])
    ways: dict[str, Sequence[str]] = {"dvc repro": ("dvc", "repro", "-q")}
    ways |= {f"trainlab repro --jobs {count}": ("trainlab", "repro", "--jobs", str(count)) for count in counts}
    times: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):  # interleaved, so that a busy minute does not hit one way alone
        for way, command in ways.items():
            with tempfile.TemporaryDirectory() as directory:
                root = sleeping(Path(directory), seconds) if what == "sleep" else demo(Path(directory))
                times[way].append(timed(root, command))
    base = statistics.median(times["dvc repro"])
    print(f"{os.cpu_count()} cores; {rounds} rounds; median (lowest to highest), and times as quick as `dvc repro`")
    for way, seen in times.items():
        median = statistics.median(seen)
        print(f"{way:28} {median:7.1f} s  ({min(seen):.1f} to {max(seen):.1f})  {base / median:5.2f}×")


def sleeping(directory: Path, seconds: float) -> Path:
    """Return a project with 13 stages that sleep."""
    root = directory / "project"
    root.mkdir()
    (root / "dvc.yaml").write_text(PIPELINE.format(seconds=seconds))
    run(root, "git", "init", "-q")
    run(root, "dvc", "init", "-q")
    return root


def demo(directory: Path) -> Path:
    """Return the demo's project."""
    root = directory / "project"
    run(PROJECT, str(PROJECT / "demo/prepare"), str(root))
    return root


def timed(root: Path, command: Sequence[str]) -> float:
    """Return the wall time of a command."""
    began = time.perf_counter()
    run(root, *command)
    return time.perf_counter() - began


def run(root: Path, *command: str) -> None:
    """Run a command of this environment."""
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "DVC_NO_ANALYTICS": "1"}
    if not shutil.which(command[0], path=environment["PATH"]):
        raise SystemExit(f"{command[0]} is not installed: run `make setup`")
    subprocess.run(command, cwd=root, env=environment, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    typer.run(main)
