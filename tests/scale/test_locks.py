"""DVC's file of locks after a kill: whole, or started anew."""

import json
from pathlib import Path

import pytest
from dvc import rwlock
from dvc.fs import localfs

from trainlab.scale import locks

pytestmark = pytest.mark.slow  # imports DVC

BEFORE = {"read": {}, "write": {"model": {"pid": 1, "cmd": "dvc repro"}}}


def edit(directory: Path, path: str) -> None:
    """Note in the file of locks that this process writes a path."""
    with rwlock._edit_rwlock(str(directory), localfs, False) as found:
        found["write"][path] = {"pid": 2, "cmd": "trainlab repro"}


def noted(directory: Path) -> set[str]:
    return set(json.loads((directory / "rwlock").read_text())["write"])


def test_locks_are_added_as_dvc_adds_them(tmp_path: Path) -> None:
    for name in ("ours", "theirs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "rwlock").write_text(json.dumps(BEFORE))
    with locks.kept_whole():
        edit(tmp_path / "ours", "plots")
    edit(tmp_path / "theirs", "plots")
    assert noted(tmp_path / "ours") == {"model", "plots"}
    assert (tmp_path / "ours/rwlock").read_bytes() == (tmp_path / "theirs/rwlock").read_bytes()


def test_an_end_while_it_is_written_leaves_the_file_of_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rwlock").write_text(json.dumps(BEFORE))

    def dies(content: object, file: object) -> None:
        raise SystemExit(137)

    monkeypatch.setattr(json, "dump", dies)
    with locks.kept_whole(), pytest.raises(SystemExit):
        edit(tmp_path, "plots")
    assert noted(tmp_path) == {"model"}


@pytest.mark.parametrize("damaged", ["", '{"read": {}, "wri'])
def test_a_damaged_file_is_started_anew(damaged: str, tmp_path: Path) -> None:
    (tmp_path / "rwlock").write_text(damaged)
    with pytest.raises(rwlock.RWLockFileCorruptedError):  # of DVC alone
        edit(tmp_path, "plots")
    with locks.kept_whole():
        edit(tmp_path, "plots")
    assert noted(tmp_path) == {"plots"}


def test_a_missing_file_is_made(tmp_path: Path) -> None:
    with locks.kept_whole():
        edit(tmp_path, "plots")
    assert noted(tmp_path) == {"plots"}
