"""The project's Markdown pages, taken apart for the tests that execute them."""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
PAGES = [
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "benchmarks/README.md",
    "data/folder/README.md",
    *(f"docs/{path.name}" for path in sorted((PROJECT / "docs").glob("*.md"))),
]

_FENCED = re.compile(r"^```(.*)\n((?:.*\n)*?)```$", re.MULTILINE)
_INDENTED = re.compile(r"(?:^    .*\n)+", re.MULTILINE)
_SPAN = re.compile(r"`([^`\n]+)`")


@dataclass(frozen=True)
class Block:
    """A code block of a page: the words after its opening fence, and its text."""

    page: str
    info: tuple[str, ...]
    text: str


def read(page: str) -> str:
    """Return a page's text."""
    return (PROJECT / page).read_text(encoding="utf-8")


def blocks(page: str) -> list[Block]:
    """Return the fenced code blocks of a page."""
    return [Block(page, tuple(info.split()), text) for info, text in _FENCED.findall(read(page))]


def commands(page: str) -> Iterator[str]:
    """Yield each shell command that a page shows: in a block marked `sh`, in an indented block, or in running text."""
    for block in blocks(page):
        if block.info[:1] == ("sh",):
            yield from (line for line in block.text.splitlines() if line.strip())
    prose = _FENCED.sub("", read(page))
    for indented in _INDENTED.findall(prose):
        yield from (line.strip() for line in indented.splitlines() if line.strip())
    for span in _SPAN.findall(_INDENTED.sub("", prose)):
        if re.match(r"(make|dvc|python|pre-commit|trainlab) [a-z.]|source ", span):
            yield span


def tracked_directories() -> set[str]:
    """Return the directories with files that Git tracks, from the project's root."""
    listed = subprocess.run(
        ("git", "ls-files", "-z"), cwd=PROJECT, capture_output=True, text=True, check=True, timeout=60
    ).stdout.split("\0")
    return {parent.as_posix() for name in listed if name for parent in Path(name).parents if parent != Path()}
