import errno
import os
import stat
from pathlib import Path

import numpy as np
import pytest

from trainlab.errors import UserError
from trainlab.files import (
    directory_written_whole,
    read_tensors,
    reading,
    repro,
    write_json,
    write_tensors,
    write_text,
    written_whole,
)


def test_a_file_appears_only_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.txt"
    with written_whole(path) as aside:
        aside.write_text("new")
        assert not path.exists()
        assert aside.parent == path.parent  # the same file system: the rename is atomic
        assert aside.suffix == ".txt"  # some writers choose the format by it
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


def test_an_error_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("good")
    with pytest.raises(KeyboardInterrupt), written_whole(path) as aside:
        aside.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "good"
    assert list(tmp_path.iterdir()) == [path]


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        write_text(tmp_path / "file", "ä\n")
        with directory_written_whole(tmp_path / "directory"):
            pass
        assert os.umask(0o027) == 0o027  # unchanged by the writers
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "directory").stat().st_mode) == 0o750
    assert (tmp_path / "file").read_bytes() == "ä\n".encode()


def test_a_directory_replaces_the_old_one_completely_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "directory"
    with directory_written_whole(path) as aside:
        (aside / "old").touch()
        assert aside.parent == path.parent
    with pytest.raises(ValueError, match="no"), directory_written_whole(path) as aside:
        (aside / "half").touch()
        raise ValueError("no")
    assert [file.name for file in path.iterdir()] == ["old"]
    with directory_written_whole(path) as aside:
        (aside / "new").touch()
    assert [file.name for file in path.iterdir()] == ["new"]
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("code", [errno.EXDEV, errno.EBUSY, errno.EACCES])
def test_a_directory_that_cannot_be_renamed(code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Overlay file systems refuse it for directories of a lower layer, which can be deleted; other refusals are final."""
    path, rename = tmp_path / "directory", Path.replace
    path.mkdir()
    (path / "old").touch()

    def refuse(source: Path, target: Path) -> Path:
        if source == path:
            raise OSError(code, os.strerror(code))
        return rename(source, target)

    monkeypatch.setattr(Path, "replace", refuse)
    refused: list[type[Exception]] = []
    try:
        with directory_written_whole(path) as aside:
            (aside / "new").touch()
    except (UserError, PermissionError) as error:
        refused.append(type(error))
    assert refused == {errno.EXDEV: [], errno.EBUSY: [UserError], errno.EACCES: [PermissionError]}[code]
    assert [file.name for file in path.iterdir()] == ["new" if code == errno.EXDEV else "old"]
    assert list(tmp_path.iterdir()) == [path]


def test_the_old_directory_comes_back_if_the_new_one_cannot_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, rename = tmp_path / "directory", Path.replace
    path.mkdir()
    (path / "old").touch()

    def refuse(source: Path, target: Path) -> Path:
        if target == path and not (source / "old").exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        return rename(source, target)

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OSError, match="No space left"), directory_written_whole(path):
        pass
    assert [file.name for file in path.iterdir()] == ["old"]
    assert list(tmp_path.iterdir()) == [path]


def test_json_keeps_the_order_of_keys_and_the_letters(tmp_path: Path) -> None:
    write_json(tmp_path / "file.json", {"b": 1, "a": [0.5, None, "Hündchen"]})
    lines = ["{", '  "b": 1,', '  "a": [', "    0.5,", "    null,", '    "Hündchen"', "  ]", "}", ""]
    assert (tmp_path / "file.json").read_text(encoding="utf-8") == "\n".join(lines)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_json_has_no_nan_and_no_infinity(tmp_path: Path, number: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "file.json", {"a": number})
    assert list(tmp_path.iterdir()) == []


def test_tensors_are_read_back_with_their_record(tmp_path: Path) -> None:
    tensors: dict[str, np.ndarray] = {
        "b": np.arange(6, dtype=np.float32).reshape(2, 3).T,
        "a": np.array([1, 2], np.int64),
    }
    record = {"name": "Hündchen", "sizes": [1, 2]}
    write_tensors(tmp_path / "file.safetensors", tensors, record)
    found, record_found = read_tensors(tmp_path / "file.safetensors")
    assert record_found == record
    assert set(found) == {"a", "b"}
    assert (
        '{"name": "Hündchen", "sizes": [1, 2]}'.replace('"', '\\"').encode()
        in (tmp_path / "file.safetensors").read_bytes()
    )
    for name, array in tensors.items():
        assert found[name].dtype == array.dtype
        assert found[name].tolist() == array.tolist()


def test_the_same_tensors_and_record_give_the_same_bytes(tmp_path: Path) -> None:
    one, two = {"a": np.zeros(2), "b": np.ones(3)}, {"b": np.ones(3), "a": np.zeros(2)}
    write_tensors(tmp_path / "one", one, {"x": 1, "y": 2})
    write_tensors(tmp_path / "two", two, {"y": 2, "x": 1})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_tensors_without_a_record(tmp_path: Path) -> None:
    write_tensors(tmp_path / "file", {"a": np.zeros(2)})
    tensors, record = read_tensors(tmp_path / "file")
    assert (list(tensors), record) == (["a"], {})


@pytest.mark.parametrize("content", [b"", b"\x10\0\0\0", b"not a file of tensors at all"])
def test_a_file_without_tensors_is_a_value_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="header"):
        read_tensors(path)


def test_a_record_that_is_not_an_object_is_a_value_error(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"a": np.zeros(2)}, tmp_path / "file", {"trainlab": "[1]"})
    with pytest.raises(ValueError, match=r"^its record is not a JSON object$"):
        read_tensors(tmp_path / "file")


def test_a_missing_tensor_file_is_a_file_not_found_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_tensors(tmp_path / "none")


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def fail(aside: Path, content: bytes) -> int:
        aside.write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OSError, match="space"):
        write_tensors(path, {"a": np.zeros(2)})
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("bad\n  number"), "bad number"),
        (KeyError("loss"), "it has no 'loss'"),
        (IndexError("out of range"), "out of range"),
        (TypeError("not a list"), "not a list"),
        (AttributeError("no items"), "no items"),
        (OverflowError("too large"), "too large"),
        (RecursionError("too deep"), "too deep"),
    ],
)
def test_unexpected_content_is_one_line_with_the_command(error: Exception, reason: str) -> None:
    with pytest.raises(UserError) as failure, reading(Path("metrics/tricks/plain.json"), "evaluate@plain"):
        raise error
    assert str(failure.value) == (
        f"metrics/tricks/plain.json is damaged ({reason}): delete it, then run `dvc repro evaluate@plain`"
    )


def test_a_missing_file_is_one_line_with_the_command() -> None:
    path = Path("metrics/tricks/plain.json")
    with pytest.raises(UserError) as failure, reading(path, "evaluate@plain"):
        path.read_text()
    assert str(failure.value) == "metrics/tricks/plain.json is missing: run `dvc repro evaluate@plain`"


@pytest.mark.parametrize("error", [UserError("own message"), PermissionError("not yours"), ZeroDivisionError("defect")])
def test_other_errors_pass(error: Exception) -> None:
    with pytest.raises(type(error), match=str(error)), reading(Path("file"), "train"):
        raise error


def test_the_command_is_for_the_project_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dvc.yaml").touch()
    (tmp_path / "studies" / "metrics").mkdir(parents=True)
    (tmp_path / "studies" / "dvc.yaml").touch()
    assert repro("compare@alpha", Path("studies/metrics/alpha.csv")) == "`dvc --cd studies repro compare@alpha`"
    assert repro("compare@tricks", Path("metrics/tricks.csv")) == "`dvc repro compare@tricks`"
