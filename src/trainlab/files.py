"""Write files and directories whole or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give a path to write a file to; it takes the place of ``path`` when the block ends without an error.

    The file is written beside its destination (same file system, so the rename is atomic), in directories that are
    made where missing. After an error nothing is left behind and what stood at ``path`` still stands.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    os.close(descriptor)
    aside = Path(name)
    try:
        yield aside
        aside.chmod(0o666 & ~_umask())  # mkstemp makes private files; results are for everyone who may read the project
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def directory_written_whole(path: Path) -> Iterator[Path]:
    """Give an empty directory to fill; it takes the place of the directory ``path`` when the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}-"))
    try:
        yield aside
        aside.chmod(0o777 & ~_umask())
        if path.exists():
            shutil.rmtree(path)
        aside.replace(path)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file (UTF-8, Unix line ends) whole or not at all."""
    with written_whole(path) as aside:
        aside.write_text(text, encoding="utf-8", newline="\n")


def _umask() -> int:
    mask = os.umask(0)  # the only way to read it is to set it
    os.umask(mask)
    return mask
