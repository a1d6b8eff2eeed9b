"""Images that a command's arguments name: files, directories, patterns, and standard input."""

import glob
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from trainlab.data.sources.folder import is_hidden
from trainlab.errors import UserError


class Named(NamedTuple):
    """An image to read, and its name in the output.

    Parameters
    ----------
    name
        As it is shown.
    content
        A file, the content of a file, or why there is nothing to read.
    """

    name: str
    content: Path | bytes | UserError


def find(arguments: list[str]) -> list[Named]:
    """Return the images that the arguments name, in their order; no image is opened, and none is returned twice.

    Parameters
    ----------
    arguments
        Per argument a file; a directory, of which all files are returned, those of its directories included, hidden ones
        excluded; a pattern such as ``*.png`` or ``**/*.png``; or ``-`` for standard input.
    """
    found = (named for argument in arguments for named in _named(argument))
    return list({(named.name, isinstance(named.content, bytes)): named for named in found}.values())


def _named(argument: str) -> Iterator[Named]:
    if argument == "-":
        yield Named("-", sys.stdin.buffer.read())
    elif os.path.isdir(argument):
        yield from _below(argument)
    elif os.path.lexists(argument) or not glob.has_magic(argument):
        yield Named(argument, Path(argument))  # a missing file is reported where it is read
    else:
        matches = sorted(path for path in glob.glob(argument, recursive=True) if not os.path.isdir(path))
        yield from (Named(path, Path(path)) for path in matches)
        if not matches:
            yield Named(argument, UserError("matches no file"))


def _below(directory: str) -> Iterator[Named]:
    """Yield the files of a directory and of the directories in it, by name; each directory once, although links lead to it."""
    empty, seen, problems = True, set(), list[OSError]()
    for root, directories, files in os.walk(directory, onerror=problems.append, followlinks=True):
        place = os.path.realpath(root)
        directories[:] = sorted(name for name in directories if not is_hidden(name)) if place not in seen else []
        visible = sorted(name for name in files if not is_hidden(name)) if place not in seen else []
        seen.add(place)
        for name in visible:
            path = os.path.join(root, name)
            yield Named(path, Path(path))
            empty = False
    for problem in problems:
        yield Named(str(problem.filename), UserError(f"cannot be read ({problem.strerror})"))
    if empty and not problems:
        yield Named(directory, UserError("is a directory without files"))
