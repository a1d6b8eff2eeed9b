"""DVC's own files, written whole: after a kill or on a full disk, what was there before is still there.

DVC writes two kinds of files in place. A process that is killed meanwhile leaves half of a file, or an empty one:

- dvc.lock, after each stage: what it knew of all stages is lost.
- .dvc/tmp/rwlock, which says what process reads or writes which file, dozens of times per stage: all commands of DVC fail
  until somebody deletes it (its issue 7615).
"""

import io
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from dvc import rwlock
from dvc.utils.serialize import _common, _yaml

from trainlab.files import written_whole


@contextmanager
def kept_whole() -> Iterator[None]:
    """Make DVC write these files completely or not at all inside the block, and start a new rwlock if it is damaged."""
    edit, dump = rwlock._edit_rwlock, _common._dump_data
    rwlock._edit_rwlock = lambda directory, files, hardlink: edit(directory, _Files(files), hardlink)
    _common._dump_data = _yaml._dump_data = _dump
    try:
        yield
    finally:
        rwlock._edit_rwlock = edit
        _common._dump_data = _yaml._dump_data = dump


def _dump(path: str, data: Any, dumper: Callable[..., Any], fs: object = None, **options: Any) -> None:
    """Write a YAML file; where it is a link, the file that it points to."""
    with written_whole(Path(os.path.realpath(path))) as aside, aside.open("w", encoding="utf-8") as file:
        dumper(data, file, **options)


class _Files:
    """What DVC uses of a file system to edit the rwlock.

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
