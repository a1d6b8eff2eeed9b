"""The geometry of the charts: what the templates draw as SVG. Positions are in percent, so that texts keep their size."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from pandas import DataFrame

from trainlab.evaluation.answers import in_points, interval_in_points, p_text
from trainlab.report.scales import Axis, axis

COLORS = 8  # of the page's palette; further runs repeat them with the next line style
DASHES = ("", "6 3", "2 3", "8 3 2 3")


@dataclass(frozen=True)
class Look:
    """How the lines and dots of a run are drawn on the whole page: the number of its color, and its line style."""

    color: int
    dash: str


def looks(runs: Sequence[str]) -> dict[str, Look]:
    """Return the look of each run of a suite."""
    return {run: Look(i % COLORS, DASHES[i // COLORS % len(DASHES)]) for i, run in enumerate(runs)}


# Comparisons


@dataclass(frozen=True)
class Row:
    """A row of a forest plot: a comparison; the positions of its interval and its effect, and its texts."""

    run: str
    low: float
    effect: float
    high: float
    points: str
    interval: str
    p: str
    verdict: str
    answer: str


@dataclass(frozen=True)
class Forest:
    """A forest plot: the rows by what they are compared with, in percentage points."""

    groups: Mapping[str, Sequence[Row]]
    axis: Axis
    zero: float
    margin: tuple[float, float]
    margin_points: str
    cover: str


def forest(effects: DataFrame) -> Forest:
    """Return the forest plot of comparisons, see :func:`trainlab.evaluation.effects.table`."""
    margin = 100 * float(effects["margin"].iloc[0])
    scale = axis([*(100 * effects["low"]), *(100 * effects["high"]), -1.2 * margin, 1.2 * margin], count=6)
    groups: dict[str, list[Row]] = {}
    for effect in effects.itertuples():
        groups.setdefault(effect.against, []).append(_row(effect, scale))
    return Forest(
        groups,
        scale,
        scale.at(0),
        (scale.at(-margin), scale.at(margin)),
        f"{margin:g}",
        _cover(effects),
    )


def _row(effect: Any, scale: Axis) -> Row:
    return Row(
        run=effect.run,
        low=scale.at(100 * effect.low),
        effect=scale.at(100 * effect.effect),
        high=scale.at(100 * effect.high),
        points=in_points(effect.effect),
        interval=interval_in_points(effect.low, effect.high),
        p=p_text(effect.p_holm),
        verdict=effect.verdict,
        answer=effect.answer,
    )


def _cover(effects: DataFrame) -> str:
    """Return what the intervals cover."""
    single = effects[["seeds", "seeds_against"]] == 1
    if single.all(axis=None):
        return "other test images, but not other seeds: the answers are about these models only"
    except_single = "; of runs with one seed, only other test images" if single.any(axis=None) else ""
    return f"other seeds and other test images{except_single}"


# Strips of dots


@dataclass(frozen=True)
class Dot:
    """A dot on a strip: its position, its label, and the number of its color."""

    at: float
    label: str
    color: int = 0


@dataclass(frozen=True)
class Strip:
    """A row of dots, with an interval and a stroke at the mean where there are any."""

    name: str
    dots: Sequence[Dot]
    mean: float | None
    interval: tuple[float, float] | None
    text: str
    color: int = 0


@dataclass(frozen=True)
class Strips:
    """Rows of dots with a common axis."""

    rows: Sequence[Strip]
    axis: Axis


def accuracies(table: DataFrame, values: Mapping[str, Sequence[float]] | None = None) -> Strips:
    """Return the accuracy of each run in percent: one dot per seed, the mean, and its 95 % interval.

    Parameters
    ----------
    table
        Columns ``run, accuracy, accuracy_low, accuracy_high``.
    values
        The accuracies of the replicas of each run; None if only the means are known.
    """
    of_seeds = values or {row.run: [row.accuracy] for row in table.itertuples()}
    ends = [*table["accuracy_low"], *table["accuracy_high"], *(value for run in of_seeds.values() for value in run)]
    scale = axis([100 * end for end in ends], count=6)
    look = looks(list(table["run"]))
    rows = [
        Strip(
            name=row.run,
            dots=[
                Dot(scale.at(100 * value), _seed(row.run, seed, len(of_seeds[row.run]), value), look[row.run].color)
                for seed, value in enumerate(of_seeds[row.run])
            ],
            mean=scale.at(100 * row.accuracy),
            interval=(scale.at(100 * row.accuracy_low), scale.at(100 * row.accuracy_high)),
            text=f"{100 * row.accuracy:.2f} ({100 * row.accuracy_low:.2f} to {100 * row.accuracy_high:.2f})",
            color=look[row.run].color,
        )
        for row in table.itertuples()
    ]
    return Strips(rows, scale)


def _seed(run: str, seed: int, seeds: int, value: float) -> str:
    return f"{run}, seed {seed + 1} of {seeds}: {100 * value:.2f} %" if seeds > 1 else f"{run}: {100 * value:.2f} %"


def scores_by_class(classes: Mapping[str, DataFrame]) -> Strips:
    """Return the F1 of each class: one dot per run.

    Parameters
    ----------
    classes
        By run: columns ``class, f1``.
    """
    look = looks(list(classes))
    scale = axis([score for of_run in classes.values() for score in of_run["f1"]], count=6)
    names = list(next(iter(classes.values()))["class"])
    scores = {run: dict(zip(of_run["class"], of_run["f1"], strict=True)) for run, of_run in classes.items()}
    rows = []
    for name in names:
        dots = [
            Dot(scale.at(scores[run][name]), f"{name}, {run}: F1 {scores[run][name]:.3f}", look[run].color)
            for run in scores
        ]
        lowest, highest = min(scores, key=lambda run: scores[run][name]), max(scores, key=lambda run: scores[run][name])
        text = f"{scores[lowest][name]:.3f} to {scores[highest][name]:.3f}"
        rows.append(Strip(name, dots, None, None, text))
    return Strips(rows, scale)


# Lines


@dataclass(frozen=True)
class Line:
    """A run in a panel of lines: an SVG path, the band of its replicas, and its values for the readout."""

    run: str
    look: Look
    path: str
    band: str
    dots: bool
    last: float


@dataclass(frozen=True)
class Panel:
    """One measure per epoch, one line per run, in a square of 100 by 100."""

    key: str
    title: str
    digits: int
    x: Axis
    y: Axis
    lines: Sequence[Line]
    values: Mapping[str, Mapping[int, float]]  # mean over the replicas by run and epoch; finite ones only


def panel(rows: DataFrame, column: str, runs: Sequence[str], *, title: str, digits: int, factor: float = 1) -> Panel:
    """Return a panel of lines.

    Parameters
    ----------
    rows
        Columns ``run, replica, epoch`` and ``column``.
    column
        What is drawn.
    runs
        All runs of the suite, which decide the colors; a run without rows has no line.
    title, digits, factor
        Of the vertical axis: its title, the decimals of its values, and what the values are multiplied by.
    """
    scaled = rows.assign(value=rows[column] * factor)
    scaled = scaled[scaled["value"].map(math.isfinite)]
    grouped = scaled.groupby(["run", "epoch"], sort=True)["value"]
    summary = DataFrame({"mean": grouped.mean(), "low": grouped.min(), "high": grouped.max()}).reset_index()
    x = axis([float(epoch) for epoch in rows["epoch"]], pad=0, count=8, whole=True)
    y = axis([*summary["low"], *summary["high"]], count=5)
    look, lines, values = looks(runs), [], {}
    for run in runs:
        of_run = summary[summary["run"] == run]
        if of_run.empty:
            continue
        lines.append(_line(run, look[run], of_run, x, y))
        values[run] = {int(row.epoch): round(row.mean, digits + 2) for row in of_run.itertuples()}
    return Panel(column, title, digits, x, y, lines, values)


def _line(run: str, look: Look, rows: DataFrame, x: Axis, y: Axis) -> Line:
    means = [(x.at(row.epoch), 100 - y.at(row.mean)) for row in rows.itertuples()]
    path = _path(means, closed=False)
    highs = [(x.at(row.epoch), 100 - y.at(row.high)) for row in rows.itertuples()]
    lows = [(x.at(row.epoch), 100 - y.at(row.low)) for row in rows.itertuples()]
    spread = bool((rows["high"] > rows["low"]).any())
    band = _path([*highs, *reversed(lows)], closed=True) if spread and len(means) > 1 else ""
    dots = len(means) < 3
    if dots:  # a line of no length is drawn as its round end
        path = "".join(f"M{left:g} {top:g}h0" for left, top in means) + (path if len(means) > 1 else "")
    return Line(run, look, path, band, dots, float(rows["mean"].iloc[-1]))


def _path(points: Iterable[tuple[float, float]], *, closed: bool) -> str:
    text = "L".join(f"{round(left, 2):g} {round(top, 2):g}" for left, top in points)
    return f"M{text}{'Z' * closed}"


def curves(rows: DataFrame, runs: Sequence[str]) -> list[Panel]:
    """Return the learning curves of a suite: accuracy and loss of test and training images."""
    return [
        panel(rows, "test_accuracy", runs, title="test accuracy, %", digits=2, factor=100),
        panel(rows, "train_accuracy", runs, title="training accuracy, %", digits=2, factor=100),
        panel(rows, "test_loss", runs, title="test loss, nats", digits=4),
        panel(rows, "train_loss", runs, title="training loss, own objective", digits=4),
    ]


def logs(rows: DataFrame, runs: Sequence[str]) -> list[Panel]:
    """Return a panel per log of the objectives, and one of the learning rate, from one value per row."""
    names = [name for name in dict.fromkeys(rows["log"]) if name != "lr"]
    panels = [panel(rows[rows["log"] == name], "value", runs, title=name.replace("_", " "), digits=4) for name in names]
    rate = panel(rows[rows["log"] == "lr"], "value", runs, title="learning rate", digits=6)
    return [*panels, rate]


# Calibration


@dataclass(frozen=True)
class Reliability:
    """The reliability diagram of a run, in a square of 100 by 100: the mean over the replicas per bin."""

    run: str
    look: Look
    path: str
    replicas: Sequence[str]
    points: Sequence[tuple[float, float, str]]  # left, top, what the readout says
    error: float


def reliability(run: str, look: Look, rows: DataFrame, error: float) -> Reliability:
    """Return the reliability diagram of a run.

    Parameters
    ----------
    run, look
        Its name and its look.
    rows
        Columns ``replica, bin, images, confidence, accuracy``.
    error
        Its expected calibration error.
    """
    columns = ["confidence", "accuracy"]
    by_replica = [of_replica[columns] for _, of_replica in rows.groupby("replica")]
    means = rows.groupby("bin")[columns].mean()
    paths = [_path(_square(of_replica), closed=False) for of_replica in by_replica] if len(by_replica) > 1 else []
    points = [
        (left, top, f"{run}: confidence {100 * row.confidence:.1f} %, accuracy {100 * row.accuracy:.1f} %")
        for (left, top), row in zip(_square(means), means.itertuples(), strict=True)
    ]
    return Reliability(run, look, _path(_square(means), closed=False), paths, points, error)


def _square(rows: DataFrame) -> list[tuple[float, float]]:
    return [(round(100 * row.confidence, 2), round(100 - 100 * row.accuracy, 2)) for row in rows.itertuples()]


# Matrices


@dataclass(frozen=True)
class Cell:
    """A pair of runs: row minus column in percentage points, and whether a difference is shown."""

    text: str
    value: float
    share: float
    shown: bool


def pairs(rows: DataFrame, runs: Sequence[str], level: float) -> list[list[Cell | None]]:
    """Return all pairs of runs as a matrix; the diagonal is None."""
    found = {(row.run, row.against): row for row in rows.itertuples()}
    most = float(rows["effect"].abs().max()) or 1.0

    def cell(run: str, against: str) -> Cell | None:
        if run == against:
            return None
        sign, row = (1, found[run, against]) if (run, against) in found else (-1, found[against, run])
        effect = sign * row.effect + 0.0
        return Cell(in_points(effect), effect, round(effect / most, 3), bool(row.p_holm < level))

    return [[cell(run, against) for against in runs] for run in runs]


def is_number(value: Any) -> bool:
    """Return whether a value of a table is there."""
    return not pd.isna(value)
