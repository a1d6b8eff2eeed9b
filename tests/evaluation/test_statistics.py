import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.stats import binomtest, norm, t, ttest_1samp, ttest_ind, ttest_rel
from sklearn.metrics import f1_score
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestIndPower, TTestPower

from trainlab.evaluation.statistics import (
    Difference,
    accuracy_difference,
    f1_difference,
    holm,
    seeds_needed,
    wilson,
)

Correct = NDArray[np.bool_]


# Wilson's interval


@given(
    st.integers(1, 100_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.sampled_from([0.9, 0.95])
)
def test_wilson_agrees_with_scipy(counts: tuple[int, int], confidence: float) -> None:
    right, images = counts
    low, high = wilson(right / images, images, confidence)
    expected = binomtest(right, images).proportion_ci(confidence, method="wilson")
    assert low == pytest.approx(expected.low, abs=1e-9)
    assert high == pytest.approx(expected.high, abs=1e-9)
    assert 0 <= low <= right / images + 1e-12
    assert right / images - 1e-12 <= high <= 1


def test_the_default_confidence_is_95_percent() -> None:
    assert wilson(0.5, 100) == pytest.approx((0.403832, 0.596168), abs=1e-6)


def test_the_interval_never_leaves_zero_to_one() -> None:
    for images in range(1, 400):  # of some of them, rounding would put the end outside
        assert 0 <= wilson(0, images)[0] < 1e-12
        assert 1 >= wilson(1, images)[1] > 1 - 1e-12


# Differences of accuracies


def models(*rows: str) -> Correct:
    """Return what models predict correctly, one string of 0 and 1 per seed."""
    return np.array([[digit == "1" for digit in row] for row in rows])


def simulated(
    seeds: int, against: int, images: int, seed: int = 0, spread: float = 0.3, apart: float = 0.0
) -> tuple[Correct, Correct]:
    """Return two runs: images differ in difficulty, seeds in accuracy, and `apart` makes images harder for one run only."""
    rng = np.random.default_rng(seed)
    ease = rng.normal(size=images) + 0.5

    def run(count: int) -> Correct:
        own = apart * rng.normal(size=images) if apart else 0.0
        return ease + own + spread * rng.normal(size=(count, 1)) + rng.normal(size=(count, images)) > 0

    return run(seeds), run(against)


def by_loops(correct: Correct, against: Correct) -> tuple[float, float, float]:
    """Return effect, variance and degrees of freedom, from the definitions in docs/statistics.md."""

    def variance(values: list[float]) -> float:
        mean = sum(values) / len(values)
        return sum((value - mean) ** 2 for value in values) / (len(values) - 1)

    images = correct.shape[1]
    of_seeds, within = [], 0.0
    for run in (correct, against):
        of_seeds.append(variance([float(row.mean()) for row in run]) / len(run))
        spread = [variance([float(value) for value in run[:, image]]) for image in range(images)]
        within += sum(spread) / images / len(run)
    differences = [float(correct[:, i].mean()) - float(against[:, i].mean()) for i in range(images)]
    of_images, seeds = variance(differences) / images, sum(of_seeds)
    total = max(seeds + of_images - within / images, seeds, of_images)
    fewest = min(len(correct), len(against))
    k = fewest / (fewest - 1)
    larger = max(k * seeds + of_images - within / images, k * seeds, of_images)
    squares = sum((k * part) ** 2 / (len(run) - 1) for part, run in zip(of_seeds, (correct, against), strict=True))
    return sum(differences) / images, total, larger**2 / (squares + of_images**2 / (images - 1))


@pytest.mark.parametrize(("seeds", "against"), [(2, 2), (2, 5), (3, 2), (6, 6)])
@pytest.mark.parametrize("spread", [0.0, 0.3, 2.0])  # the image part is the larger one, then the seeds' part
@pytest.mark.parametrize("confidence", [0.95, 0.8])
def test_difference_is_as_derived_with_loops(seeds: int, against: int, spread: float, confidence: float) -> None:
    runs = simulated(seeds, against, 40, seed=seeds, spread=spread)
    effect, variance, df = by_loops(*runs)
    found = accuracy_difference(*runs, confidence=confidence)
    half = t.ppf((1 + confidence) / 2, df) * math.sqrt(variance)
    assert (found.effect, found.df) == pytest.approx((effect, df))
    assert (found.low, found.high) == pytest.approx((max(-1, effect - half), min(1, effect + half)))
    assert found.p_value == pytest.approx(2 * t.sf(abs(effect) / math.sqrt(variance), df))
    assert (found.seeds, found.seeds_against, found.images) == (seeds, against, 40)


def test_variance_is_never_below_the_seeds_part() -> None:
    run, _ = simulated(3, 3, 40)
    found = accuracy_difference(run, run)  # no image differs
    variance = 2 * float(run.mean(1).var(ddof=1)) / 3
    assert found.high == pytest.approx(t.ppf(0.975, 4) * variance**0.5)
    assert found.df == pytest.approx(4)


def test_variance_is_never_below_the_images_part() -> None:
    run, against = models("110010", "001110"), models("011100", "011100")  # seeds differ, their accuracies do not
    found = accuracy_difference(run, against)
    variance = float((run.mean(0) - against.mean(0)).var(ddof=1)) / 6
    assert found.high == pytest.approx(t.ppf(0.975, 5) * variance**0.5)
    assert found.df == pytest.approx(5)


def test_closed_form_of_a_small_case() -> None:
    # Accuracies 3/4, 1 and 1/4, 1/2: both runs have a variance of 1/32 between seeds. Differences per image: 1/2, 1, 1, -1/2,
    # variance 1/2. Seeds disagree on one image per run: w = 1/8 each.
    found = accuracy_difference(models("1110", "1111"), models("0001", "1001"))
    variance = 1 / 32 / 2 * 2 + 1 / 2 / 4 - (1 / 8 + 1 / 8) / 2 / 4
    with_twice_the_seeds = variance + 1 / 32
    df = with_twice_the_seeds**2 / (2 * (1 / 32) ** 2 + (1 / 8) ** 2 / 3)
    assert found.effect == 0.5
    assert found.df == pytest.approx(df)
    assert found.p_value == pytest.approx(2 * t.sf(0.5 / variance**0.5, df))
    assert found.low == pytest.approx(0.5 - t.ppf(0.975, df) * variance**0.5)
    assert found.high == 1  # a larger difference is not possible


def test_without_differences_between_images_it_is_the_test_of_welch() -> None:
    # Each model predicts all images or none: the mean difference is the same for every image.
    shares = ([1, 1, 0, 1, 1, 1], [0, 0, 1, 0])
    runs = [np.repeat(np.array(share, dtype=bool)[:, None], 7, axis=1) for share in shares]
    found = accuracy_difference(*runs)
    expected = ttest_ind(*shares, equal_var=False)
    assert (found.p_value, found.df) == pytest.approx((expected.pvalue, expected.df))
    interval = expected.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, min(1, interval.high)))


def test_without_differences_between_seeds_it_is_the_paired_t_test_over_images() -> None:
    (a, b) = simulated(1, 1, 60)
    found = accuracy_difference(np.repeat(a, 3, axis=0), np.repeat(b, 4, axis=0))
    expected = ttest_rel(a[0].astype(float), b[0].astype(float))
    alone = ttest_1samp(a[0].astype(float) - b[0], 0).confidence_interval(0.95)
    assert (found.p_value, found.df) == pytest.approx((expected.pvalue, 59))
    assert (found.low, found.high) == pytest.approx((alone.low, alone.high))


def test_a_run_with_one_seed_has_no_seeds_part_of_its_own() -> None:
    one, many = simulated(1, 5, 200, spread=0.5)
    found = accuracy_difference(one, many)
    of_seeds = float(many.mean(1).var(ddof=1)) / 5
    of_images = float((one[0] - many.mean(0)).var(ddof=1)) / 200
    within = float(many.var(0, ddof=1).mean()) / 5 / 200
    variance = max(of_seeds + of_images - within, of_seeds, of_images)
    k = 5 / 4
    df = (k * of_seeds + of_images - within) ** 2 / ((k * of_seeds) ** 2 / 4 + of_images**2 / 199)
    assert of_seeds > 2 * within  # so that it makes a difference
    assert (found.high - found.low) / 2 == pytest.approx(t.ppf(0.975, df) * variance**0.5)
    assert found.df == pytest.approx(df)
    assert (found.seeds, found.seeds_against) == (1, 5)


@pytest.mark.parametrize("runs", ["same", "both right", "opposite", "opposite, one seed against three"])
def test_without_any_variance_numbers_are_clean(runs: str) -> None:
    right, wrong = np.ones((3, 20), dtype=bool), np.zeros((3, 20), dtype=bool)
    pattern = np.repeat(simulated(1, 1, 20)[0], 3, axis=0)
    expected = Difference(0.0, 0.0, 0.0, 1.0, math.inf, 3, 3, 20)
    if runs == "same":
        assert accuracy_difference(pattern, pattern) == expected
    elif runs == "both right":
        assert accuracy_difference(right, right) == expected
    elif runs == "opposite":
        assert accuracy_difference(right, wrong) == Difference(1.0, 1.0, 1.0, 0.0, math.inf, 3, 3, 20)
    else:
        assert accuracy_difference(wrong[:1], right) == Difference(-1.0, -1.0, -1.0, 0.0, math.inf, 1, 3, 20)


runs_of_several_seeds = st.integers(2, 12).flatmap(
    lambda images: st.tuples(
        *(st.integers(2, 4).flatmap(lambda seeds: arrays(bool, (seeds, images))) for _ in range(2))
    )
)
runs_of_any_seeds = st.integers(2, 12).flatmap(
    lambda images: st.tuples(
        *(st.integers(1, 4).flatmap(lambda seeds: arrays(bool, (seeds, images))) for _ in range(2))
    )
)


@given(runs_of_any_seeds)
def test_swapped_runs_have_the_opposite_difference(runs: tuple[Correct, Correct]) -> None:
    there, back = accuracy_difference(*runs), accuracy_difference(*runs[::-1])
    assert (back.effect, back.low, back.high) == (-there.effect, -there.high, -there.low)
    assert (back.p_value, back.df) == pytest.approx((there.p_value, there.df), rel=1e-12)
    assert (back.seeds, back.seeds_against) == (there.seeds_against, there.seeds)


@given(runs_of_any_seeds, st.randoms(use_true_random=False))
def test_order_of_images_and_seeds_does_not_matter(runs: tuple[Correct, Correct], random: Any) -> None:
    a, b = runs
    images = random.sample(range(a.shape[1]), a.shape[1])
    permuted = [run[random.sample(range(len(run)), len(run))][:, images] for run in runs]
    assert accuracy_difference(*permuted) == accuracy_difference(a, b)


@given(runs_of_several_seeds)
def test_p_value_is_below_5_percent_where_the_interval_excludes_zero(runs: tuple[Correct, Correct]) -> None:
    found = accuracy_difference(*runs)
    assume(abs(found.p_value - 0.05) > 1e-9)
    assert (found.p_value < 0.05) == (found.low > 0 or found.high < 0)


@given(runs_of_any_seeds, st.sampled_from([0.5, 0.95, 0.999]))
def test_interval_contains_the_effect_and_differences_that_are_possible(
    runs: tuple[Correct, Correct], confidence: float
) -> None:
    found = accuracy_difference(*runs, confidence=confidence)
    assert -1 <= found.low <= found.effect <= found.high <= 1
    assert 0 <= found.p_value <= 1
    assert found.df > 0


def test_more_confidence_needs_a_wider_interval() -> None:
    runs = simulated(3, 3, 100)
    widths = [found.high - found.low for c in (0.5, 0.9, 0.99) for found in [accuracy_difference(*runs, confidence=c)]]
    assert widths == sorted(widths)
    assert widths[0] < widths[-1]


def test_two_seeds_that_happen_to_agree_do_not_make_p_values_small() -> None:
    """No true difference. With the seeds' part counted once in the degrees of freedom, 2.1 % are below 0.01."""
    found = [accuracy_difference(*simulated(2, 2, 300, seed, spread=0.2)).p_value for seed in range(1500)]
    assert np.mean(np.array(found) < 0.05) < 0.05
    assert np.mean(np.array(found) < 0.01) < 0.016


# One seed per run


@given(st.integers(0, 30), st.integers(0, 30), st.integers(2, 50))
def test_p_value_of_two_models_is_that_of_mcnemar(gained: int, lost: int, agreed: int) -> None:
    found = accuracy_difference(*two_models(gained, lost, gained + lost + agreed))
    expected = mcnemar([[agreed, gained], [lost, 0]], exact=True)
    assert found.p_value == pytest.approx(min(1, expected.pvalue))
    assert found.df == math.inf


def two_models(gained: int, lost: int, images: int) -> tuple[Correct, Correct]:
    """Return the correct images of two models, the first of which gains and loses some."""
    a, b = np.ones((2, 1, images), dtype=bool)
    b[0, :gained] = False
    a[0, gained : gained + lost] = False
    return a, b


@pytest.mark.parametrize(("gained", "lost", "images"), [(9, 3, 30), (1, 0, 10), (5, 5, 12), (0, 7, 400), (30, 11, 60)])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_ends_of_the_interval_of_two_models_are_just_not_rejected(
    gained: int, lost: int, images: int, confidence: float
) -> None:
    """Tango's score test with the maximum of the likelihood found by a search."""

    def score(difference: float) -> float:
        def minus_likelihood(share: float) -> float:
            return -sum(
                count * math.log(max(p, 1e-300))
                for count, p in (
                    (gained, share + difference),
                    (lost, share),
                    (images - gained - lost, 1 - 2 * share - difference),
                )
            )

        bounds = (max(0, -difference), (1 - difference) / 2)
        share = minimize_scalar(minus_likelihood, bounds=bounds, method="bounded", options={"xatol": 1e-12}).x
        variance = images * (2 * share + difference * (1 - difference))
        return float((gained - lost - images * difference) / variance**0.5)

    found = accuracy_difference(*two_models(gained, lost, images), confidence=confidence)
    z = norm.ppf((1 + confidence) / 2)
    assert (score(found.low), score(found.high)) == pytest.approx((z, -z), rel=1e-4)


def test_interval_of_two_models_that_agree_or_never_agree() -> None:
    z2 = norm.ppf(0.975) ** 2
    same = accuracy_difference(*two_models(0, 0, 100))
    assert (same.effect, same.p_value) == (0, 1)
    assert (same.low, same.high) == pytest.approx((-z2 / (100 + z2), z2 / (100 + z2)))
    opposite = accuracy_difference(*two_models(100, 0, 100))
    assert opposite.low == pytest.approx((100 - z2) / (100 + z2))
    assert opposite.high == 1
    assert opposite.p_value == pytest.approx(2 * 0.5**100)


def test_interval_and_p_value_of_two_models_agree_but_for_the_exactness() -> None:
    """A small p-value implies an interval without 0; an interval without 0 implies a p-value of at most 0.125."""
    for gained, lost in itertools.product(range(25), repeat=2):
        found = accuracy_difference(*two_models(gained, lost, 100))
        excludes_zero = found.low > 0 or found.high < 0
        assert excludes_zero or found.p_value >= 0.05
        assert not excludes_zero or found.p_value <= 0.125


# Mistakes


@pytest.mark.parametrize(
    ("correct", "against", "message"),
    [
        (np.ones(5, bool), np.ones((2, 5), bool), r"expected bool \[seeds, images\] .* not bool \[5\]"),
        (np.ones((2, 5), bool), np.ones((2, 5)), r"expected bool .* not float64 \[2, 5\]"),
        (np.ones((0, 5), bool), np.ones((2, 5), bool), r"at least 1 seed .* not bool \[0, 5\]"),
        (np.ones((2, 1), bool), np.ones((2, 1), bool), "2 images"),
        (np.ones((2, 5), bool), np.ones((2, 6), bool), r"the numbers of images differ: \[5, 6\]"),
    ],
)
def test_wrong_shapes_are_reported(correct: Correct, against: Correct, message: str) -> None:
    for compare in (accuracy_difference, lambda a, b: seeds_needed(a, b, 0.01)):
        with pytest.raises(ValueError, match=message):
            compare(correct, against)


# Macro-F1


def classes(
    seeds: int, images: int, accuracy: float, labels: NDArray[np.int64], seed: int, number: int = 4
) -> NDArray[np.int64]:
    rng = np.random.default_rng(seed)
    other = rng.integers(number, size=(seeds, images))
    return np.where(rng.random((seeds, images)) < accuracy, labels, other)


def test_effect_is_the_difference_of_the_mean_macro_f1_of_scikit_learn() -> None:
    labels = np.random.default_rng(0).integers(3, size=80)  # of class 3, neither label nor prediction
    runs = [classes(seeds, 80, 0.6 + seeds / 20, labels, seeds, number=3) for seeds in (2, 5)]
    means = [
        np.mean([f1_score(labels, row, labels=range(4), average="macro", zero_division=0) for row in run])
        for run in runs
    ]
    assert f1_difference(runs[0], runs[1], labels, 4, resamples=2)[0] == pytest.approx(means[0] - means[1])


def test_bootstrap_is_deterministic_by_its_seed() -> None:
    labels = np.arange(60) % 4
    a, b = (classes(3, 60, 0.7, labels, seed) for seed in range(2))
    found = f1_difference(a, b, labels, 4, resamples=50)
    assert found == f1_difference(a, b, labels, 4, resamples=50, seed=0)
    assert found != f1_difference(a, b, labels, 4, resamples=50, seed=1)


@pytest.mark.slow
def test_bootstrap_interval_is_as_derived_with_loops() -> None:
    """Same distribution, other random numbers: scikit-learn's scores of explicit resamples."""
    labels = np.arange(40) % 4
    runs = [classes(seeds, 40, accuracy, labels, seeds) for seeds, accuracy in ((3, 0.8), (2, 0.6))]
    rng = np.random.default_rng(5)
    drawn = []
    for _ in range(100):
        images = rng.integers(40, size=40)
        means = [
            np.mean(
                [
                    f1_score(labels[images], run[s, images], labels=range(4), average="macro", zero_division=0)
                    for s in rng.integers(len(run), size=len(run) - 1)
                ]
            )
            for run in runs
        ]
        drawn.append(means[0] - means[1])
    _, low, high = f1_difference(runs[0], runs[1], labels, 4, confidence=0.8)
    assert (low, high) == pytest.approx(tuple(np.quantile(drawn, [0.1, 0.9])), abs=0.05)


def test_bootstrap_draws_the_same_images_for_both_runs() -> None:
    labels = np.arange(200) % 4
    run = classes(1, 200, 0.7, labels, 0)
    assert f1_difference(run, run, labels, 4, resamples=100) == (0, 0, 0)


def test_bootstrap_draws_seeds_with_the_variance_of_their_mean() -> None:
    """Seeds whose F1 is 1 or 0 on any images: the mean of 5 − 1 drawn ones has the unbiased variance of a mean of 5."""
    labels = np.arange(30) % 2
    right = np.array([True, True, False, True, False])
    run = np.where(right[:, None], labels, 1 - labels)
    perfect = labels[None]
    effect, low, high = f1_difference(run, perfect, labels, 2, resamples=4000, confidence=0.6827)
    assert effect == pytest.approx(-0.4)
    assert (low, high) == pytest.approx((-0.65, -0.25), abs=0.11)  # multiples of 1/4
    assert all((-4 * end).is_integer() for end in (low, high))


@pytest.mark.parametrize(
    ("predicted", "labels", "message"),
    [
        (np.zeros((2, 5), int), np.zeros((1, 5), int), "expected"),
        (np.zeros(5, int), np.zeros(5, int), "expected"),
        (np.zeros((0, 5), int), np.zeros(5, int), "none empty"),
        (np.zeros((2, 5), int), np.zeros(6, int), r"the numbers of images differ: \[5, 6\]"),
        (np.full((2, 5), 3), np.zeros(5, int), "a class is outside of 0 to 2"),
        (np.zeros((2, 5), int), np.full(5, -1), "a class is outside of 0 to 2"),
    ],
)
def test_wrong_predictions_are_reported(predicted: NDArray[np.int64], labels: NDArray[np.int64], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        f1_difference(predicted, predicted, labels, 3)


# Holm's method


probabilities = st.lists(st.floats(0, 1), min_size=1, max_size=12)


@pytest.mark.parametrize("count", [1, 2, 5, 20])  # few: multipletests collects garbage, which takes a while
def test_holm_agrees_with_statsmodels(count: int) -> None:
    p_values = np.round(np.random.default_rng(count).random(count) ** 3, 2)  # rounded, for ties
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])


@given(probabilities)
def test_adjusted_p_values_are_larger_ordered_and_at_most_1(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert (adjusted >= np.array(p_values)).all()
    assert (adjusted <= 1).all()
    order = np.argsort(p_values)
    assert (np.diff(adjusted[order]) >= 0).all()


def test_holm_of_a_small_case() -> None:
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([]).tolist() == []


@pytest.mark.parametrize("p_values", [[0.1, 1.1], [-0.1], [math.nan], [[0.1]]])
def test_holm_reports_what_is_no_p_value(p_values: list[float]) -> None:
    with pytest.raises(ValueError, match="p-values must be"):
        holm(p_values)


# Number of seeds


def test_seeds_of_a_case_where_seeds_alone_count_are_those_of_statsmodels() -> None:
    # Every model predicts all images or none.
    share = np.array([[True], [True], [False], [True], [False], [True]])
    runs = (np.repeat(share, 50, axis=1), np.repeat(~share, 50, axis=1))
    spread = float(share.astype(float).std(ddof=1))
    for margin in (0.9, 0.5, 0.2):
        per_run = TTestIndPower().solve_power(margin / spread, power=0.8, alpha=0.05)
        assert seeds_needed(*runs, margin) == math.ceil(per_run)
    assert seeds_needed(*runs, 0.2, power=0.9, confidence=0.9) == math.ceil(
        TTestIndPower().solve_power(0.2 / spread, power=0.9, alpha=0.1)
    )


def test_without_spread_between_seeds_the_images_decide() -> None:
    a, b = simulated(1, 1, 400)
    runs = np.repeat(a, 3, axis=0), np.repeat(b, 3, axis=0)
    spread = float((a[0].astype(float) - b[0]).std(ddof=1))
    enough = TTestPower().solve_power(nobs=400, power=0.8, alpha=0.05) * spread
    assert seeds_needed(*runs, 1.01 * enough) == 2
    assert seeds_needed(*runs, 0.99 * enough) is None


@pytest.mark.parametrize("margin", [0.02, 0.06])
def test_the_number_found_is_the_smallest_with_enough_power(margin: float) -> None:
    """The model of docs/statistics.md, with the power from simulated noncentral t values."""
    a, b = simulated(4, 3, 2000, seed=3, spread=0.05, apart=0.5)
    images = a.shape[1]
    of_seeds = [float(run.mean(1).var(ddof=1)) for run in (a, b)]
    within = [float(run.var(0, ddof=1).mean()) for run in (a, b)]
    without_noise = float((a.mean(0) - b.mean(0)).var(ddof=1)) - within[0] / 4 - within[1] / 3
    rng = np.random.default_rng(0)

    def power(seeds: int) -> float:
        part, of_images = sum(of_seeds) / seeds, (without_noise + sum(within) / seeds) / images
        noise, k = sum(within) / seeds / images, seeds / (seeds - 1)
        variance = max(part + of_images - noise, part, of_images)
        larger = max(k * part + of_images - noise, k * part, of_images)
        squares = sum((k * s / seeds) ** 2 for s in of_seeds) / (seeds - 1)
        df = larger**2 / (squares + of_images**2 / (images - 1))
        values = (rng.normal(size=400_000) + margin / variance**0.5) / np.sqrt(rng.chisquare(df, 400_000) / df)
        return float(np.mean(values > t.ppf(0.975, df)))

    found = seeds_needed(a, b, margin)
    assert found is not None
    assert found > 2
    assert power(found) > 0.797
    assert power(found - 1) < 0.803


@pytest.mark.slow
@given(runs_of_several_seeds, st.floats(0.01, 1), st.floats(1, 3))
def test_a_larger_difference_needs_no_more_seeds(runs: tuple[Correct, Correct], margin: float, factor: float) -> None:
    small, large = (seeds_needed(*runs, m, most=60) or 61 for m in (margin, margin * factor))
    assert 2 <= large <= small


def test_none_if_the_most_seeds_do_not_suffice() -> None:
    runs = simulated(3, 3, 500)
    needed = seeds_needed(*runs, 0.1)
    assert needed is not None
    assert needed > 3
    assert seeds_needed(*runs, 0.1, most=needed) == needed
    assert seeds_needed(*runs, 0.1, most=needed - 1) is None
    assert seeds_needed(*runs, 1e-6, most=20) is None


def test_without_any_variance_two_seeds_suffice() -> None:
    right = np.ones((3, 20), dtype=bool)
    assert seeds_needed(right, right, 1e-9) == 2


def test_seeds_cannot_be_estimated_from_one_seed_or_for_no_margin() -> None:
    one, many = simulated(1, 3, 50)
    with pytest.raises(ValueError, match="two seeds per run"):
        seeds_needed(one, many, 0.01)
    for margin in (0.0, -0.1, math.nan):
        with pytest.raises(ValueError, match="the margin must be above 0"):
            seeds_needed(many, many, margin)
