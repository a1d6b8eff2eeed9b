"""Draw metrics, comparisons and histories as PNG files fit for a paper."""

import io
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, PercentFormatter
from pandas import DataFrame, Series

from trainlab.evaluation.answers import LEVEL, in_points, interval_in_points
from trainlab.files import written_whole

# Based on Paul Tol's "muted" colors, which are distinguishable with every kind of color blindness; the two palest are
# darker here. The templates of `dvc plots` use the same colors in the same order (.dvc/plots/).
PALETTE = ["#332288", "#cc6677", "#117733", "#56b4e9", "#aa4499", "#999933", "#44aa99", "#882255", "#ddaa33"]
# By verdict of a comparison: color, which has a contrast of at least 4.5 with white, and marker, which is hollow for the
# last one.
VERDICTS = {
    "helps": ("#1a5fa0", ">"),
    "hurts": ("#b04a00", "<"),
    "better model": ("#1a5fa0", ">"),
    "worse model": ("#b04a00", "<"),
    "no difference that matters": ("#444444", "s"),
    "no difference shown": ("#6b6b6b", "o"),
}
DASHES = ["-", "--", ":", "-."]  # from the tenth run on, the colors repeat with the next line style

STYLE = {
    "figure.dpi": 150,
    "figure.constrained_layout.use": True,
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#666666",
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "grid.color": "#e4e4e4",
    "lines.linewidth": 1.6,
}


class Picture:
    """A figure; the same numbers give the same PNG bytes on every machine.

    Parameters
    ----------
    figure
        The figure, drawn within :func:`style`.
    """

    def __init__(self, figure: Figure) -> None:
        self.figure = figure

    def png(self) -> bytes:
        """Return the content of a PNG file."""
        file = io.BytesIO()
        with style():
            self.figure.savefig(file, format="png", metadata={"Software": None})
        return file.getvalue()

    def save(self, path: Path) -> None:
        """Write a PNG file completely or not at all."""
        content = self.png()
        with written_whole(path) as aside:
            aside.write_bytes(content)


def colors(runs: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return a color and a line style per run of a suite; they are the same in every picture."""
    count = len(PALETTE)
    return {run: (PALETTE[i % count], DASHES[i // count % len(DASHES)]) for i, run in enumerate(runs)}


def confusion(counts: DataFrame, *, title: str, caption: str) -> Picture:
    """Draw a confusion matrix: numbers are images, colors are fractions of the actual class.

    Parameters
    ----------
    counts
        From :func:`trainlab.evaluation.comparison.read_confusion`.
    title
        The first line of the title.
    caption
        The second line, such as the accuracy.
    """
    images, classes = counts.to_numpy(), list(counts.columns)
    fractions = images / np.maximum(images.sum(1, keepdims=True), 1)
    size = len(classes)
    with style():
        side = min(2.2 + 0.42 * size, 16)
        figure = Figure(figsize=(side + 0.6, side))
        axes = figure.add_subplot()
        image = axes.imshow(fractions, cmap="Blues", vmin=0, vmax=1)
        # Many names fit only in small print, and numbers in a hundred columns do not fit at all.
        small = min(8.0, 72 * (side - 2) / size * 0.8)
        axes.set_xticks(range(size), classes, rotation=45 if size <= 20 else 90, fontsize=small)
        for label in axes.get_xticklabels() if size <= 20 else []:
            label.set(horizontalalignment="right", rotation_mode="anchor")
        axes.set_yticks(range(size), classes, fontsize=small)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set(xlabel="predicted class", ylabel="actual class")
        axes.set_title(f"{title}\n{caption}")
        if size <= 20:
            for (row, column), count in np.ndenumerate(images):
                color = "white" if fractions[row, column] > 0.55 else "#222222" if count else "#bbbbbb"
                axes.text(column, row, str(count), ha="center", va="center", color=color, fontsize=7)
        bar = figure.colorbar(image, ax=axes, shrink=0.6, aspect=30, format=PercentFormatter(1, decimals=0))
        bar.set_label("fraction of the actual class")
        bar.outline.set_visible(False)
    return Picture(figure)


def bars(
    scores: Mapping[str, Sequence[float]],
    intervals: Mapping[str, tuple[float, float]],
    *,
    score: str,
    title: str,
    caption: str,
) -> Picture:
    """Draw one bar per run from zero, and beside them the same values enlarged, so that differences are visible.

    Parameters
    ----------
    scores
        By run: a fraction per replica. The bars are their means; replicas are dots on the enlarged side.
    intervals
        By run: 95 % interval of the mean.
    score
        The name of the score, such as "micro-F1".
    title
        The title.
    caption
        How the numbers were measured; it is written below the picture.
    """
    runs = list(scores)
    means = [float(np.mean(scores[run])) for run in runs]
    color = colors(runs)
    replicated = any(len(values) > 1 for values in scores.values())
    ends = [*(end for run in runs for end in intervals[run]), *(value for run in runs for value in scores[run])]
    with style():
        width = 8 + 0.08 * max(0, max(map(len, runs)) - 14)  # of the axes, whatever the length of the names
        figure = Figure(figsize=(width, 1.35 + (0.36 if replicated else 0.3) * len(runs)))
        whole, enlarged = figure.subplots(1, 2, sharey=True, width_ratios=[3, 2])
        rows = range(len(runs))
        whole.barh(rows, means, color=[color[run][0] for run in runs], height=0.7)
        for row, mean in zip(rows, means, strict=True):
            whole.text(mean + 0.012, row, f"{mean:.3f}", va="center", fontsize=8)
        whole.set(xlim=(0, 1.1), xticks=np.arange(0, 1.01, 0.2), xlabel=score, title=title)
        whole.set_yticks(rows, runs)
        whole.tick_params(axis="y", length=0)
        whole.set_ylim(len(runs) - 0.4, -0.6)
        for row, (run, mean) in enumerate(zip(runs, means, strict=True)):
            line, values = color[run][0], sorted(scores[run])
            enlarged.plot(intervals[run], [row, row], color=line, linewidth=1)
            if len(values) > 1:
                enlarged.plot(mean, row, "|", color=line, markersize=11, markeredgewidth=2)
                levels = _levels(values, (max(ends) - min(ends)) / 50)
                step = min(0.13, 0.4 / max(map(abs, [1, *levels])))  # of a row
                places = [row + step * level for level in levels]
                enlarged.plot(values, places, "o", color="#222222", markersize=3.2, markeredgewidth=0)
            else:
                enlarged.plot(mean, row, "o", color=line, markersize=5)
        enlarged.set(xlabel="the axis does not start at 0", title="enlarged")
        enlarged.grid(axis="x")
        enlarged.set_axisbelow(True)
        enlarged.xaxis.set_major_locator(MaxNLocator(5))
        enlarged.tick_params(axis="y", length=0)
        spread = (
            "Strokes: means; dots: replicas, apart where they coincide."
            if replicated
            else "One seed per run: each value changes with the seed."
        )
        note(figure, f"{caption}. {spread}")
    return Picture(figure)


def _levels(values: Sequence[float], width: float) -> list[int]:
    """Return a level per value, in increasing order of values, such that dots of this width on one level do not overlap.

    The level closest to 0 is used: 0, 1, −1, 2, −2, …
    """
    last: dict[int, float] = {}  # value by level
    levels = []
    for value in values:
        level = next(n for n in map(_alternating, range(len(values))) if value - last.get(n, -np.inf) >= width)
        last[level] = value
        levels.append(level)
    return levels


def _alternating(n: int) -> int:
    return (n + 1) // 2 * (1 if n % 2 else -1)


def forest(effects: DataFrame, *, margin: float, title: str, caption: str) -> Picture:
    """Draw differences of accuracies with their intervals, in percentage points, grouped by what they are against.

    Parameters
    ----------
    effects
        From :func:`trainlab.evaluation.effects.table`: columns ``run, against, seeds, seeds_against, effect, low, high,
        verdict``; differences are fractions. One row per comparison, drawn from top to bottom.
    margin
        Largest difference that does not matter, a fraction; ± this is shaded.
    title
        The title.
    caption
        How the numbers were measured; it is written below the picture.
    """
    groups = effects.groupby("against", sort=False)
    count = len(effects) + len(groups)
    numbers = effects["effect"].map(in_points) + effects.apply(_interval, axis=1)
    longest = max(map(len, [*effects["run"], *(f"against {against}" for against in effects["against"])]))
    with style():
        figure = Figure(figsize=(7 + 0.08 * longest, 1.3 + 0.27 * count))
        axes = figure.add_subplot()
        axes.axvspan(-100 * margin, 100 * margin, color="#ececec", linewidth=0)
        axes.axvline(0, color="#444444", linewidth=0.9)
        names: list[str] = []  # by row
        for against, of_group in groups:
            if names:
                axes.axhline(len(names) - 0.5, color="#cccccc", linewidth=0.7)
            names.append(f"against {against}")
            for effect, text in zip(of_group.itertuples(), numbers[of_group.index], strict=True):
                _draw_effect(axes, len(names), effect, text, numbers.map(len).max())
                names.append(effect.run)
        axes.set_yticks(range(count), names)
        for label in axes.get_yticklabels():
            if label.get_text().startswith("against "):  # the name of a run has no space
                label.set(color="#666666", fontsize=8)
        axes.set(ylim=(count - 0.4, -0.6), title=title, xlabel="difference of accuracy, percentage points")
        axes.margins(x=0.04)
        axes.xaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
        axes.grid(axis="x")
        axes.set_axisbelow(True)
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)
        axes.xaxis.set_major_formatter(_signed)
        shaded = f"Shaded: within ±{100 * margin:g} percentage points."
        note(figure, f"{caption}.\n{_cover(effects)} {shaded} Answers: p-values by Holm's method for all rows.")
    return Picture(figure)


def _draw_effect(axes: Axes, row: int, effect: Any, numbers: str, width: int) -> None:
    """Draw a row of :func:`forest`; numbers, of at most ``width`` characters, and verdict are at the right of the axes."""
    color, marker = VERDICTS[effect.verdict]
    axes.plot([100 * effect.low, 100 * effect.high], [row, row], color=color, linewidth=1.3)
    face = "white" if effect.verdict == "no difference shown" else color
    axes.plot(100 * effect.effect, row, marker, color=color, markersize=6, markerfacecolor=face)
    at, points = (1, row), "offset points"
    for left, text in ((8, numbers), (16 + 4.8 * width, effect.verdict)):
        right = axes.annotate(text, at, (left, 0), xycoords=axes.get_yaxis_transform(), textcoords=points)
        right.set(color=color, verticalalignment="center", fontsize=8)


def _cover(effects: DataFrame) -> str:
    """Return what the intervals of :func:`forest` cover."""
    single = effects[["seeds", "seeds_against"]] == 1
    if single.all(axis=None):
        return "Lines: 95 % intervals over test images, for these models only: one seed per run."
    except_single = ", not over those of runs with a single seed" if single.any(axis=None) else ""
    return f"Lines: 95 % intervals over test images and seeds{except_single}."


def _interval(effect: Series) -> str:
    return f" ({interval_in_points(effect['low'], effect['high'])})"


def pairs(pairs: DataFrame, runs: Sequence[str], *, title: str, caption: str) -> Picture:
    """Draw the differences of accuracies of all pairs of runs as a matrix: row minus column, in percentage points.

    Pairs without a significant difference have no color, but a hatching and gray numbers.

    Parameters
    ----------
    pairs
        Columns ``run, against, effect, p_holm``, one row per pair; differences are fractions, run minus ``against``.
    runs
        The runs in the order of the rows and columns.
    title
        The title.
    caption
        How the numbers were measured; it is written below the picture.
    """
    size, place = len(runs), {run: i for i, run in enumerate(runs)}
    effects, shown = np.zeros((size, size)), np.zeros((size, size), bool)
    for pair in pairs.itertuples():
        i, j = place[pair.run], place[pair.against]
        effects[i, j], effects[j, i] = pair.effect, 0 - pair.effect  # not −0
        shown[i, j] = shown[j, i] = pair.p_holm < LEVEL
    most = 100 * abs(effects).max() or 1.0
    longest = max(map(len, runs))
    with style():
        side = max(0.46 * size, 1.7)
        figure = Figure(figsize=(max(side + 1.3 + 0.08 * longest, 5), side + 1.2 + 0.06 * longest))
        axes = figure.add_subplot()
        image = axes.imshow(100 * effects, cmap="RdBu", vmin=-1.2 * most, vmax=1.2 * most)
        for row, column in np.ndindex(size, size):
            corner = (column - 0.5, row - 0.5)
            if row == column:
                axes.add_patch(Rectangle(corner, 1, 1, facecolor="#cccccc"))
                continue
            text = axes.text(
                column, row, in_points(float(effects[row, column])), ha="center", va="center", fontsize=7.5
            )
            if shown[row, column]:
                text.set_color(_ink(image.to_rgba(100 * effects[row, column])))
            else:
                axes.add_patch(
                    Rectangle(corner, 1, 1, facecolor="white", edgecolor="#d4d4d4", hatch="////", linewidth=0)
                )
                text.set(color="#666666", bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})
        axes.set_xticks(range(size), runs, rotation=45, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(size), runs)
        for between in (axes.xaxis, axes.yaxis):
            between.set_ticks(np.arange(size + 1) - 0.5, minor=True)
        axes.grid(which="minor", color="white", linewidth=1.5)
        axes.tick_params(which="both", length=0)
        axes.spines[:].set_visible(False)
        figure.suptitle(title, x=0.01, ha="left", fontsize=10)
        bar = figure.colorbar(image, ax=axes, shrink=0.8, aspect=25, format=_signed)
        bar.ax.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        bar.outline.set_visible(False)
        hatching = f"Hatched: no difference shown (p ≥ {LEVEL:g} by Holm's method for all pairs)."
        note(figure, f"{caption}.\nAccuracy, row minus column, in percentage points. {hatching}")
    return Picture(figure)


def _ink(background: Any) -> str:
    """Return black or white, whichever has the higher contrast with a color (red, green, blue in [0, 1])."""
    linear = np.array(background[:3]) ** 2.2  # of sRGB, approximately
    return "black" if linear @ [0.2126, 0.7152, 0.0722] > 0.18 else "white"


def _signed(value: float, _: float = 0) -> str:
    """Return a tick label with its sign."""
    return f"{value:+g}".replace("-", "−") if value else "0"


def reliability(curves: DataFrame, *, title: str, caption: str) -> Picture:
    """Draw a reliability diagram per run: accuracy by confidence, in bins of equal mass.

    Parameters
    ----------
    curves
        Columns ``run, replica, bin, images, confidence, accuracy``, see
        :func:`trainlab.evaluation.calibration.reliability`. Thin lines are replicas, the thick one is their mean per bin.
    title
        The title.
    caption
        How the numbers were measured; it is written below the picture.
    """
    runs = list(dict.fromkeys(curves["run"]))
    replicated = curves["replica"].nunique() > 1
    columns = 4 if len(runs) > 3 else 3  # a picture of fewer runs has the same width, for its caption
    lines = -(-len(runs) // columns)
    with style():
        # The panels are almost square. A fixed aspect would mislead the layout, and texts would overlap.
        figure = Figure(figsize=(2.15 * columns + 0.4, 2.3 * lines + 1.1))
        panels = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
        for axes, (run, color) in zip(panels.flat, colors(runs).items(), strict=False):
            _draw_reliability(axes, run, curves[curves["run"] == run], color[0])
        for axes in panels.flat[len(runs) :]:
            axes.set_visible(False)
        for column in range(columns):
            last = panels[max(len(runs) - 1 - column, 0) // columns, column]
            last.tick_params(labelbottom=True)
            last.set_xlabel("confidence")
        for axes in panels[:, 0]:
            axes.set_ylabel("accuracy")
        figure.suptitle(title, x=0.01, ha="left", fontsize=10)
        means = " Thin lines: replicas; thick lines: their means." if replicated else ""
        ece = "ECE: expected calibration error of the predicted class, 15 bins of equal mass"
        note(figure, f"{caption}.\n{ece}; below the diagonal, a model is overconfident.{means}")
    return Picture(figure)


def _draw_reliability(axes: Axes, run: str, curves: DataFrame, color: str) -> None:
    """Draw one panel of :func:`reliability`."""
    gaps = curves["images"] * (curves["accuracy"] - curves["confidence"]).abs()
    error = gaps.sum() / curves["images"].sum()  # the mean over the replicas, which have the same number of images
    axes.plot([0, 1], [0, 1], color="#888888", linewidth=0.9, linestyle="--")
    if curves["replica"].nunique() > 1:
        for _, of_replica in curves.groupby("replica"):
            axes.plot(of_replica["confidence"], of_replica["accuracy"], color=color, linewidth=0.7, alpha=0.6)
    mean = curves.groupby("bin")[["confidence", "accuracy"]].mean()
    axes.plot(mean["confidence"], mean["accuracy"], color=color, linewidth=1.8, marker=".", markersize=5)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    axes.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
    axes.grid()
    axes.set_axisbelow(True)
    axes.set_title(f"{run}\nECE {error:.3f}", fontsize=min(9, 9 * 24 / len(run)))


def curves(histories: DataFrame, *, title: str, caption: str) -> Picture:
    """Draw the learning curves of a suite: test accuracy, test loss and training loss per epoch, one color per run.

    Parameters
    ----------
    histories
        From :func:`trainlab.evaluation.comparison.curves`. With several replicas, the line is their mean and the band
        extends from the lowest to the highest value.
    title
        The title of the first panel begins with it.
    caption
        How the numbers were measured; it is written below the picture.
    """
    runs = list(dict.fromkeys(histories["run"]))
    color = colors(runs)
    replicated = histories["replica"].nunique() > 1
    with style():
        figure = Figure(figsize=(11, max(3.9, 1.2 + 0.2 * len(runs))))
        accuracy, test_loss, train_loss = figure.subplots(1, 3, width_ratios=[1.5, 1, 1])
        panels = {"test_accuracy": accuracy, "test_loss": test_loss, "train_loss": train_loss}
        ends = {}
        for run, of_run in histories.groupby("run", sort=False):
            for column, axes in panels.items():
                mean = _mean_and_band(axes, of_run, column, color[run])
                if column == "test_accuracy":
                    ends[run] = (mean.index[-1], mean.iloc[-1])
        accuracy.set_title(f"{title}: test accuracy")
        test_loss.set_title("test loss (nats)")
        train_loss.set_title("training loss (own objective)")  # no shared axis: objectives differ in their units
        for axes in panels.values():
            axes.set_xlabel("epoch")
            axes.grid(axis="y")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        _label_ends(accuracy, ends, {run: line for run, (line, _) in color.items()})
        band = " Lines: means of the replicas; bands: lowest to highest." if replicated else ""
        note(figure, f"{caption}.{band}")
    return Picture(figure)


def _mean_and_band(
    axes: Axes, history: DataFrame, column: str, color: tuple[str, str], label: str | None = None
) -> Series:
    """Draw a line of the mean over the replicas and, if there are several, a band from the lowest to the highest."""
    line, dash = color
    by_epoch = history.groupby("epoch")[column]
    mean = by_epoch.mean()
    axes.plot(mean.index, mean, color=line, linestyle=dash, marker="." if len(mean) < 3 else "", label=label)
    if history["replica"].nunique() > 1:
        axes.fill_between(mean.index, by_epoch.min(), by_epoch.max(), color=line, alpha=0.15, linewidth=0)
    return mean


def logs(history: DataFrame, names: Sequence[str], *, title: str, caption: str) -> Picture:
    """Draw the logs of an objective per epoch beside the test accuracy, in one panel for each of fractions, losses, entropy.

    Parameters
    ----------
    history
        Columns ``replica, epoch, train_loss, test_accuracy`` and ``names``. With several replicas, a line is their mean
        and its band extends from the lowest to the highest value.
    names
        The logs. Those named ``…loss`` and ``…entropy`` are in nats; the others are fractions.
    title
        The title of the first panel begins with it.
    caption
        How the numbers were measured; it is written below the picture.
    """
    entropies = [name for name in names if name.endswith("entropy")]
    losses = ["train_loss", *(name for name in names if name.endswith("loss"))]
    fractions = ["test_accuracy", *(name for name in names if name not in losses + entropies)]
    panels = {"fractions": fractions, "training losses (nats)": losses, "entropy (nats)": entropies}
    panels = {what: columns for what, columns in panels.items() if columns}
    replicated = history["replica"].nunique() > 1
    with style():
        figure = Figure(figsize=(3.7 * len(panels), 3.3))
        for axes, (what, columns) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
            for column, color in colors(columns).items():
                _mean_and_band(axes, history, column, color, label=column.replace("_", " "))
            axes.set(title=f"{title}: {what}" if what == "fractions" else what, xlabel="epoch")
            axes.grid(axis="y")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
            axes.legend(fontsize=7.5, frameon=False)
        band = " Lines: means of the replicas; bands: lowest to highest." if replicated else ""
        note(figure, f"{caption}.{band}")
    return Picture(figure)


def has_dashboard(history: DataFrame) -> bool:
    """Return whether a run has validation images or statistics of its layers, which :func:`dashboard` draws."""
    return any(name.startswith(("validation_", "gradient_norm.")) for name in history.columns)


def dashboard(history: DataFrame, *, title: str, caption: str) -> Picture:
    """Draw accuracy and loss of training and validation images, and the gradient and update of each layer, per epoch.

    Parameters
    ----------
    history
        Columns ``replica, epoch``; with validation images also ``train_accuracy, validation_accuracy, train_loss,
        validation_loss``; with statistics of layers also ``gradient_norm.LAYER, update_ratio.LAYER``. The lines are
        means over replicas.
    title
        The title of the first panel begins with it.
    caption
        How the numbers were measured; it is written below the picture.
    """
    means = history.groupby("epoch").mean()
    panels: dict[str, Callable[[Axes], None]] = {}
    notes = [f"{caption}."]
    if "validation_accuracy" in means:
        panels["accuracy, gap shaded"] = partial(_train_and_validation, means=means, what="accuracy")
        panels["loss (nats)"] = partial(_train_and_validation, means=means, what="loss")
        notes.append("Training: means over the steps of an epoch, during which the weights change.")
    if any(column.startswith("gradient_norm.") for column in means):
        panels["norm of the gradient"] = partial(_by_layer, means=means, what="gradient_norm")
        panels["‖update‖ / ‖weights‖"] = partial(_by_layer, means=means, what="update_ratio")
        notes.append("Layers: means over the steps of an epoch; a ratio of about 1e-3 is usual.")
    with style():
        figure = Figure(figsize=(3.7 * len(panels), 3.3))
        for axes, (what, draw) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
            draw(axes)
            axes.set(title=f"{title}: {what}" if what == next(iter(panels)) else what, xlabel="epoch")
            axes.grid(axis="y")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
            axes.legend(fontsize=7.5, frameon=False)
        note(figure, " ".join(notes))
    return Picture(figure)


def _train_and_validation(axes: Axes, *, means: DataFrame, what: str) -> None:
    train, validation = means[f"train_{what}"], means[f"validation_{what}"]
    marker = "." if len(means) < 3 else ""
    axes.fill_between(means.index, train, validation, color=PALETTE[1], alpha=0.15, linewidth=0)
    axes.plot(means.index, train, color=PALETTE[0], marker=marker, label="training")
    axes.plot(means.index, validation, color=PALETTE[1], marker=marker, label="validation")


def _by_layer(axes: Axes, *, means: DataFrame, what: str) -> None:
    columns = [column for column in means if column.startswith(f"{what}.")]
    for column, (line, dash) in colors(columns).items():
        name, marker = column.partition(".")[2], "." if len(means) < 3 else ""
        axes.plot(means.index, means[column], color=line, linestyle=dash, marker=marker, label=name)
    # A log axis cannot show a value of exactly 0: the line has a gap there.
    if (means[columns] > 0).any(axis=None):
        axes.set_yscale("log")


def layers(statistics: DataFrame, *, title: str, caption: str) -> Picture:
    """Draw each layer at initialization: mean and spread of its outputs, units that are never positive, its gradient.

    Parameters
    ----------
    statistics
        Columns ``layer, mean, std, never_positive, gradient_std``, one row per layer, in the order of the forward pass.
    title
        The title of the first panel begins with it.
    caption
        How the numbers were measured; it is written below the picture.
    """
    rows = range(len(statistics))
    with style():
        figure = Figure(figsize=(9.5, 1.5 + 0.28 * len(rows)))
        outputs, dead, gradients = figure.subplots(1, 3, sharey=True)
        outputs.errorbar(
            statistics["mean"], rows, xerr=statistics["std"], fmt="o", color=PALETTE[0], markersize=4, capsize=2
        )
        outputs.axvline(0, color="#666666", linewidth=0.8)
        outputs.set_title(f"{title}: outputs, mean ± std")
        dead.barh(rows, statistics["never_positive"], color=PALETTE[1], height=0.6)
        dead.set(xlim=(0, 1), title="units never positive")
        dead.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        # Dots, because bars cannot start at zero on a log axis; a gradient of exactly 0 has none.
        gradients.plot(statistics["gradient_std"], rows, "o", color=PALETTE[2], markersize=6)
        if (statistics["gradient_std"] > 0).any():
            gradients.set_xscale("log")
        gradients.set_title("gradient of the weights, std")
        outputs.set_yticks(rows, statistics["layer"])
        outputs.invert_yaxis()
        for axes in (outputs, dead, gradients):
            axes.grid(axis="x")
            axes.set_axisbelow(True)
            axes.tick_params(axis="y", length=0)
        note(figure, f"{caption}.")
    return Picture(figure)


def _label_ends(axes: Axes, ends: Mapping[str, tuple[float, float]], color: Mapping[str, str]) -> None:
    """Label each line at its right end; labels that would overlap are moved apart and connected to their line."""
    bottom, top = axes.get_ylim()
    height = axes.figure.bbox.height / axes.figure.dpi - 1.2  # of the axes, approximately, in inches
    step = (top - bottom) / height * 0.155
    order = sorted((run for run in ends if np.isfinite(ends[run][1])), key=lambda run: ends[run][1])
    places = _spread([ends[run][1] for run in order], step, bottom, top)
    last = max((epoch for epoch, _ in ends.values()), default=1)
    left = axes.get_xlim()[0]
    gap = (last - left) * 0.04 or 0.04
    for run, place in zip(order, places, strict=True):
        epoch, value = ends[run]
        axes.plot([epoch, last + gap], [value, place], color=color[run], linewidth=0.6, clip_on=False)
        axes.text(last + 1.3 * gap, place, f"{run}  {value:.3f}", color=color[run], va="center", fontsize=8)
    axes.set_xlim(left, last)
    axes.set_ylim(bottom, top)


def _spread(values: Sequence[float], step: float, bottom: float, top: float) -> list[float]:
    """Return positions for increasing values: at least ``step`` apart, between bottom and top, otherwise closest to them."""
    last = len(values) - 1
    groups: list[list[float]] = []  # of adjacent positions: [sum of the start that each member prefers, members]
    for i, value in enumerate(values):
        groups.append([min(max(value, bottom + i * step), top - (last - i) * step), 1])
        while len(groups) > 1 and _start(groups[-2]) + groups[-2][1] * step > _start(groups[-1]):
            total, count = groups.pop()
            groups[-1][0] += total - groups[-1][1] * count * step
            groups[-1][1] += count
    return [_start(group) + i * step for group in groups for i in range(int(group[1]))]


def _start(group: Sequence[float]) -> float:
    return group[0] / group[1]


def note(figure: Figure, text: str) -> None:
    """Write a text below a picture, in lines that fit its width."""
    width = int(17 * figure.get_figwidth())  # in characters; about 19 of this size fit into an inch
    lines = [line for paragraph in text.splitlines() for line in textwrap.wrap(paragraph, width)]
    figure.supxlabel("\n".join(lines), x=0.01, ha="left", fontsize=7.5, color="#555555")


@contextmanager
def style() -> Iterator[None]:
    """Draw with the style of all pictures: matplotlib's defaults and :data:`STYLE`, not the user's matplotlibrc."""
    with matplotlib.style.context(["default", STYLE]):
        yield
