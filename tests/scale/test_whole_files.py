"""DVC's own files after a kill or on a full disk: as they were before."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dvc import rwlock
from dvc.fs import localfs
from dvc.utils.serialize import _yaml, dump_yaml, modify_yaml

from trainlab.scale.whole_files import kept_whole

pytestmark = pytest.mark.slow  # imports DVC

LOCKED = {"read": {}, "write": {"model": {"pid": 1, "cmd": "dvc repro"}}}
LOCK_FILE = "schema: '2.0'\nstages:\n  train:\n    cmd: python train.py   # a comment\n"


def note(directory: Path, path: str) -> None:
    """Note in the rwlock that this process writes a path."""
    with rwlock._edit_rwlock(str(directory), localfs, False) as found:
        found["write"][path] = {"pid": 2, "cmd": "trainlab repro"}


def noted(directory: Path) -> set[str]:
    return set(json.loads((directory / "rwlock").read_text())["write"])


def add_a_stage(path: Path) -> None:
    with modify_yaml(str(path)) as content:
        content["stages"]["évaluate"] = {"cmd": "python évaluate.py"}


def write(path: Path) -> None:
    dump_yaml(str(path), {"stages": {"évaluate": {"cmd": "python évaluate.py"}}})


def dies(content: object, file: Any, *rest: object) -> None:
    """End as a process that is killed after it has written a part."""
    file.write("half of it")
    file.flush()
    raise SystemExit(137)


def test_locks_are_added_as_dvc_adds_them(tmp_path: Path) -> None:
    for name in ("ours", "theirs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "rwlock").write_text(json.dumps(LOCKED))
    with kept_whole():
        note(tmp_path / "ours", "plots")
    note(tmp_path / "theirs", "plots")
    assert noted(tmp_path / "ours") == {"model", "plots"}
    assert (tmp_path / "ours/rwlock").read_bytes() == (tmp_path / "theirs/rwlock").read_bytes()


def test_an_end_while_the_locks_are_written_leaves_those_of_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rwlock").write_text(json.dumps(LOCKED))
    monkeypatch.setattr(json, "dump", dies)
    with kept_whole(), pytest.raises(SystemExit):
        note(tmp_path, "plots")
    assert noted(tmp_path) == {"model"}


@pytest.mark.parametrize("damaged", ["", '{"read": {}, "wri'])
def test_damaged_locks_are_started_anew(damaged: str, tmp_path: Path) -> None:
    (tmp_path / "rwlock").write_text(damaged)
    with pytest.raises(rwlock.RWLockFileCorruptedError):  # of DVC alone
        note(tmp_path, "plots")
    with kept_whole():
        note(tmp_path, "plots")
    assert noted(tmp_path) == {"plots"}


def test_missing_locks_are_made(tmp_path: Path) -> None:
    with kept_whole():
        note(tmp_path, "plots")
    assert noted(tmp_path) == {"plots"}


@pytest.mark.parametrize("change", [add_a_stage, write])
def test_a_lock_file_has_the_bytes_of_dvc(change: Callable[[Path], None], tmp_path: Path) -> None:
    for name in ("ours", "theirs"):
        (tmp_path / name).write_text(LOCK_FILE)
    with kept_whole():
        change(tmp_path / "ours")
    change(tmp_path / "theirs")
    assert "évaluate" in (tmp_path / "ours").read_text(encoding="utf-8")
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "theirs").stat().st_mode


@pytest.mark.parametrize("change", [add_a_stage, write])
def test_an_end_while_a_lock_file_is_written_leaves_that_of_before(
    change: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "dvc.lock"
    path.write_text(LOCK_FILE)
    monkeypatch.setattr(_yaml, "_dump", dies)
    with kept_whole(), pytest.raises(SystemExit):
        change(path)
    assert path.read_text() == LOCK_FILE
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(SystemExit):  # of DVC alone
        change(path)
    assert path.read_text() == "half of it"


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text(LOCK_FILE)
    (tmp_path / "dvc.lock").symlink_to("elsewhere")
    with kept_whole():
        add_a_stage(tmp_path / "dvc.lock")
    assert (tmp_path / "dvc.lock").is_symlink()
    assert "évaluate" in (tmp_path / "elsewhere").read_text(encoding="utf-8")
