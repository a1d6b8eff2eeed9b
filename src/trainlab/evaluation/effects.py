"""Does a run do better than the one that it is compared with? The difference, its interval, and an answer in words."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pandas import DataFrame

from trainlab.errors import UserError
from trainlab.evaluation.answers import LEVEL, Verdict, in_points, interval_in_points
from trainlab.evaluation.statistics import Difference, accuracy_difference, f1_difference, holm, seeds_needed

if TYPE_CHECKING:
    from trainlab.evaluation.metrics import Predictions
    from trainlab.evaluation.predicted_classes import PredictedClasses

COLUMNS = [
    *("run", "against", "seeds", "seeds_against", "images", "effect", "low", "high", "p_value", "p_holm", "df"),
    *("f1_effect", "f1_low", "f1_high", "margin", "verdict", "answer"),
]
PAIRS = ["run", "against", "effect", "low", "high", "p_value", "p_holm"]
Right = Mapping[str, NDArray[np.bool_]]  # by run: which images each replica predicts correctly, [replicas, images]
SEEDS = ["run", "against", "margin", "seeds", "minutes"]


@dataclass(frozen=True)
class Effect:
    """A run compared with another one. Differences are fractions, run minus ``against``.

    Parameters
    ----------
    run, against
        Names of the two runs.
    difference
        Of their accuracies, with its 95 % interval.
    f1
        Difference of their macro-F1, and the ends of its 95 % interval.
    p_holm
        p-value of the difference of the accuracies, by Holm's method for all comparisons that are made together.
    margin
        Difference of two accuracies that matters.
    """

    run: str
    against: str
    difference: Difference
    f1: tuple[float, float, float]
    p_holm: float
    margin: float

    @property
    def verdict(self) -> Verdict:
        """The answer, by the rule of docs/statistics.md."""
        effect, low, high = self.difference.effect, self.difference.low, self.difference.high
        if max(abs(low), abs(high)) <= self.margin:
            return "no difference that matters"
        if self.p_holm >= LEVEL:
            return "no difference shown"
        if self.single_seed:  # one model is better, and nothing is known about the run
            return "better model" if effect > 0 else "worse model"
        return "helps" if effect > 0 else "hurts"

    def sentence(self) -> str:
        """Return the answer as a sentence that can be quoted, with its evidence."""
        run, against, points = f"`{self.run}`", f"`{self.against}`", f"{in_points(self.difference.effect)} points"
        sentences: dict[Verdict, str] = {
            "helps": f"{run} helps: {points} over {against}",
            "hurts": f"{run} hurts: {points} against {against}",
            "better model": f"Of these two models, that of {run} is better than that of {against}: {points}",
            "worse model": f"Of these two models, that of {run} is worse than that of {against}: {points}",
            "no difference that matters": f"{run} makes no difference that matters against {against}: {points}",
            "no difference shown": f"{run} shows no difference from {against}: {points}",
        }
        if self.single_seed:  # nothing about the runs: another seed may change the sign
            models = f"These two models of {run} and {against}"
            sentences |= {
                "no difference that matters": f"{models} make no difference that matters: {points}",
                "no difference shown": f"{models} show no difference: {points}",
            }
        return f"{sentences[self.verdict]} ({self._evidence()})"

    @property
    def single_seed(self) -> bool:
        """Whether one of the runs has a single seed, so that nothing is known about its other seeds."""
        return min(self.difference.seeds, self.difference.seeds_against) == 1

    def _evidence(self) -> str:
        difference = self.difference
        interval = f"95 % interval {interval_in_points(difference.low, difference.high)}"
        excludes_zero = difference.low > 0 or difference.high < 0
        if self.verdict == "no difference shown" and excludes_zero:
            interval += f", but p = {self.p_holm:.2f} by Holm's method"
        if difference.seeds == difference.seeds_against:
            seeds = f"{difference.seeds} seeds each" if difference.seeds > 1 else "one seed each"
        else:
            seeds = f"{difference.seeds} and {difference.seeds_against} seeds"
        return f"{interval}; {seeds}, {difference.images:,} images"


def compare(
    run: str, a: "Predictions | PredictedClasses", against: str, b: "Predictions | PredictedClasses", margin: float
) -> Effect:
    """Compare two runs.

    Parameters
    ----------
    run, against
        Their names.
    a, b
        Their predictions for the same images.
    margin
        Difference of two accuracies that matters, as a fraction.

    Raises
    ------
    UserError
        If the predictions are for different images or classes.
    """
    if a.classes != b.classes or not np.array_equal(a.labels, b.labels):
        raise UserError(
            f"{run} and {against} were scored on different test images or classes: evaluate both with the same data"
            f" (`dvc repro`)"
        )
    difference = accuracy_difference(correct(a), correct(b))
    f1 = f1_difference(a.predicted, b.predicted, a.labels, len(a.classes))
    return Effect(run, against, difference, f1, difference.p_value, margin)


def compare_all(
    pairs: Iterable[tuple[str, str]], predictions: "Mapping[str, Predictions]", margin: float
) -> list[Effect]:
    """Compare each run with another one; ``p_holm`` is adjusted for all of these comparisons.

    Parameters
    ----------
    pairs
        A run, and the run that it is compared with.
    predictions
        Of all these runs, for the same images.
    margin
        Difference of two accuracies that matters, as a fraction.
    """
    effects = [compare(run, predictions[run], against, predictions[against], margin) for run, against in pairs]
    adjusted = holm([effect.difference.p_value for effect in effects])
    return [replace(effect, p_holm=float(p)) for effect, p in zip(effects, adjusted, strict=True)]


def correct(predictions: "Predictions | PredictedClasses") -> NDArray[np.bool_]:
    """Return which images each replica predicts correctly, ``[replicas, images]``."""
    right: NDArray[np.bool_] = predictions.predicted == predictions.labels
    return right


def table(effects: Sequence[Effect]) -> DataFrame:
    """Return one row per comparison with the columns :data:`COLUMNS`; effects are fractions."""
    rows = [
        {
            "run": effect.run,
            "against": effect.against,
            **asdict(effect.difference),
            **dict(zip(("f1_effect", "f1_low", "f1_high"), effect.f1, strict=True)),
            "p_holm": effect.p_holm,
            "margin": effect.margin,
            "verdict": effect.verdict,
            "answer": effect.sentence(),
        }
        for effect in effects
    ]
    return DataFrame(rows, columns=COLUMNS)


def plotted(effects: Sequence[Effect]) -> DataFrame:
    """Return what `dvc plots` draws, one row per comparison: differences in percentage points."""
    rows = [
        {
            "comparison": f"{effect.run} − {effect.against}",
            **{name: 100 * getattr(effect.difference, name) for name in ("effect", "low", "high")},
            "verdict": effect.verdict,
        }
        for effect in effects
    ]
    return DataFrame(rows, columns=["comparison", "effect", "low", "high", "verdict"])


def pairs(right: Right) -> DataFrame:
    """Return every pair of runs with the columns :data:`PAIRS`; ``p_holm`` is adjusted for all of them."""
    rows = [
        {"run": run, "against": against, **asdict(accuracy_difference(right[run], right[against]))}
        for against, run in combinations(right, 2)
    ]
    return DataFrame(rows, columns=PAIRS[:-1]).assign(p_holm=holm([row["p_value"] for row in rows]))


def seeds(effects: Iterable[Effect], right: Right, minutes: Mapping[str, float]) -> DataFrame:
    """Return how many seeds per run would show a difference of the margin with 80 % power, and what they cost.

    Parameters
    ----------
    effects
        The comparisons.
    right
        Which images the replicas of their runs predict correctly, see :func:`correct`.
    minutes
        Measured training time per replica of each run.

    Returns
    -------
    DataFrame
        Columns :data:`SEEDS`. ``seeds`` is missing if one of the runs has a single seed, whose spread is unknown, or if no
        number of seeds is enough with these images. ``minutes`` is for both runs.
    """
    rows = []
    for effect in effects:
        a, b = right[effect.run], right[effect.against]
        count = seeds_needed(a, b, effect.margin) if min(len(a), len(b)) > 1 else None
        cost = count and count * (minutes[effect.run] + minutes[effect.against])
        rows.append([effect.run, effect.against, effect.margin, count, cost])
    return DataFrame(rows, columns=SEEDS).astype({"seeds": "Int64", "minutes": float})
