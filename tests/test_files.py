import os
import stat
from pathlib import Path

import pytest

from trainlab.files import directory_written_whole, write_text, written_whole


def test_a_file_is_there_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.txt"
    with written_whole(path) as aside:
        aside.write_text("new")
        assert not path.exists()
        assert aside.suffix == ".txt"  # some writers go by it
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


def test_an_error_leaves_what_stood_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("good")
    with pytest.raises(KeyboardInterrupt), written_whole(path) as aside:
        aside.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "good"
    assert list(tmp_path.iterdir()) == [path]


def test_files_are_as_readable_as_any_other(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        write_text(tmp_path / "file", "ä\n")
        with directory_written_whole(tmp_path / "directory"):
            pass
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "directory").stat().st_mode) == 0o750
    assert (tmp_path / "file").read_bytes() == "ä\n".encode()


def test_a_directory_takes_the_place_of_the_old_one_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "directory"
    with directory_written_whole(path) as aside:
        (aside / "old").touch()
    with pytest.raises(ValueError, match="no"), directory_written_whole(path) as aside:
        (aside / "half").touch()
        raise ValueError("no")
    assert [file.name for file in path.iterdir()] == ["old"]
    with directory_written_whole(path) as aside:
        (aside / "new").touch()
    assert [file.name for file in path.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [path]
