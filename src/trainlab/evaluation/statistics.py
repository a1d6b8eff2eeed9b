"""Confidence intervals and tests: how far results may change with other seeds and other test images.

The methods are described in docs/statistics.md, with a simulation that shows the coverage of the intervals.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.stats import binomtest, nct, t

Correct = NDArray[np.bool_]  # [seeds, images]


@dataclass(frozen=True)
class Difference:
    """Difference of the accuracies of two runs, ``run - against``.

    Parameters
    ----------
    effect
        Mean difference over seeds and images, a fraction.
    low, high
        Ends of the confidence interval.
    p_value
        Two-sided p-value of the hypothesis that the accuracies are equal.
    df
        Degrees of freedom; ``inf`` if only images are taken into account (one seed per run), or if nothing varies.
    seeds, seeds_against
        Number of seeds of each run.
    images
        Number of test images.
    """

    effect: float
    low: float
    high: float
    p_value: float
    df: float
    seeds: int
    seeds_against: int
    images: int


def wilson(accuracy: float, images: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the Wilson score interval of one model's accuracy: the test images are a sample of all images of the same kind.

    The interval does not cover the variation between seeds.

    Parameters
    ----------
    accuracy
        Fraction of correct predictions, in [0, 1].
    images
        Number of test images, at least 1.
    confidence
        Coverage of the interval, in (0, 1).

    Returns
    -------
    tuple of float
        The lower and the upper end, in [0, 1].

    References
    ----------
    Wilson (1927), Probable inference, the law of succession, and statistical inference. JASA 22, 209–212.
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    middle = (accuracy + z**2 / (2 * images)) / (1 + z**2 / images)
    half = z / (1 + z**2 / images) * (accuracy * (1 - accuracy) / images + z**2 / (4 * images**2)) ** 0.5
    return max(0.0, middle - half), min(1.0, middle + half)


def accuracy_interval(correct: Correct, *, confidence: float = 0.95) -> tuple[float, float]:
    """Return the interval of a run's accuracy: for other seeds and other test images.

    It is the interval of :func:`accuracy_difference` from a model that is always wrong. With one seed (or one
    image), it is :func:`wilson`'s, for other test images only.

    Parameters
    ----------
    correct
        Whether each model of the run predicts each test image correctly, bool ``[seeds, images]``.
    confidence
        Coverage of the interval, in (0, 1).

    Returns
    -------
    tuple of float
        The lower and the upper end, in [0, 1].

    Raises
    ------
    ValueError
        If the array is not bool with two dimensions, or has no seed or no image.
    """
    if correct.ndim != 2 or correct.dtype != np.bool_ or correct.size == 0:
        raise ValueError(f"expected bool [seeds, images], not empty, and not {correct.dtype} {list(correct.shape)}")
    seeds, images = correct.shape
    if seeds == 1 or images == 1:
        return wilson(float(correct.mean()), images, confidence)
    always_wrong = np.zeros((1, images), bool)
    interval = accuracy_difference(correct, always_wrong, confidence=confidence)
    return max(0.0, interval.low), interval.high


def accuracy_difference(correct: Correct, correct_against: Correct, *, confidence: float = 0.95) -> Difference:
    """Return the difference of two accuracies with an interval that covers other seeds and other test images.

    Seeds and images are crossed random factors; the images are shared by the two runs. The variance of the difference is
    the sum of a part of the seeds (the variance of the accuracy between seeds, divided by the number of seeds, of both
    runs) and a part of the images (the variance of the mean difference per image, divided by the number of images), minus
    the noise that both contain, and never less than either part. Student's t with Satterthwaite's degrees of freedom, in
    which the seeds' part counts S / (S − 1) times, S being the smaller number of seeds: otherwise p-values are too small
    where two or three seeds happen to agree (docs/statistics.md shows both).

    With one seed per run, the seeds' part is unknown: the p-value is McNemar's exact one, the interval is Tango's, and both
    are valid for these two models only. With one seed in one run, the variance has no seeds' part of that run: the interval
    covers other images and other seeds of the other run.

    Parameters
    ----------
    correct
        Whether each model of the run predicts each test image correctly, bool ``[seeds, images]``; at least 2 images.
    correct_against
        The same of the run to compare with, for the same images; the number of seeds may differ.
    confidence
        Coverage of the interval, in (0, 1).

    Raises
    ------
    ValueError
        If an array is not bool with two dimensions, has no seed or fewer than 2 images, or if the numbers of images differ.

    References
    ----------
    Brennan (2001), Generalizability Theory. Springer. Crossed random factors.

    Satterthwaite (1946), An approximate distribution of estimates of variance components. Biometrics Bulletin 2, 110–114.

    McNemar (1947), Note on the sampling error of the difference between correlated proportions or percentages.
    Psychometrika 12, 153–157. See also Dietterich (1998), Approximate statistical tests for comparing supervised
    classification learning algorithms. Neural Computation 10, 1895–1923.

    Tango (1998), Equivalence test and confidence interval for the difference in proportions for the paired-sample design.
    Statistics in Medicine 17, 891–908.

    Bouthillier et al. (2021), Accounting for variance in machine learning benchmarks. MLSys 3. Why seeds count.
    """
    _check(correct, correct_against)
    (seeds, images), against = correct.shape, len(correct_against)
    # Integers, so that the effect is exact: zero for equal accuracies, and negated if the runs are swapped.
    effect = (int(correct.sum()) * against - int(correct_against.sum()) * seeds) / (seeds * against * images)
    if seeds == against == 1:
        low, high, p_value = _two_models(correct[0], correct_against[0], confidence)
        return Difference(effect, low, high, p_value, math.inf, seeds, against, images)
    variance, df = _Spread.of(correct, correct_against).variance_and_df()
    if variance == 0:
        return Difference(effect, effect, effect, float(effect == 0), math.inf, seeds, against, images)
    error = math.sqrt(variance)
    half = float(t.ppf((1 + confidence) / 2, df)) * error
    p_value = float(2 * t.sf(abs(effect) / error, df))
    return Difference(effect, max(-1.0, effect - half), min(1.0, effect + half), p_value, df, seeds, against, images)


def f1_difference(
    predicted: NDArray[np.int64],
    predicted_against: NDArray[np.int64],
    labels: NDArray[np.int64],
    num_classes: int,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float, float]:
    """Return the difference of two macro-F1 (means over seeds) with a bootstrap percentile interval.

    Each resample draws images, the same for both runs, and seeds of each run, with replacement. It draws one seed fewer than
    there are (but at least one): the variance of a mean of S drawn seeds is too small by (S − 1)/S. The interval is too wide
    if seeds vary little, and too narrow for two seeds that vary much (docs/statistics.md has the coverage).

    Parameters
    ----------
    predicted, predicted_against
        Predicted classes of each run, int64 ``[seeds, images]``, in [0, num_classes).
    labels
        int64 ``[images]``, in [0, num_classes).
    num_classes
        Number of classes. A class without labels and predictions has an F1 of 0, as in scikit-learn with
        ``zero_division=0``.
    confidence
        Coverage of the interval, in (0, 1).
    resamples
        Number of bootstrap resamples, at least 1.
    seed
        Seed of the bootstrap. Same seed, same interval.

    Returns
    -------
    tuple of float
        Effect, lower end, upper end; fractions.

    Raises
    ------
    ValueError
        If the shapes do not fit, or a class is outside of [0, num_classes).

    References
    ----------
    Efron & Tibshirani (1993), An Introduction to the Bootstrap. Chapman & Hall.

    Owen (2007), The pigeonhole bootstrap. Annals of Applied Statistics 1, 386–411. Two crossed factors.

    Rao & Wu (1988), Resampling inference with complex survey data. JASA 83, 231–241. One fewer than there are.
    """
    _check_classes(predicted, predicted_against, labels, num_classes)
    runs = [of_run + num_classes * labels for of_run in (predicted, predicted_against)]
    rng = np.random.default_rng(seed)
    images = len(labels)
    drawn = np.empty(resamples)
    for resample in range(resamples):
        chosen = rng.integers(images, size=images)
        f1 = [
            _macro_f1(cells[np.ix_(rng.integers(len(cells), size=max(1, len(cells) - 1)), chosen)], num_classes)
            for cells in runs
        ]
        drawn[resample] = f1[0] - f1[1]
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return _macro_f1(runs[0], num_classes) - _macro_f1(runs[1], num_classes), float(low), float(high)


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Return p-values adjusted by Holm's method, in the same order.

    If each adjusted p-value below 0.05 is taken as a difference, the probability of one or more wrong ones is at most 5 %.

    Parameters
    ----------
    p_values
        One per comparison, in [0, 1].

    Raises
    ------
    ValueError
        If they are not a sequence of numbers in [0, 1].

    References
    ----------
    Holm (1979), A simple sequentially rejective multiple test procedure. Scandinavian Journal of Statistics 6, 65–70.
    """
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise ValueError("p-values must be a sequence of numbers in [0, 1]")
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(np.arange(len(p), 0, -1) * p[order]))
    return adjusted


def seeds_needed(
    correct: Correct,
    correct_against: Correct,
    margin: float,
    *,
    power: float = 0.8,
    confidence: float = 0.95,
    most: int = 1000,
) -> int | None:
    """Return the smallest number of seeds per run that shows a true difference of `margin` with this power.

    The measured variances are taken as the true ones: the result is an estimate, and a rough one for few seeds. The power is
    that of the test of :func:`accuracy_difference` with the same images, from the noncentral t distribution.

    Parameters
    ----------
    correct, correct_against
        As in :func:`accuracy_difference`, with at least 2 seeds each.
    margin
        Difference of the accuracies, a fraction above 0.
    power
        Probability that the test shows the difference, in (0, 1).
    confidence
        1 minus the level of the test, in (0, 1).
    most
        Largest number of seeds to consider, at least 2.

    Returns
    -------
    int or None
        At least 2. None if `most` seeds do not suffice; more test images may be needed then.

    Raises
    ------
    ValueError
        As in :func:`accuracy_difference`, if a run has only one seed, or if `margin` is not above 0.

    References
    ----------
    Cohen (1988), Statistical Power Analysis for the Behavioral Sciences. 2nd edition, Lawrence Erlbaum.
    """
    _check(correct, correct_against)
    if min(len(correct), len(correct_against)) < 2:
        raise ValueError("at least two seeds per run are necessary: one has no measured variance")
    if not margin > 0:
        raise ValueError(f"the margin must be above 0, not {margin}")
    spread = _Spread.of(correct, correct_against)
    for seeds in range(2, most + 1):
        variance, df = spread.with_seeds(seeds).variance_and_df()
        if variance == 0 or _power(margin / math.sqrt(variance), df, confidence) >= power:
            return seeds
    return None


class _Spread(NamedTuple):
    """Parts of the variance of a difference of accuracies; pairs are (run, against)."""

    seeds: tuple[int, int]
    images: int
    between_seeds: tuple[float, float]  # variance of the accuracy between seeds; 0 where there is one seed
    between_images: float  # variance over images of the difference of the shares of seeds that are correct
    within_images: tuple[float, float]  # mean over images of the variance between seeds; 0 where there is one seed

    @classmethod
    def of(cls, correct: Correct, correct_against: Correct) -> "_Spread":
        """Measure the parts. Sums are integers: exact, and independent of the order of seeds and images."""
        pair = (correct, correct_against)
        a, b = len(correct), len(correct_against)
        images = correct.shape[1]
        votes = [np.count_nonzero(of_run, axis=0) for of_run in pair]
        return cls(
            (a, b),
            images,
            (_between_seeds(correct), _between_seeds(correct_against)),
            _variance(votes[0] * b - votes[1] * a) / (a * b) ** 2,
            (_within_images(votes[0], a), _within_images(votes[1], b)),
        )

    def with_seeds(self, seeds: int) -> "_Spread":
        """Return what another number of seeds per run is expected to measure on as many images."""
        noise = sum(w / s for w, s in zip(self.within_images, self.seeds, strict=True))
        without_noise = max(0.0, self.between_images - noise)
        return self._replace(seeds=(seeds, seeds), between_images=without_noise + sum(self.within_images) / seeds)

    def variance_and_df(self) -> tuple[float, float]:
        """Return the variance of the difference and its degrees of freedom."""
        a, b = (s / n for s, n in zip(self.between_seeds, self.seeds, strict=True))
        images = self.between_images / self.images
        shared = sum(w / n for w, n in zip(self.within_images, self.seeds, strict=True)) / self.images

        def total(factor: float) -> float:
            return max(factor * (a + b) + images - shared, factor * (a + b), images)

        if total(1) == 0:
            return 0.0, math.inf
        # Satterthwaite's degrees of freedom are far too many where few seeds happen to agree. Counted S / (S - 1) times, the
        # seeds' part keeps its weight, and nothing changes where there is only this part (Welch's test).
        fewest = min(seeds for seeds in self.seeds if seeds > 1)
        factor = fewest / (fewest - 1)
        # A run with one seed has a part of 0, whose degrees of freedom do not matter.
        parts = (factor * a, factor * b, images)
        dfs = (max(1, self.seeds[0] - 1), max(1, self.seeds[1] - 1), self.images - 1)
        first, second, last = (part**2 / df for part, df in zip(parts, dfs, strict=True))
        return total(1), total(factor) ** 2 / (first + second + last)


def _between_seeds(correct: Correct) -> float:
    return _variance(np.count_nonzero(correct, axis=1)) / correct.shape[1] ** 2 if len(correct) > 1 else 0.0


def _within_images(votes: NDArray[np.int64], seeds: int) -> float:
    return int((votes * (seeds - votes)).sum()) / (len(votes) * seeds * (seeds - 1)) if seeds > 1 else 0.0


def _variance(values: NDArray[np.int64]) -> float:
    """Return the unbiased variance of integers, from exact sums."""
    n, total, squares = len(values), int(values.sum()), int((values**2).sum())
    return (n * squares - total**2) / (n * (n - 1))


def _power(noncentrality: float, df: float, confidence: float) -> float:
    """Return the probability that a two-sided t test shows a difference, with the right sign."""
    return float(nct.sf(t.ppf((1 + confidence) / 2, df), df, noncentrality))


def _two_models(
    correct: NDArray[np.bool_], against: NDArray[np.bool_], confidence: float
) -> tuple[float, float, float]:
    """Return Tango's interval and McNemar's exact p-value."""
    gained, lost = int((correct & ~against).sum()), int((~correct & against).sum())
    z, images = NormalDist().inv_cdf((1 + confidence) / 2), len(correct)
    p_value = float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
    return -_tango(lost, gained, images, z), _tango(gained, lost, images, z), p_value


def _tango(gained: int, lost: int, images: int, z: float) -> float:
    """Return the upper end of Tango's interval: the largest difference that the score test at this z does not reject."""
    if gained - lost == images:
        return 1.0

    def excess(difference: float) -> float:
        # Maximum likelihood estimate of the share of lost images, given the difference.
        b = (2 * images - gained + lost) * difference - gained - lost
        c = -lost * difference * (1 - difference)
        share = (math.sqrt(max(0.0, b**2 - 8 * images * c)) - b) / (4 * images)
        variance = images * max(0.0, 2 * share + difference * (1 - difference))
        return images * difference - (gained - lost) - z * math.sqrt(variance)

    # Not from the estimate itself, where the variance is 0 if no image is gained or lost.
    return float(brentq(excess, (gained - lost) / images + 1e-9, 1.0))


def _macro_f1(cells: NDArray[np.int64], classes: int) -> float:
    """Return the mean macro-F1 of seeds; a cell is ``label * classes + prediction``, ``[seeds, images]``."""
    seeds = len(cells)
    by_seed = cells + (np.arange(seeds) * classes**2)[:, None]
    confusion = np.bincount(by_seed.ravel(), minlength=seeds * classes**2).reshape(seeds, classes, classes)
    correct, size = np.diagonal(confusion, axis1=1, axis2=2), confusion.sum(1) + confusion.sum(2)
    return float((2 * correct / np.maximum(size, 1)).mean())


def _check(*runs: Correct) -> None:
    for correct in runs:
        if correct.ndim != 2 or correct.dtype != np.bool_ or len(correct) < 1 or correct.shape[1] < 2:
            raise ValueError(
                f"expected bool [seeds, images] with at least 1 seed and 2 images, not {correct.dtype} {list(correct.shape)}"
            )
    _same_images(runs)


def _check_classes(
    predicted: NDArray[np.int64], against: NDArray[np.int64], labels: NDArray[np.int64], num_classes: int
) -> None:
    for array, dimensions in ((predicted, 2), (against, 2), (labels, 1)):
        if array.ndim != dimensions or array.size == 0:
            raise ValueError(
                f"expected [seeds, images] twice and labels [images], none empty; one is {list(array.shape)}"
            )
        if array.min() < 0 or array.max() >= num_classes:
            raise ValueError(f"a class is outside of 0 to {num_classes - 1}")
    _same_images((predicted, against, labels))


def _same_images(arrays: Sequence[NDArray[np.bool_]] | Sequence[NDArray[np.int64]]) -> None:
    counts = {array.shape[-1] for array in arrays}
    if len(counts) > 1:
        raise ValueError(f"the numbers of images differ: {sorted(counts)}")
