"""Write the tables and pictures of studies into their page, between its marks; once more, and they are replaced.

python docs/fill.py docs/protocol.md studies/protocol

A mark is `<!-- NAME -->` … `<!-- /NAME -->`: NAME is a study (its table and its picture) or, for pictures alone, a directory of
plots/pictures. A study without results yet keeps what stands there.
"""

import csv
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

SHOWN = ("png", "gif")


def main(page: Path, under: Path) -> None:
    """Fill one page with the results under a directory."""
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"^<!-- /(\w+) -->$", text, re.MULTILINE):
        if results := "\n".join([*table(under, name), *pictures(page, under, name)]):
            mark = re.compile(rf"^<!-- {name} -->\n.*?^<!-- /{name} -->$", re.MULTILINE | re.DOTALL)
            filled = f"<!-- {name} -->\n{results}\n<!-- /{name} -->"
            text = mark.sub(lambda _, filled=filled: filled, text)
    page.write_text(text, encoding="utf-8", newline="\n")


def table(under: Path, study: str) -> Iterator[str]:
    """The study's table as Markdown, if it has results."""
    path = under / "metrics" / f"{study}.csv"
    if not path.is_file():
        return
    rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    replicated = any(row["accuracy_std"] for row in rows)
    yield f"| run | accuracy |{' std |' * replicated} 95 % interval | macro-F1 | loss |"
    yield f"| --- | --- |{' --- |' * replicated} --- | --- | --- |"
    for row in rows:
        accuracy, low, high, f1 = (
            f"{100 * float(row[column]):.1f}" for column in ("accuracy", "accuracy_low", "accuracy_high", "f1_macro")
        )
        std = f" {100 * float(row['accuracy_std']):.1f} |" if row["accuracy_std"] else " |" * replicated
        yield f"| `{row['run']}` | {accuracy} % |{std} {low} to {high} | {f1} | {float(row['loss']):.3f} |"
    yield ""


def pictures(page: Path, under: Path, name: str) -> Iterator[str]:
    """Links to the study's own pictures and, where it has none, to its bar chart."""
    own = sorted(path for kind in SHOWN for path in (under / "plots/pictures" / name).glob(f"*.{kind}"))
    for path in own or sorted((under / "plots/comparison" / name).glob("f1.png")):
        # Posix, because Markdown's links are.
        yield f"![{name}: {path.stem.replace('_', ' ')}]({Path(os.path.relpath(path, page.parent)).as_posix()})\n"


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python docs/fill.py PAGE DIRECTORY, for example docs/protocol.md studies/protocol")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
