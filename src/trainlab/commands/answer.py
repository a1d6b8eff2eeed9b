"""Two runs compared: the answer in words and the numbers behind it, as text, Markdown or JSON."""

import json
import math
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainlab.commands.sources import Source
from trainlab.errors import UserError
from trainlab.evaluation import effects
from trainlab.evaluation.answers import in_points, interval_in_points
from trainlab.evaluation.effects import Effect
from trainlab.evaluation.metrics import Metrics, Predictions, evaluate
from trainlab.evaluation.statistics import seeds_needed

WIDE = 1000  # columns
HEADER = ["", "seeds", "accuracy, %", "std", "macro-F1, %", "loss", "ECE, %"]  # expected calibration error


@dataclass(frozen=True)
class Answer:
    """A run compared with another one.

    Parameters
    ----------
    run, against
        The names of both.
    metrics
        Of both.
    margin
        Difference of two accuracies that matters, a fraction.
    effect
        The difference; None if the predictions are identical.
    seeds
        How many seeds per run would show a difference of the margin with 80 % power; None if no number would, or if it
        is unknown because a run has a single seed.
    """

    run: str
    against: str
    metrics: tuple[Metrics, Metrics]
    margin: float
    effect: Effect | None
    seeds: int | None

    @property
    def sentence(self) -> str:
        """The answer in words."""
        if self.effect is None:
            return f"`{self.run}` and `{self.against}` have identical predictions."
        return f"{self.effect.sentence()}."

    @property
    def note(self) -> str:
        """The p-value, and the number of seeds that a difference of the margin needs; empty for identical predictions."""
        if self.effect is None:
            return ""
        p, points = self.effect.difference.p_value, f"{100 * self.margin:g} point{'s' * (self.margin != 0.01)}"
        p_value = "p < 0.0001" if p < 1e-4 else f"p = {p:.2g}"
        if self.seeds is not None:
            return f"{p_value}. {self.seeds} seeds per run would show a difference of {points} with 80 % power."
        if min(of_run.replicas for of_run in self.metrics) == 1:
            why = "One seed has no spread: train both runs with `replicas: 2` or more to see what other seeds change."
        else:
            why = f"With these test images, no number of seeds would show a difference of {points} with 80 % power."
        return f"{p_value}. {why}"

    def rows(self) -> list[list[str]]:
        """Return the cells of the table below :data:`HEADER`: a row per run, the difference, and its interval."""
        rows = [_row(name, of_run) for name, of_run in zip((self.run, self.against), self.metrics, strict=True)]
        if self.effect is None:
            return rows
        difference = self.effect.difference
        accuracy, f1 = (difference.effect, difference.low, difference.high), self.effect.f1
        return [
            *rows,
            ["difference", "", in_points(accuracy[0]), "", in_points(f1[0]), "", ""],
            ["95 % interval", "", interval_in_points(*accuracy[1:]), "", interval_in_points(*f1[1:]), "", ""],
        ]

    def show(self) -> None:
        """Print the answer and the table."""
        from rich import box
        from rich.console import Console
        from rich.table import Table

        table = Table(box=box.SIMPLE)
        for column in HEADER:
            table.add_column(column, justify="right" if column else "left", overflow="fold")
        for row in self.rows():
            table.add_row(*row)
        print(self.sentence)
        width = None if sys.stdout.isatty() else WIDE  # a file has no width
        Console(markup=False, highlight=False, width=width).print(table, end="")
        if self.note:
            print(self.note)

    def as_markdown(self) -> str:
        """Return the answer and the table in Markdown, as GitHub renders it."""
        lines = [HEADER, ["---", *["--:"] * (len(HEADER) - 1)], *self.rows()]
        table = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
        return "\n\n".join(filter(None, [self.sentence, table, self.note]))

    def as_json(self) -> str:
        """Return the answer and the numbers as JSON; all differences and accuracies are fractions."""
        effect = self.effect
        content = {
            "answer": self.sentence,
            "verdict": effect.verdict if effect else "identical predictions",
            "margin": self.margin,
            "run": _summary(self.run, self.metrics[0]),
            "against": _summary(self.against, self.metrics[1]),
            "images": int(self.metrics[0].support.sum()),
            "accuracy": None,
            "f1_macro": None,
            "seeds_needed": self.seeds,
        }
        if effect:
            difference = effect.difference
            content["accuracy"] = {
                "effect": difference.effect,
                "low": difference.low,
                "high": difference.high,
                "p_value": difference.p_value,
                "df": difference.df if math.isfinite(difference.df) else None,  # JSON has no infinity
            }
            content["f1_macro"] = dict(zip(("effect", "low", "high"), effect.f1, strict=True))
        return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)


def compare(a: Source, b: Source, margin: float) -> Answer:
    """Compare the predictions of two runs.

    Parameters
    ----------
    a, b
        Where they are.
    margin
        Difference of two accuracies that matters, a fraction.

    Raises
    ------
    UserError
        If a file is missing or damaged, both are the same file, or they are for different test images or classes.
    """
    if (a.revision, a.path.resolve()) == (b.revision, b.path.resolve()):
        raise UserError(f"{a.name} and {b.name} are the same file of predictions: name two different ones")
    mine, other = a.load(), b.load()
    metrics = _metrics(mine), _metrics(other)
    if np.array_equal(mine.scores, other.scores):
        return Answer(a.name, b.name, metrics, margin, effect=None, seeds=None)
    effect = effects.compare(a.name, mine, b.name, other, margin)
    several = min(len(mine.scores), len(other.scores)) > 1
    seeds = seeds_needed(effects.correct(mine), effects.correct(other), margin) if several else None
    return Answer(a.name, b.name, metrics, margin, effect, seeds)


def _metrics(predictions: Predictions) -> Metrics:
    return evaluate(predictions.scores, predictions.labels, predictions.classes)


def _row(name: str, metrics: Metrics) -> list[str]:
    several = metrics.replicas > 1
    return [
        name,
        str(metrics.replicas),
        f"{100 * metrics.accuracy.mean():.2f}",
        f"{100 * metrics.accuracy.std(ddof=1):.2f}" if several else "-",
        f"{100 * metrics.f1_macro.mean():.2f}",
        f"{metrics.loss.mean():.4f}",
        f"{100 * metrics.calibration_error.mean():.2f}",
    ]


def _summary(name: str, metrics: Metrics) -> dict[str, Any]:
    several = metrics.replicas > 1
    return {
        "name": name,
        "seeds": metrics.replicas,
        "accuracy": float(metrics.accuracy.mean()),
        "accuracy_std": float(metrics.accuracy.std(ddof=1)) if several else None,
        "f1_macro": float(metrics.f1_macro.mean()),
        "loss": float(metrics.loss.mean()),
        "calibration_error": float(metrics.calibration_error.mean()),
    }
