"""Two Git revisions compared: every run whose predictions differ, as a table in text or Markdown, or as JSON."""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from trainlab.commands import sources
from trainlab.commands.sources import Source
from trainlab.errors import UserError
from trainlab.evaluation import effects
from trainlab.evaluation.answers import in_points, interval_in_points, p_text
from trainlab.evaluation.effects import Effect
from trainlab.evaluation.statistics import holm

WIDE = 1000  # columns


@dataclass(frozen=True)
class Change:
    """A run whose predictions differ between two revisions.

    Parameters
    ----------
    run
        Its name.
    accuracies
        Its mean accuracy at both revisions, fractions.
    effect
        That at the second revision minus that at the first.
    """

    run: str
    accuracies: tuple[float, float]
    effect: Effect


@dataclass(frozen=True)
class Changes:
    """What differs between two revisions.

    Parameters
    ----------
    before, after
        The names of the revisions.
    changed
        The runs whose predictions differ.
    unchanged, added, removed
        Names of the other runs: at both revisions with the same predictions, only at the second, only at the first.
    """

    before: str
    after: str
    changed: Sequence[Change]
    unchanged: Sequence[str]
    added: Sequence[str]
    removed: Sequence[str]

    @property
    def header(self) -> list[str]:
        """The headings of the table."""
        return ["run", f"{self.before}, %", f"{self.after}, %", "change", "95 % interval", "p", "answer"]

    def rows(self) -> list[list[str]]:
        """Return the cells of the table: a row per run that changed."""
        return [
            [
                change.run,
                *(f"{100 * accuracy:.2f}" for accuracy in change.accuracies),
                in_points(change.effect.difference.effect),
                interval_in_points(change.effect.difference.low, change.effect.difference.high),
                p_text(change.effect.p_holm),
                _words(change.effect),
            ]
            for change in self.changed
        ]

    def notes(self) -> Iterator[str]:
        """Yield what the table means, and the runs that are not in it."""
        if self.changed:
            of_models = any(change.effect.single_seed for change in self.changed)
            yield (
                f"Change: test accuracy at {self.after} minus that at {self.before}, percentage points. p-values by Holm's"
                " method for all rows."
                + " Runs with one seed: the answer is about these two models, not about other seeds."
                * of_models
            )
        else:
            yield f"No run has other predictions at {self.after} than at {self.before}."
        for what in ("unchanged", "added", "removed"):
            if names := getattr(self, what):
                yield f"{what.capitalize()}: {', '.join(f'`{name}`' for name in names)}."

    def show(self) -> None:
        """Print the table and its notes."""
        from rich import box
        from rich.console import Console
        from rich.table import Table

        if self.changed:
            table = Table(box=box.SIMPLE)
            for column in self.header:
                left = column in (self.header[0], self.header[-1])
                table.add_column(column, justify="left" if left else "right", overflow="fold")
            for row in self.rows():
                table.add_row(*row)
            width = None if sys.stdout.isatty() else WIDE  # a file has no width
            Console(markup=False, highlight=False, width=width).print(table, end="")
        print(*self.notes(), sep="\n")

    def as_markdown(self) -> str:
        """Return the table and its notes in Markdown, as GitHub renders it."""
        lines = [self.header, ["---", *["--:"] * (len(self.header) - 2), "---"], *self.rows()]
        table = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
        return "\n\n".join([*([table] if self.changed else []), *self.notes()])

    def as_json(self) -> str:
        """Return the changes as JSON; all accuracies and differences are fractions."""
        changed = [
            {
                "run": change.run,
                "before": change.accuracies[0],
                "after": change.accuracies[1],
                "effect": change.effect.difference.effect,
                "low": change.effect.difference.low,
                "high": change.effect.difference.high,
                "p_value": change.effect.difference.p_value,
                "p_holm": change.effect.p_holm,
                "verdict": change.effect.verdict,
            }
            for change in self.changed
        ]
        lists = {name: list(getattr(self, name)) for name in ("unchanged", "added", "removed")}
        content = {"before": self.before, "after": self.after, "changed": changed, **lists}
        return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)


def compare(before: str, after: str, margin: float | None) -> Changes:
    """Compare all runs of two revisions.

    Parameters
    ----------
    before, after
        The revisions.
    margin
        Difference of two accuracies that matters, a fraction; None for that of each run's suite.

    Raises
    ------
    UserError
        If one of them has no predictions, or those of a run that changed cannot be read or compared.
    """
    old, new = sources.runs_at(before), sources.runs_at(after)
    for revision, found in ((before, old), (after, new)):
        if not found:
            raise UserError(f"{revision} has no predictions: name a revision whose dvc.lock has results")
    both = [run for run in new if run in old]
    differing = [run for run in both if new[run].checksum != old[run].checksum]
    changes = [_change(run, old[run].source, new[run].source, margin) for run in differing]
    adjusted = holm([change.effect.difference.p_value for change in changes])
    return Changes(
        before,
        after,
        [
            replace(change, effect=replace(change.effect, p_holm=float(p)))
            for change, p in zip(changes, adjusted, strict=True)
        ],
        unchanged=[run for run in both if run not in differing],
        added=[run for run in new if run not in old],
        removed=[run for run in old if run not in new],
    )


def _change(run: str, old: Source, new: Source, margin: float | None) -> Change:
    before, after = old.load_classes(), new.load_classes()
    limit = sources.margin(new) if margin is None else margin
    effect = effects.compare(new.name, after, old.name, before, limit)
    accuracies = (float(np.mean(effects.correct(before))), float(np.mean(effects.correct(after))))
    return Change(run, accuracies, effect)


def _words(effect: Effect) -> str:
    """Return the answer of a comparison of a run with itself at another revision."""
    words = {"helps": "better", "better model": "better", "hurts": "worse", "worse model": "worse"}
    return words.get(effect.verdict, effect.verdict)
