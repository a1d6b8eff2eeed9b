"""The same bytes in another environment: hash seed, time zone, `python -O`, locale, umask, without HOME or TERM."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.scratch import Scratch

RUN = "dropout_both"
COMMANDS = [
    ["resolve"],
    ["normalize"],
    ["check", RUN],
    ["train", RUN],
    ["evaluate", RUN],
    ["compare", "tricks"],
    ["draw", "tricks"],
    ["report"],
]
# A variable that is None is absent. PYTHONUTF8=0 and PYTHONCOERCECLOCALE=0 keep Python from replacing the locale by UTF-8.
ASCII = {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
ENVIRONMENTS: dict[str, dict[str, str | None]] = {
    "hash seed 1": {"PYTHONHASHSEED": "1"},
    "hash seed 4294967295": {"PYTHONHASHSEED": "4294967295"},
    "time zone": {"TZ": "Asia/Kathmandu"},
    "python -O": {"PYTHONOPTIMIZE": "1"},
    "locale without UTF-8": {**ASCII},
    "umask 077": {},
    "no HOME": {"HOME": None, "XDG_CACHE_HOME": None, "XDG_CONFIG_HOME": None},
    "no TERM": {"TERM": None, "COLUMNS": None},
}
OUTPUTS = ("configs", "data/normalized", "checks", "models", "metrics", "plots", "predictions", "report")


def outputs(repo: Scratch) -> dict[str, str]:
    return {f"{name}/{file}": digest for name in OUTPUTS for file, digest in repo.digests(name).items()}


def reproduce(repo: Scratch, changes: dict[str, str | None], umask: int = -1) -> None:
    """Run each stage in an interpreter of its own, without DVC, whose outputs were deleted before."""
    environment = {name: value for name, value in (repo.environment | changes).items() if value is not None}
    for name in (f"models/{RUN}.safetensors", f"metrics/tricks/{RUN}.json", "metrics/tricks.csv", "report/index.html"):
        repo.path(name).unlink()
    timing = repo.path(f"timings/tricks/{RUN}.json")
    seconds = timing.read_text()
    for stage, *arguments in COMMANDS:
        done = subprocess.run(
            [sys.executable, f"stages/{stage}.py", *arguments],
            cwd=repo.root,
            env=environment,
            umask=umask,
            capture_output=True,
            check=False,
            timeout=240,
        )
        assert done.returncode == 0, done.stderr.decode()
        timing.write_text(seconds)  # measured anew, and shown in the report


@pytest.mark.faults
@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_another_environment_gives_the_same_bytes(name: str, repo: Scratch) -> None:
    before = outputs(repo)
    reproduce(repo, ENVIRONMENTS[name], 0o077 if name == "umask 077" else -1)
    assert outputs(repo) == before


@pytest.mark.faults
def test_all_changes_of_the_environment_at_once_give_the_same_bytes(repo: Scratch) -> None:
    before = outputs(repo)
    reproduce(repo, {key: value for changes in ENVIRONMENTS.values() for key, value in changes.items()}, 0o077)
    assert outputs(repo) == before
    assert Path(repo.path("models") / f"{RUN}.safetensors").stat().st_mode & 0o777 == 0o600
