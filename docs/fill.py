"""Fill the tables of README.md and docs/*.md from the committed metrics, and verify the statements about them.

python docs/fill.py            # rewrite the pages
python docs/fill.py --check    # report what is out of date; write nothing

Two comments in a page are instructions. Paths are relative to the root of the project.

- ``<!-- results: metrics/SUITE.csv -->``, a table, a caption, ``<!-- /results -->``: the table gets one row per run of the
  file (or files). Columns with a heading of `COLUMNS` are computed; a cell of any other column is kept as it is.
- ``<!-- claim: metrics/SUITE.csv: a > b ~ c -->``: a statement in the text relies on this comparison of accuracies. ``a > b``
  holds if the 95 % interval of run ``a`` is above that of run ``b``, and ``b ~ c`` if the two overlap.
"""

import csv
import re
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

Row = dict[str, str]

ROOT = Path(__file__).resolve().parents[1]
COLUMNS: dict[str, Callable[[Row], str]] = {
    "run": lambda row: f"`{row['run']}`",
    "accuracy": lambda row: f"{_percent(row['accuracy'])} %",
    "95 % interval": lambda row: f"{_percent(row['accuracy_low'])} to {_percent(row['accuracy_high'])}",
    "seeds": lambda row: row["replicas"],
    "std": lambda row: _percent(row["accuracy_std"]) if row["accuracy_std"] else "",
    "macro-F1": lambda row: _percent(row["f1_macro"]),
    "loss": lambda row: f"{float(row['loss']):.3f}",
    "precision": lambda row: row["precision"],
}

_RESULTS = re.compile(r"(<!-- results: (.+?) -->\n)(.*?)(^<!-- /results -->$)", re.DOTALL | re.MULTILINE)
_CLAIM = re.compile(r"<!-- claim: (\S+): (.+?) -->")


def pages(root: Path) -> list[Path]:
    """Return the pages that may hold tables and claims."""
    return [root / "README.md", *sorted((root / "docs").glob("*.md"))]


def fill(text: str, root: Path) -> str:
    """Return a page's text with its tables filled."""

    def filled(match: re.Match[str]) -> str:
        opening, names, old, closing = match.groups()
        suites = {name: read(root / name) for name in names.split()}
        lines = [*table(old, [row for rows in suites.values() for row in rows]), "", *captions(suites)]
        return opening + "\n".join(lines) + f"\n{closing}"

    return _RESULTS.sub(filled, text)


def read(path: Path) -> list[Row]:
    """Return the rows of a suite's metrics, one per run."""
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def table(old: str, rows: list[Row]) -> Iterator[str]:
    """Yield the lines of a table.

    Parameters
    ----------
    old
        The table so far: its headings, and the cells of the columns that are not computed.
    rows
        The metrics, one row per run.
    """
    headings, _, *lines = [_cells(line) for line in old.splitlines() if line.startswith("|")]
    kept = {cells[0]: cells for cells in lines}
    yield _line(headings)
    yield _line(["---"] * len(headings))
    for row in rows:
        cells = kept.get(COLUMNS["run"](row), [""] * len(headings))
        yield _line(
            [
                COLUMNS[heading](row) if heading in COLUMNS else cell
                for heading, cell in zip(headings, cells, strict=True)
            ]
        )


def captions(suites: dict[str, list[Row]]) -> Iterator[str]:
    """Yield what the numbers of each suite were measured with, one line per suite."""
    for name, rows in suites.items():

        def values(column: str, rows: list[Row] = rows, absent: str = "") -> str:
            return " or ".join(dict.fromkeys(row.get(column) or absent for row in rows))

        seeds = values("replicas")
        parts = [
            f"n = {seeds} seed{'s' * (seeds != '1')} per run",
            f"{values('epochs')} epochs of {values('subset', absent='all')} training images",
            values("precision"),
            f"trained on {values('trained_on')}",
            f"PyTorch {torch}" if (torch := values("torch")) else "",
        ]
        yield f"- `{Path(name).stem}`: {'; '.join(filter(None, parts))}."


def broken_claims(text: str, root: Path) -> Iterator[str]:
    """Yield each claim of a page that its metrics do not support."""
    for path, chain in _CLAIM.findall(text):
        rows = {row["run"]: row for row in read(root / path)}
        names, signs = chain.split()[::2], chain.split()[1::2]
        for (left, right), sign in zip(pairwise(names), signs, strict=True):
            if not _holds(rows.get(left), sign, rows.get(right)):
                yield f"{path} does not show {left} {sign} {right}"


def _holds(left: Row | None, sign: str, right: Row | None) -> bool:
    if left is None or right is None:
        return False
    above = float(left["accuracy_low"]) > float(right["accuracy_high"])
    below = float(left["accuracy_high"]) < float(right["accuracy_low"])
    return above if sign == ">" else sign == "~" and not (above or below)


def _percent(fraction: str) -> str:
    return f"{100 * float(fraction):.1f}"


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def main(arguments: list[str]) -> int:
    """Fill or check all pages; return 1 if something is out of date or a claim does not hold, otherwise 0."""
    check = arguments == ["--check"]
    if arguments and not check:
        print("usage: python docs/fill.py [--check]", file=sys.stderr)
        return 2
    problems = []
    for page in pages(ROOT):
        text = page.read_text(encoding="utf-8")
        filled = fill(text, ROOT)
        name = page.relative_to(ROOT)
        if check and filled != text:
            problems.append(f"{name} is out of date: run `python docs/fill.py`")
        elif filled != text:
            page.write_text(filled, encoding="utf-8", newline="\n")
            print(f"{name}: filled")
        problems += [f"{name}: {problem}: correct the text beside this claim" for problem in broken_claims(text, ROOT)]
    print(*problems, sep="\n", end="\n" * bool(problems), file=sys.stderr)
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
