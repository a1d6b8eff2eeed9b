"""Measure the coverage of the intervals for differences of accuracies, by a simulation whose truth is known.

    python benchmarks/coverage.py                     # a few minutes on one core
    python benchmarks/coverage.py --write             # the same, and writes the tables into docs/statistics.md

Each repetition simulates two runs on the same test images. A model predicts an image correctly if

    mean of its run + ease of the image + ease of the image for the run + effect of the seed + noise > 0,

where each term but the first is normal (a probit model with crossed random effects): the ease of an image is shared by the
two runs, the effect of a seed by all images, and the noise is of one seed and image. The accuracy over all seeds and images is
then Φ(mean / standard deviation of the sum), so that the true difference is exact. With the variances below two runs disagree
on 18 % of the images, as the runs of metrics/tricks.csv do (15 to 22 %).
"""

import datetime
import re
import time
from dataclasses import dataclass
from typing import Annotated

import common
import numpy as np
import typer
from numpy.typing import NDArray
from scipy import stats

from trainlab.evaluation.statistics import accuracy_difference, f1_difference
from trainlab.files import write_text

PAGE = common.ROOT / "docs/statistics.md"
ACCURACY, DIFFERENCE, CLASSES = 0.73, 0.02, 10
EASE, EASE_FOR_RUN, NOISE = 4.0, 0.2, 1.0  # variances
METHODS = ("ours", "Satterthwaite", "images only", "seeds only")
SEEDS = (2, 3, 6, 10)
LOOKS = (3, 6, 9, 12)  # seeds, where more are added until a difference shows
Values = NDArray[np.float64]  # one per repetition


@dataclass(frozen=True)
class Setting:
    """A simulated comparison: standard deviation of the accuracy between seeds, of each run, and the sizes."""

    spread: tuple[float, float]
    seeds: int
    images: int

    def cells(self) -> list[str]:
        """Return the first cells of its row."""
        a, b = (f"{100 * spread:g}" for spread in self.spread)
        return [a if a == b else f"{a} and {b}", str(self.seeds), f"{self.images:,}"]


SPREADS = ((0.0, 0.0), (0.003, 0.003), (0.01, 0.01))
SETTINGS = [
    *(Setting(spread, seeds, 2_000) for spread in SPREADS for seeds in SEEDS),
    *(Setting(spread, seeds, 10_000) for spread in ((0.003, 0.003), (0.0, 0.01)) for seeds in SEEDS),
]
LOOKED_AT = [Setting((spread, spread), LOOKS[-1], 10_000) for spread in (0.0, 0.003, 0.01)]
BOOTSTRAPPED = [Setting(spread, seeds, 2_000) for spread in SPREADS[1:] for seeds in SEEDS]


@dataclass
class Results:
    """Of one method, one value per repetition."""

    low: Values
    high: Values
    p_value: Values

    def coverage(self, truth: float) -> str:
        """Return the share of intervals that contain the truth, in percent."""
        return f"{100 * np.mean((self.low <= truth) & (truth <= self.high)):.1f}"

    def width(self) -> str:
        """Return the mean width in percentage points."""
        return f"{100 * np.mean(self.high - self.low):.2f}"

    def below(self, level: float) -> str:
        """Return the share of p-values below a level, in percent."""
        return f"{100 * np.mean(self.p_value < level):.1f}"


def main(
    repetitions: Annotated[int, typer.Option(min=2, help="Repetitions per row.")] = 4000,
    bootstrap: Annotated[int, typer.Option(min=2, help="Repetitions per row of the table of the bootstrap.")] = 400,
    write: Annotated[bool, typer.Option("--write", help="Write the tables into docs/statistics.md.")] = False,
) -> None:
    """Measure coverage, width and error rates of the methods, of added seeds, and of the bootstrap of macro-F1."""
    began = time.perf_counter()
    with_difference, without = [], []
    for setting in SETTINGS:
        covering = compare(setting, DIFFERENCE, repetitions)
        with_difference.append([*setting.cells(), *(f(r) for r in covering for f in (coverage, Results.width))])
        errors = compare(setting, 0.0, repetitions)
        without.append([*setting.cells(), *(r.below(level) for r in errors for level in (0.05, 0.01))])
        print(*with_difference[-1], "|", *without[-1][3:], f"| {time.perf_counter() - began:.0f} s", flush=True)
    added, resampled = [], []
    for setting in LOOKED_AT:
        added.append([*setting.cells(), *looked_at(setting, repetitions)])
        print(*added[-1], f"| {time.perf_counter() - began:.0f} s", flush=True)
    for setting in BOOTSTRAPPED:
        resampled.append([*setting.cells(), *bootstrapped(setting, bootstrap)])
        print(*resampled[-1], f"| {time.perf_counter() - began:.0f} s", flush=True)
    text = report(with_difference, without, added, resampled, repetitions, bootstrap)
    print(text)
    if write:
        write_text(PAGE, filled(PAGE.read_text(encoding="utf-8"), text))


def coverage(results: Results) -> str:
    """Return the coverage of the simulated difference."""
    return results.coverage(DIFFERENCE)


def compare(setting: Setting, difference: float, repetitions: int) -> list[Results]:
    """Return the results of each of the METHODS."""
    rng = np.random.default_rng(repetitions)
    ours = np.empty((repetitions, 3))
    means, of_images, within = np.empty((3, repetitions))
    accuracies = np.empty((2, repetitions, setting.seeds))
    for repetition in range(repetitions):
        correct = simulate(setting, difference, rng)
        found = accuracy_difference(*correct)
        ours[repetition] = found.low, found.high, found.p_value
        shares = np.count_nonzero(correct, axis=1) / setting.seeds
        differences = shares[0] - shares[1]
        means[repetition], of_images[repetition] = differences.mean(), differences.var(ddof=1) / setting.images
        within[repetition] = (shares * (1 - shares)).mean(1).sum() / (setting.seeds - 1) / setting.images
        accuracies[:, repetition] = np.count_nonzero(correct, axis=2) / setting.images
    a, b = accuracies.var(axis=2, ddof=1) / setting.seeds
    both = np.maximum(a + b + of_images - within, np.maximum(a + b, of_images))
    satterthwaite = both**2 / ((a**2 + b**2) / (setting.seeds - 1) + of_images**2 / (setting.images - 1))
    a, b = np.maximum((a, b), 1e-12)  # two seeds may have the same accuracy
    welch = (a + b) ** 2 / ((a**2 + b**2) / (setting.seeds - 1))
    return [
        Results(*ours.T),
        student(means, both, satterthwaite),
        student(means, of_images, np.full(repetitions, setting.images - 1.0)),
        student(means, a + b, welch),
    ]


def student(means: Values, variances: Values, df: Values) -> Results:
    """Return the intervals and p-values of t tests."""
    errors = np.sqrt(variances)
    half = stats.t.ppf(0.975, df) * errors
    return Results(means - half, means + half, 2 * stats.t.sf(abs(means) / errors, df))


def simulate(setting: Setting, difference: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return which images the models predict correctly, ``[2, seeds, images]``."""
    shared = rng.standard_normal(setting.images, dtype=np.float32) * EASE**0.5
    correct = np.empty((2, setting.seeds, setting.images), dtype=bool)
    for run, (accuracy, spread) in enumerate(zip((ACCURACY + difference, ACCURACY), setting.spread, strict=True)):
        total = (EASE + EASE_FOR_RUN + NOISE) ** 0.5
        of_seeds = spread * total / stats.norm.pdf(stats.norm.ppf(accuracy))  # to first order
        mean = stats.norm.ppf(accuracy) * (total**2 + of_seeds**2) ** 0.5
        of_run = shared + rng.standard_normal(setting.images, dtype=np.float32) * EASE_FOR_RUN**0.5 + mean
        of_seed = rng.standard_normal((setting.seeds, 1)) * of_seeds
        noise = rng.standard_normal((setting.seeds, setting.images), dtype=np.float32) * NOISE**0.5
        correct[run] = of_run + of_seed + noise > 0
    return correct


def looked_at(setting: Setting, repetitions: int) -> list[str]:
    """Return in percent how often a difference is found that does not exist.

    In this order: with all seeds and one test; with a test at each of the LOOKS, where the first p-value below 0.05 decides; and
    the same with a level that is divided by the number of tests.
    """
    rng = np.random.default_rng(repetitions)
    p_values = np.empty((len(LOOKS), repetitions))
    for repetition in range(repetitions):
        a, b = simulate(setting, 0.0, rng)
        p_values[:, repetition] = [accuracy_difference(a[:seeds], b[:seeds]).p_value for seeds in LOOKS]
    smallest = p_values.min(axis=0)
    found = p_values[-1] < 0.05, smallest < 0.05, smallest < 0.05 / len(LOOKS)
    return [f"{100 * np.mean(which):.1f}" for which in found]


def bootstrapped(setting: Setting, repetitions: int) -> list[str]:
    """Return coverage and width of the bootstrap interval of macro-F1.

    Classes are equally frequent and errors uniform, so that the macro-F1 over all seeds and images is the accuracy.
    """
    rng = np.random.default_rng(repetitions)
    ends = np.empty((repetitions, 2))
    for repetition in range(repetitions):
        correct = simulate(setting, DIFFERENCE, rng)
        labels = rng.integers(CLASSES, size=setting.images)
        wrong = (labels + rng.integers(1, CLASSES, size=correct.shape)) % CLASSES
        predicted = np.where(correct, labels, wrong)
        ends[repetition] = f1_difference(predicted[0], predicted[1], labels, CLASSES, resamples=400)[1:]
    results = Results(ends[:, 0], ends[:, 1], np.empty(0))
    return [results.coverage(DIFFERENCE), results.width()]


def report(
    with_difference: list[list[str]],
    without: list[list[str]],
    added: list[list[str]],
    resampled: list[list[str]],
    repetitions: int,
    bootstrap: int,
) -> str:
    """Return the tables as Markdown."""
    sizes = ["std", "seeds", "images"]
    looks = f"{', '.join(map(str, LOOKS[:-1]))} and {LOOKS[-1]} seeds"
    half = 100 * 1.96 * (0.95 * 0.05 / repetitions) ** 0.5
    return "\n".join(
        [
            f"{datetime.date.today()}, {repetitions:,} repetitions per row (bootstrap: {bootstrap:,}); the error of a rate of"
            f" 5 % is ±{half:.1f}.",
            "",
            f"True difference of {100 * DIFFERENCE:g} points: coverage of the 95 % interval in %, and its mean width in points.",
            "",
            *table(
                [*sizes, *(f"{method}: {value}" for method in METHODS for value in ("coverage", "width"))],
                with_difference,
            ),
            "",
            "No true difference: share of p-values below 0.05 and 0.01, in %.",
            "",
            *table([*sizes, *(f"{method}: < {level}" for method in METHODS for level in (0.05, 0.01))], without),
            "",
            "No true difference, and more seeds until one shows: share of comparisons that find one, in %.",
            "",
            *table([*sizes, "one test at the end", f"tests at {looks}", f"the same, p < 0.05 / {len(LOOKS)}"], added),
            "",
            f"Bootstrap interval of macro-F1, true difference of {100 * DIFFERENCE:g} points, 400 resamples.",
            "",
            *table([*sizes, "coverage", "width"], resampled),
        ]
    )


def table(headings: list[str], rows: list[list[str]]) -> list[str]:
    """Return the lines of a Markdown table."""
    return [f"| {' | '.join(cells)} |" for cells in (headings, ["--:"] * len(headings), *rows)]


def filled(page: str, text: str) -> str:
    """Return the page with other tables between its markers."""
    marked = re.compile(r"(?<=<!-- coverage -->\n).*?(?=<!-- /coverage -->)", re.DOTALL)
    changed, count = marked.subn(lambda _: f"{text}\n", page)
    if count != 1:
        raise SystemExit(f"{PAGE} has no markers for the tables")
    return changed


if __name__ == "__main__":
    typer.run(main)
