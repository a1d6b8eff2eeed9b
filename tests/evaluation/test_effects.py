"""Answers in words: the rule, the sentence, and the tables."""

from typing import Any

import numpy as np
import pytest
from scipy import stats

from trainlab.errors import UserError
from trainlab.evaluation import effects
from trainlab.evaluation.answers import in_points
from trainlab.evaluation.effects import Effect, compare, compare_all
from trainlab.evaluation.metrics import Predictions
from trainlab.evaluation.statistics import (
    Difference,
    accuracy_difference,
    accuracy_interval,
    holm,
    seeds_needed,
    wilson,
)

CLASSES = ("ant", "bee", "cat")
LABELS = np.arange(300) % 3


def effect(low: float, high: float, p_holm: float = 0.001, *, seeds: tuple[int, int] = (6, 6)) -> Effect:
    middle = (low + high) / 2
    difference = Difference(middle, low, high, p_holm / 2, 10.0, *seeds, images=10_000)
    return Effect("new", "old", difference, (middle, low, high), p_holm, margin=0.01)


def predictions(accuracies: list[float], seed: int = 0, labels: Any = LABELS, classes: Any = CLASSES) -> Predictions:
    """Return predictions of one replica per accuracy; which images are wrong is random."""
    rng = np.random.default_rng(seed)
    right = rng.random((len(accuracies), len(labels))) < np.array(accuracies)[:, None]
    predicted = np.where(right, labels, (labels + 1) % len(classes))
    return Predictions(np.eye(len(classes), dtype=np.float32)[predicted], labels, classes)


@pytest.mark.parametrize(
    ("low", "high", "p_holm", "verdict"),
    [
        (0.027, 0.041, 0.001, "helps"),
        (0.002, 0.041, 0.049, "helps"),
        (-0.041, -0.027, 0.001, "hurts"),
        (-0.02, 0.03, 0.6, "no difference shown"),
        (0.002, 0.041, 0.051, "no difference shown"),  # by Holm's method
        (-0.004, 0.009, 0.3, "no difference that matters"),
        (0.002, 0.009, 0.001, "no difference that matters"),  # there is one, within the margin
        (-0.01, 0.01, 0.9, "no difference that matters"),
        (-0.0101, 0.01, 0.9, "no difference shown"),
        (-0.01, 0.0101, 0.9, "no difference shown"),
    ],
)
def test_the_rule(low: float, high: float, p_holm: float, verdict: str) -> None:
    assert effect(low, high, p_holm).verdict == verdict
    # From one seed a model is better, and not a run.
    of_models = {"helps": "better model", "hurts": "worse model"}
    for seeds in [(1, 1), (1, 6), (6, 1)]:
        assert effect(low, high, p_holm, seeds=seeds).verdict == of_models.get(verdict, verdict)


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (
            effect(0.027, 0.041),
            "`new` helps: +3.4 points over `old` (95 % interval +2.7 to +4.1; 6 seeds each, 10,000 images)",
        ),
        (
            effect(-0.041, -0.027, seeds=(6, 3)),
            "`new` hurts: −3.4 points against `old` (95 % interval −4.1 to −2.7; 6 and 3 seeds, 10,000 images)",
        ),
        (
            effect(-0.02, 0.03, 0.6),
            "`new` shows no difference from `old`: +0.5 points (95 % interval −2.0 to +3.0; 6 seeds each, 10,000 images)",
        ),
        (
            effect(0.002, 0.03, 0.07),
            "`new` shows no difference from `old`: +1.6 points (95 % interval +0.2 to +3.0, but p = 0.07 by Holm's method; "
            "6 seeds each, 10,000 images)",
        ),
        (  # an interval that ends at zero does not exclude it
            effect(0.0, 0.03, 0.07),
            "`new` shows no difference from `old`: +1.5 points (95 % interval +0.0 to +3.0; 6 seeds each, 10,000 images)",
        ),
        (
            effect(-0.03, 0.0, 0.07),
            "`new` shows no difference from `old`: −1.5 points (95 % interval −3.0 to +0.0; 6 seeds each, 10,000 images)",
        ),
        (
            effect(-0.006, 0.008, 0.7),
            "`new` makes no difference that matters against `old`: +0.1 points (95 % interval −0.6 to +0.8; 6 seeds each, "
            "10,000 images)",
        ),
        (
            effect(0.027, 0.041, seeds=(1, 1)),
            "Of these two models, that of `new` is better than that of `old`: +3.4 points (95 % interval +2.7 to +4.1; "
            "one seed each, 10,000 images)",
        ),
        (
            effect(-0.041, -0.027, seeds=(6, 1)),
            "Of these two models, that of `new` is worse than that of `old`: −3.4 points (95 % interval −4.1 to −2.7; "
            "6 and 1 seeds, 10,000 images)",
        ),
        (
            effect(-0.02, 0.03, 0.6, seeds=(1, 1)),
            "These two models of `new` and `old` show no difference: +0.5 points (95 % interval −2.0 to +3.0; one seed each, "
            "10,000 images)",
        ),
        (
            effect(-0.006, 0.008, 0.7, seeds=(1, 2)),
            "These two models of `new` and `old` make no difference that matters: +0.1 points (95 % interval −0.6 to +0.8; "
            "1 and 2 seeds, 10,000 images)",
        ),
    ],
)
def test_the_sentence(found: Effect, sentence: str) -> None:
    assert found.sentence() == sentence


def test_points_have_a_sign() -> None:
    assert [in_points(value) for value in (0.034, -0.034, 0.0)] == ["+3.4", "−3.4", "+0.0"]


def test_two_runs_are_compared_by_their_predictions() -> None:
    a, b = predictions([0.8, 0.7, 0.75]), predictions([0.5, 0.4, 0.45], seed=1)
    found = compare("new", a, "old", b, 0.02)
    means = [(of_run.scores.argmax(2) == LABELS).mean() for of_run in (a, b)]
    assert found.difference.effect == pytest.approx(means[0] - means[1])
    assert (found.difference.seeds, found.difference.seeds_against, found.difference.images) == (3, 3, 300)
    assert found.difference == accuracy_difference(effects.correct(a), effects.correct(b))
    assert found.p_holm == found.difference.p_value
    assert found.verdict == "helps"
    assert found.f1[1] < found.f1[0] < found.f1[2]
    assert found.f1[0] == pytest.approx(found.difference.effect, abs=0.05)


@pytest.mark.parametrize(
    "other",
    [
        predictions([0.5], labels=np.flip(LABELS)),
        predictions([0.5], labels=LABELS[:299]),
        predictions([0.5], classes=("ant", "bee", "dog")),
    ],
)
def test_other_images_or_classes_are_refused(other: Predictions) -> None:
    with pytest.raises(UserError, match="new and old were scored on different test images or classes"):
        compare("new", predictions([0.5]), "old", other, 0.01)


def test_comparisons_that_are_made_together_are_adjusted_together() -> None:
    of_runs = {run: predictions([p] * 3, seed) for seed, (run, p) in enumerate({"a": 0.5, "b": 0.55, "c": 0.6}.items())}
    found = compare_all([("b", "a"), ("c", "a")], of_runs, 0.01)
    raw = [one.difference.p_value for one in found]
    assert [one.p_holm for one in found] == pytest.approx(holm(raw))
    assert max(one.p_holm - p for one, p in zip(found, raw, strict=True)) > 0
    rows = effects.table(found)
    assert list(rows.columns) == effects.COLUMNS
    assert list(zip(rows["run"], rows["against"], strict=True)) == [("b", "a"), ("c", "a")]
    assert list(rows["answer"]) == [one.sentence() for one in found]
    assert list(rows["effect"]) == [one.difference.effect for one in found]

    drawn = effects.plotted(found)
    assert list(drawn["comparison"]) == ["b − a", "c − a"]
    assert list(drawn["verdict"]) == list(rows["verdict"])
    for name in ("effect", "low", "high"):
        assert list(drawn[name]) == pytest.approx(list(100 * rows[name]))

    pairs = effects.pairs({run: effects.correct(of_run) for run, of_run in of_runs.items()})
    assert list(pairs.columns) == effects.PAIRS
    assert list(zip(pairs["run"], pairs["against"], strict=True)) == [("b", "a"), ("c", "a"), ("c", "b")]
    assert list(pairs["p_value"][:2]) == raw
    assert list(pairs["p_holm"]) == pytest.approx(holm(pairs["p_value"]))


def test_a_suite_of_one_run_has_no_comparisons() -> None:
    assert compare_all([], {}, 0.01) == []
    assert effects.table([]).columns.tolist() == effects.COLUMNS
    assert effects.pairs({"a": effects.correct(predictions([0.5]))}).columns.tolist() == effects.PAIRS
    assert effects.seeds([], {}, {}).columns.tolist() == effects.SEEDS
    assert effects.plotted([]).empty


def test_how_many_seeds_it_would_take() -> None:
    of_runs = {
        "a": predictions([0.5, 0.6, 0.55]),
        "b": predictions([0.6, 0.65, 0.7], 1),
        "single": predictions([0.5], 2),
    }
    found = compare_all([("b", "a"), ("single", "a")], of_runs, 0.2)
    right = {run: effects.correct(of_run) for run, of_run in of_runs.items()}
    rows = effects.seeds(found, right, {"a": 2.0, "b": 3.0, "single": 1.0})
    count = seeds_needed(right["b"], right["a"], 0.2)
    assert count
    assert rows["seeds"].tolist()[0] == count
    assert rows["minutes"].tolist()[0] == count * 5
    assert rows["seeds"].isna().tolist() == rows["minutes"].isna().tolist() == [False, True]


def test_the_interval_of_a_run_covers_other_seeds_and_images() -> None:
    """Against a derivation by SciPy, and Wilson's interval for one seed."""
    right = effects.correct(predictions([0.5, 0.6, 0.7, 0.55], labels=np.arange(3000) % 3))
    seeds, images = stats.sem(right.mean(1)) ** 2, stats.sem(right.mean(0)) ** 2
    shared = right.var(0, ddof=1).mean() / 4 / 3000
    variance = max(seeds + images - shared, seeds, images)
    weighted = 4 / 3 * seeds  # by S / (S - 1): see docs/statistics.md
    df = max(weighted + images - shared, weighted, images) ** 2 / (weighted**2 / 3 + images**2 / 2999)
    expected = stats.t.interval(0.95, df, right.mean(), variance**0.5)
    assert accuracy_interval(right) == pytest.approx(expected)
    # Seeds that agree on every image: only images vary.
    same = np.repeat(right[:1], 4, axis=0)
    assert accuracy_interval(same) == pytest.approx(stats.t.interval(0.95, 2999, same.mean(), stats.sem(same[0])))
    assert accuracy_interval(right[:1]) == wilson(float(right[0].mean()), 3000)
    assert accuracy_interval(np.ones((3, 50), bool)) == (1.0, 1.0)
    for wrong in (right[0], right.astype(float), right[:0]):
        with pytest.raises(ValueError, match=r"expected bool \[seeds, images\]"):
            accuracy_interval(wrong)
