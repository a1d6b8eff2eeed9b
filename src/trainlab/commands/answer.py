"""Two runs compared: the answer in words and the numbers behind it, as text, Markdown or JSON."""

import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trainlab.commands.sources import Source
from trainlab.errors import UserError
from trainlab.evaluation import effects
from trainlab.evaluation.answers import in_points, interval_in_points
from trainlab.evaluation.effects import Effect
from trainlab.evaluation.metrics import Predictions, evaluate
from trainlab.evaluation.predicted_classes import PredictedClasses
from trainlab.evaluation.statistics import seeds_needed

WIDE = 1000  # columns
HEADER = ["", "seeds", "accuracy, %", "std", "macro-F1, %", "loss", "ECE, %"]  # expected calibration error


class Scores(NamedTuple):
    """What the table shows of a run: means over its replicas.

    Parameters
    ----------
    name
        Of the run.
    seeds, images
        Number of replicas, and of test images.
    accuracy, accuracy_std, f1_macro, calibration_error
        Fractions; the standard deviation over the replicas is None for one.
    loss
        In nats; None, like the calibration error, if only the predicted classes are known.
    """

    name: str
    seeds: int
    images: int
    accuracy: float
    accuracy_std: float | None
    f1_macro: float
    loss: float | None
    calibration_error: float | None

    @classmethod
    def of(cls, name: str, predictions: Predictions | PredictedClasses) -> "Scores":
        """Return the scores of predictions."""
        if scored := isinstance(predictions, Predictions):
            scores = predictions.scores
        else:
            scores = np.eye(len(predictions.classes), dtype=np.float32)[predictions.predicted]
        metrics = evaluate(scores, predictions.labels, predictions.classes)
        return cls(
            name,
            metrics.replicas,
            int(metrics.support.sum()),
            float(metrics.accuracy.mean()),
            float(metrics.accuracy.std(ddof=1)) if metrics.replicas > 1 else None,
            float(metrics.f1_macro.mean()),
            float(metrics.loss.mean()) if scored else None,
            float(metrics.calibration_error.mean()) if scored else None,
        )

    def cells(self) -> list[str]:
        """Return its row of the table below :data:`HEADER`."""
        return [
            self.name,
            str(self.seeds),
            f"{100 * self.accuracy:.2f}",
            "-" if self.accuracy_std is None else f"{100 * self.accuracy_std:.2f}",
            f"{100 * self.f1_macro:.2f}",
            "-" if self.loss is None else f"{self.loss:.4f}",
            "-" if self.calibration_error is None else f"{100 * self.calibration_error:.2f}",
        ]


@dataclass(frozen=True)
class Answer:
    """A run compared with another one.

    Parameters
    ----------
    scores
        Of both.
    margin
        Difference of two accuracies that matters, a fraction.
    effect
        The difference; None if the predictions are identical.
    seeds
        How many seeds per run would show a difference of the margin with 80 % power; None if no number would, or if it
        is unknown because a run has a single seed, or the answer is from tables.
    tables
        The files that the answer is from, if it is not from predictions.
    p_suite
        The p-value by Holm's method for all comparisons of the suite, if the tables have it.
    """

    scores: tuple[Scores, Scores]
    margin: float
    effect: Effect | None
    seeds: int | None
    tables: tuple[Path, ...] = ()
    p_suite: float | None = None

    @property
    def sentence(self) -> str:
        """The answer in words."""
        if self.effect is None:
            return f"`{self.scores[0].name}` and `{self.scores[1].name}` have identical predictions."
        return f"{self.effect.sentence()}."

    @property
    def note(self) -> str:
        """The p-value, and the number of seeds that a difference of the margin needs; empty for identical predictions."""
        if self.effect is None:
            return ""
        p, points = self.effect.difference.p_value, f"{100 * self.margin:g} point{'s' * (self.margin != 0.01)}"
        p_value = f"{_p(p)} for this comparison alone"
        if self.p_suite is not None:
            p_value += f", {_p(self.p_suite)} by Holm's method for all comparisons of the suite"
        if self.tables:
            return f"{p_value}. From {', '.join(map(str, self.tables))}: the predictions are not here."
        if without := [f"`{of_run.name}`" for of_run in self.scores if of_run.loss is None]:
            p_value += f". Of {' and '.join(without)}, Git has the predicted classes: loss and ECE need the predictions"
        if self.seeds is not None:
            return f"{p_value}. {self.seeds} seeds per run would show a difference of {points} with 80 % power."
        if min(of_run.seeds for of_run in self.scores) == 1:
            why = "One seed has no spread: train both runs with `replicas: 2` or more to see what other seeds change."
        else:
            why = f"With these test images, no number of seeds would show a difference of {points} with 80 % power."
        return f"{p_value}. {why}"

    def rows(self) -> list[list[str]]:
        """Return the cells of the table below :data:`HEADER`: a row per run, the difference, and its interval."""
        rows = [of_run.cells() for of_run in self.scores]
        if self.effect is None:
            return rows
        difference = self.effect.difference
        accuracy, f1 = (difference.effect, difference.low, difference.high), self.effect.f1
        return [
            *rows,
            ["difference", "", in_points(accuracy[0]), "", in_points(f1[0]), "", ""],
            [
                "95 % interval",
                "",
                interval_in_points(*accuracy[1:]),
                "",
                "" if math.isnan(f1[1]) else interval_in_points(*f1[1:]),
                "",
                "",
            ],
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
            "run": _summary(self.scores[0]),
            "against": _summary(self.scores[1]),
            "images": self.scores[0].images,
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
                "p_holm": self.p_suite,  # null if unknown
                "df": difference.df if math.isfinite(difference.df) else None,  # JSON has no infinity
            }
            numbers = (None if math.isnan(number) else number for number in effect.f1)
            content["f1_macro"] = dict(zip(("effect", "low", "high"), numbers, strict=True))
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
    scores = Scores.of(a.name, mine), Scores.of(b.name, other)
    if np.array_equal(mine.labels, other.labels) and np.array_equal(mine.predicted, other.predicted):
        return Answer(scores, margin, effect=None, seeds=None)
    effect = effects.compare(a.name, mine, b.name, other, margin)
    several = min(len(mine.predicted), len(other.predicted)) > 1
    seeds = seeds_needed(effects.correct(mine), effects.correct(other), margin) if several else None
    return Answer(scores, margin, effect, seeds)


def _p(value: float) -> str:
    return "p < 0.0001" if value < 1e-4 else f"p = {value:.2g}"


def _summary(scores: Scores) -> dict[str, Any]:
    return {name: value for name, value in scores._asdict().items() if name != "images"}
