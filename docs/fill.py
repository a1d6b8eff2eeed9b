"""Fill the tables of README.md and docs/*.md from the committed metrics, and verify the statements about them.

python docs/fill.py            # rewrite the pages
python docs/fill.py --check    # report what is out of date; write nothing

Comments in a page are instructions. Paths are relative to the root of the project.

- ``<!-- results: metrics/SUITE.csv -->``, a table, a caption, ``<!-- /results -->``: the table gets one row per run of the
  file (or files). Columns with a heading of `COLUMNS` are computed; a cell of any other column is kept as it is.
- ``<!-- answers: metrics/SUITE-comparisons.csv -->``, a list, ``<!-- /answers -->``: the list gets one sentence per
  comparison.
- ``<!-- picture: plots/pictures/SUITE/effects.png: text -->``, a picture, ``<!-- /picture -->``: a picture that may be missing.
- ``<!-- claim: metrics/SUITE-comparisons.csv: a helps -->``: a statement in the text relies on this answer: `helps`, `hurts`,
  `better model`, `worse model`, `no difference shown` or `no difference that matters`.
- ``<!-- claim: metrics/SUITE-pairs.csv: a > b ~ c -->``: it relies on comparisons of any runs of the suite. ``a > b`` holds if
  ``a`` is more accurate and p, adjusted for all pairs, is below 0.05, and ``b ~ c`` if it is not.

A study may have no results yet: its table and its list are then the command that makes them.
"""

import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Of this file's own checkout, as the stages do.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import pandas as pd
from pandas import DataFrame

from trainlab.errors import UserError
from trainlab.evaluation import comparison, effects
from trainlab.evaluation.answers import LEVEL
from trainlab.evaluation.tables import read_csv
from trainlab.files import write_text

ROOT = Path(__file__).resolve().parents[1]
COLUMNS: dict[str, Callable[[Any], str]] = {
    "run": lambda row: f"`{row.run}`",
    "accuracy": lambda row: f"{100 * row.accuracy:.1f} %",
    "95 % interval": lambda row: f"{100 * row.accuracy_low:.1f} to {100 * row.accuracy_high:.1f}",
    "seeds": lambda row: str(row.replicas),
    "std": lambda row: "" if pd.isna(row.accuracy_std) else f"{100 * row.accuracy_std:.1f}",
    "macro-F1": lambda row: f"{100 * row.f1_macro:.1f}",
    "loss": lambda row: f"{row.loss:.3f}",
    "parameters": lambda row: f"{row.parameters:,}",
    "precision": lambda row: str(row.precision),
}

_RESULTS = re.compile(r"(<!-- results: (.+?) -->\n)(.*?)(^<!-- /results -->$)", re.DOTALL | re.MULTILINE)
_ANSWERS = re.compile(r"(<!-- answers: (\S+) -->\n)(.*?)(^<!-- /answers -->$)", re.DOTALL | re.MULTILINE)
_PICTURE = re.compile(r"(<!-- picture: (\S+): (.+?) -->\n)(.*?)(^<!-- /picture -->$)", re.DOTALL | re.MULTILINE)
_CLAIM = re.compile(r"<!-- claim: (\S+): (.+?) -->")
_METRICS = [
    *("run", "replicas", "accuracy", "accuracy_std", "accuracy_low", "accuracy_high", "f1_macro", "loss"),
    *("test_images", "parameters", "epochs", "subset", "validation", "precision", "trained_on", "torch"),
]


def pages(root: Path) -> list[Path]:
    """Return the pages that may hold tables and claims."""
    return [root / "README.md", *sorted((root / "docs").glob("*.md"))]


def fill(text: str, root: Path, directory: Path | None = None) -> str:
    """Return a page's text with its tables, answers and pictures filled.

    Parameters
    ----------
    text
        The text so far.
    root
        The root of the project.
    directory
        That of the page; by default the root.

    Raises
    ------
    UserError
        If metrics that the page names are damaged, or missing, those of studies excepted.
    """

    def filled(match: re.Match[str]) -> str:
        opening, names, old, closing = match.groups()
        made = [name for name in names.split() if not _is_to_be_made(root, name)]
        suites = {Path(name).stem: read(root / name) for name in made}
        rows = pd.concat(suites.values()) if suites else DataFrame()
        captions = [f"- `{suite}`: {comparison.caption(rows)}." for suite, rows in suites.items()]
        captions += [_to_be_made(name, "results") for name in names.split() if name not in made]
        return opening + "\n".join([*table(old, rows), "", *captions]) + f"\n{closing}"

    def answered(match: re.Match[str]) -> str:
        opening, name, _, closing = match.groups()
        if _is_to_be_made(root, name):
            return f"{opening}{_to_be_made(name, 'comparisons')}\n{closing}"
        lines = [f"- {answer}" for answer in read_effects(root / name, effects.COLUMNS)["answer"]]
        return opening + "\n".join(lines) + f"\n{closing}"

    def shown(match: re.Match[str]) -> str:
        opening, name, what, _, closing = match.groups()
        link = Path(os.path.relpath(root / name, directory or root)).as_posix()
        return opening + (f"![{what}]({link})\n" if (root / name).is_file() else "") + closing

    return _PICTURE.sub(shown, _ANSWERS.sub(answered, _RESULTS.sub(filled, text)))


def _is_to_be_made(root: Path, name: str) -> bool:
    """Whether the metrics of a study are missing or have no rows; nobody has to train all studies."""
    path = root / name
    return name.startswith("studies/") and (not path.is_file() or path.read_text(encoding="utf-8").count("\n") == 1)


def _to_be_made(name: str, what: str) -> str:
    study = Path(name).stem.partition("-")[0]
    return f"- `{study}` has no {what} yet: `dvc --cd studies repro compare@{study}` makes them."


def read(path: Path) -> DataFrame:
    """Return the metrics of a suite, one row per run."""
    return read_csv(path, _METRICS, f"compare@{path.stem}").astype({"subset": "Int64"})


def read_effects(path: Path, columns: list[str]) -> DataFrame:
    """Return the comparisons of a suite, one row per comparison."""
    return read_csv(path, columns, f"compare@{path.stem.rpartition('-')[0]}")


def table(old: str, rows: DataFrame) -> Iterator[str]:
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
    for cells in kept.values() if rows.empty else ():  # what the runs are is known before their results
        yield _line(
            ["" if heading in COLUMNS.keys() - {"run"} else cell for heading, cell in zip(headings, cells, strict=True)]
        )
    for row in rows.itertuples():
        cells = kept.get(COLUMNS["run"](row), [""] * len(headings))
        pairs = zip(headings, cells, strict=True)
        yield _line([COLUMNS[heading](row) if heading in COLUMNS else cell for heading, cell in pairs])


def broken_claims(text: str, root: Path) -> Iterator[str]:
    """Yield each claim of a page that its metrics do not support."""
    for name, claim in _CLAIM.findall(text):
        if name.endswith("-comparisons.csv"):
            rows = read_effects(root / name, effects.COLUMNS)
            run, _, verdict = claim.partition(" ")
            if rows["verdict"][rows["run"] == run].tolist() != [verdict]:
                yield f"{name} does not show {claim}"
            continue
        orders = _orders(root / name)
        runs, signs = claim.split()[::2], claim.split()[1::2]
        for left, sign, right in zip(runs, signs, runs[1:], strict=False):
            if orders.get((left, right)) != sign:
                yield f"{name} does not show {left} {sign} {right}"


def _orders(path: Path) -> dict[tuple[str, str], str]:
    """Return for each ordered pair of runs: ``>``, ``<``, or ``~`` where no difference is shown."""
    orders = {}
    for row in read_effects(path, effects.PAIRS).itertuples():
        sign = "~" if row.p_holm >= LEVEL else ">" if row.effect > 0 else "<"
        orders[row.run, row.against] = sign
        orders[row.against, row.run] = {">": "<", "<": ">", "~": "~"}[sign]
    return orders


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def main(arguments: list[str]) -> int:
    """Fill or check all pages; return 1 if something is out of date or a claim does not hold, otherwise 0."""
    if arguments not in ([], ["--check"]):
        print("usage: python docs/fill.py [--check]", file=sys.stderr)
        return 2
    problems: list[str] = []
    for page in pages(ROOT):
        text, name = page.read_text(encoding="utf-8"), page.relative_to(ROOT)
        try:
            filled, broken = fill(text, ROOT, page.parent), list(broken_claims(text, ROOT))
        except UserError as error:
            problems.append(f"{name}: {error}")
            continue
        problems += [f"{name}: {claim}: correct the text beside this claim" for claim in broken]
        if filled != text and arguments:
            problems.append(f"{name} is out of date: run `python docs/fill.py`")
        elif filled != text:
            write_text(page, filled)
            print(f"{name}: filled")
    for problem in problems:
        print(problem, file=sys.stderr)
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
