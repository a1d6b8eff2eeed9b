"""Time a pipeline with several jobs: `trainlab repro --jobs N` against `dvc repro`, side by side in one run.

python benchmarks/jobs.py sleep            # 13 stages that sleep for 3 seconds
python benchmarks/jobs.py demo             # `make demo` with 1 and 2 jobs
python benchmarks/jobs.py true --rounds 5  # 13 stages that do nothing, with 1 job: what the bookkeeping costs
"""

import os
import resource
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
      cmd: {command}echo ${{item}} > ${{item}}.txt
      outs: ["${{item}}.txt"]
"""


def main(
    what: Annotated[Literal["sleep", "demo", "true"], typer.Argument(help="The pipeline.")],
    jobs: Annotated[
        list[int] | None, typer.Option(help="Numbers of jobs [default: 1 2 4 8 13 16; demo: 1 2; true: 1].")
    ] = None,
    rounds: Annotated[int, typer.Option(help="Times that each is measured.")] = 3,
    seconds: Annotated[float, typer.Option(help="How long a stage sleeps.")] = 3,
) -> None:
    """Print the median wall time and CPU time of each way, and the wall time's ratio to `dvc repro`."""
    counts = jobs or {"sleep": [1, 2, 4, 8, 13, 16], "demo": [1, 2], "true": [1]}[what]
    ways: dict[str, Sequence[str]] = {"dvc repro": ("dvc", "repro", "-q")}
    ways |= {f"trainlab repro --jobs {count}": ("trainlab", "repro", "--jobs", str(count)) for count in counts}
    times: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for _ in range(rounds):  # interleaved, so that a busy minute does not hit one way alone
        for way, command in ways.items():
            with tempfile.TemporaryDirectory() as directory:
                pause = f"sleep {seconds} && " if what == "sleep" else ""
                root = demo(Path(directory)) if what == "demo" else quick(Path(directory), pause)
                times[way].append(timed(root, command))
    base = statistics.median(wall for wall, _ in times["dvc repro"])
    print(
        f"{os.cpu_count()} cores; {rounds} rounds; median (lowest to highest), times as quick as `dvc repro`, CPU time"
    )
    for way, seen in times.items():
        walls, busy = zip(*seen, strict=True)
        median = statistics.median(walls)
        print(
            f"{way:28} {median:7.1f} s  ({min(walls):.1f} to {max(walls):.1f})  {base / median:5.2f}×"
            f"  {statistics.median(busy):6.2f} s  ({min(busy):.2f} to {max(busy):.2f})"
        )


def quick(directory: Path, pause: str) -> Path:
    """Return a project with 13 stages that begin with this command."""
    root = directory / "project"
    root.mkdir()
    (root / "dvc.yaml").write_text(PIPELINE.format(command=pause))
    run(root, "git", "init", "-q")
    run(root, "dvc", "init", "-q")
    return root


def demo(directory: Path) -> Path:
    """Return the demo's project."""
    root = directory / "project"
    run(PROJECT, str(PROJECT / "demo/prepare"), str(root))
    return root


def timed(root: Path, command: Sequence[str]) -> tuple[float, float]:
    """Return the wall time of a command, and the CPU time (user and system) of all of its processes."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    run(root, *command)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - began, busy


def run(root: Path, *command: str) -> None:
    """Run a command of this environment."""
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "DVC_NO_ANALYTICS": "1"}
    if not shutil.which(command[0], path=environment["PATH"]):
        raise SystemExit(f"{command[0]} is not installed: run `make setup`")
    subprocess.run(command, cwd=root, env=environment, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    typer.run(main)
