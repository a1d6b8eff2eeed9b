"""DVC's file of locks, written whole: a process that is killed leaves one that other commands of DVC can read.

DVC notes in .dvc/tmp/rwlock which process reads or writes which file. It writes this file in place, dozens of times per
stage; a process that was killed meanwhile leaves half of it, or nothing, and all commands of DVC fail until somebody deletes
it (its issue 7615).
"""

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import dvc.rwlock

from trainlab.files import written_whole


@contextmanager
def kept_whole() -> Iterator[None]:
    """Make DVC write its file of locks completely or not at all inside the block, and start a new one if it is damaged."""
    edit = dvc.rwlock._edit_rwlock
    dvc.rwlock._edit_rwlock = lambda directory, files, hardlink: edit(directory, _Files(files), hardlink)
    try:
        yield
    finally:
        dvc.rwlock._edit_rwlock = edit


class _Files:
    """What DVC's function uses of a file system.

    Parameters
    ----------
    files
        DVC's file system, which is a local one.
    """

    def __init__(self, files: Any) -> None:
        self.join = files.join

    @contextmanager
    def open(self, path: str, mode: str = "r", encoding: str = "utf-8") -> Iterator[TextIO]:
        """Open a JSON file. One that is damaged seems to be missing; its locks are those of processes that have ended."""
        if mode == "w":
            with written_whole(Path(path)) as aside, aside.open("w", encoding=encoding) as file:
                yield file
            return
        text = Path(path).read_text(encoding)
        try:
            json.loads(text)
        except json.JSONDecodeError as error:
            raise FileNotFoundError(path) from error
        yield io.StringIO(text)
