"""Draw what only the studies measure."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator, PercentFormatter
from pandas import DataFrame
from PIL import Image

from trainlab.evaluation.plots import PALETTE, Picture, colors, note, style
from trainlab.evaluation.weights import NEAR_ZERO
from trainlab.files import written_whole
from trainlab.studies.capacity import MEMORIZED, OVERFIT, memorizes_from, overfits_from

TRAIN, TEST, FEW = PALETTE[0], PALETTE[1], PALETTE[2]
ACCURACIES = (0.40, 0.75)  # the axis of the source text's figures
MOST_COLUMNS = 6
NAMED = 0.02  # difference of accuracies at which two names do not overlap
MILLISECONDS = 700  # per frame of an animation
BEYOND = "Ten bins per decade; numbers at the left and right edge: the share of images beyond it, training above test."


class Animation:
    """A sequence of pictures; the same numbers give the same GIF bytes on every machine.

    Parameters
    ----------
    pictures
        The frames.
    """

    def __init__(self, pictures: Sequence[Picture]) -> None:
        self.pictures = pictures

    def gif(self) -> bytes:
        """Return the content of a GIF file, which plays in a loop."""
        first, *others = [_indexed(picture.png()) for picture in self.pictures]
        file = io.BytesIO()
        first.save(file, format="GIF", save_all=True, append_images=others, duration=MILLISECONDS, loop=0)
        return file.getvalue()

    def save(self, path: Path) -> None:
        """Write a GIF file completely or not at all."""
        content = self.gif()
        with written_whole(path) as aside:
            aside.write_bytes(content)


def _indexed(png: bytes) -> Image.Image:
    with Image.open(io.BytesIO(png)) as image:
        return image.convert("RGB").quantize(64, dither=Image.Dither.NONE)


def rates(curves: DataFrame, *, title: str, caption: str) -> Picture:
    """Draw training loss (log axis) and test accuracy (right axis) against epochs, one color per run.

    Parameters
    ----------
    curves
        From :func:`trainlab.evaluation.comparison.curves`. The lines are means over replicas.
    title
        The title begins with it.
    caption
        How the numbers were measured; it is written below the picture.
    """
    means = _means(curves)
    color = colors(list(means))
    with style():
        figure = Figure(figsize=(7.5, 4.2))
        losses = figure.add_subplot()
        accuracies = losses.twinx()
        for run, of_run in means.items():
            line, _ = color[run]
            marker = "." if len(of_run) < 3 else ""
            losses.plot(of_run.index, of_run["train_loss"], color=line, marker=marker)
            accuracies.plot(of_run.index, of_run["test_accuracy"], color=line, linestyle=":", marker=marker)
        losses.set_yscale("log")
        losses.set(xlabel="epoch", ylabel="training loss (nats), solid", title=title)
        losses.grid(axis="y")
        losses.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        low, high = _accuracies([of_run["test_accuracy"] for of_run in means.values()])
        accuracies.set(ylim=(low, high), ylabel="test accuracy, dotted")
        accuracies.spines["right"].set_visible(True)
        handles = [Line2D([], [], color=color[run][0], label=run) for run in means]
        losses.legend(handles=handles, fontsize=8, frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=4)
        cut = " The axis of the accuracy does not start at 0." if low else ""
        note(
            figure, f"{caption}. Training loss: mean over the steps of an epoch, during which the weights change.{cut}"
        )
    return Picture(figure)


def _means(curves: DataFrame) -> dict[str, DataFrame]:
    """Return the means over the replicas of each epoch, by run."""
    return {
        run: of_run.drop(columns="run").groupby("epoch").mean() for run, of_run in curves.groupby("run", sort=False)
    }


def _accuracies(columns: Sequence[Sequence[float]]) -> tuple[float, float]:
    """Return the limits :data:`ACCURACIES`; from 0 if a run ends below them, and up to the highest value of a run."""
    low, high = ACCURACIES
    ends, highest = min(list(column)[-1] for column in columns), max(max(column) for column in columns)
    return (low if ends > low else 0.0), max(high, min(1.0, highest + 0.02))


def loss_and_error(curves: DataFrame, turns: DataFrame, *, title: str, caption: str) -> Picture:
    """Draw the test loss and the test error (right axis) of each run: the loss may rise while the error still falls.

    Parameters
    ----------
    curves
        From :func:`trainlab.evaluation.comparison.curves`. The lines are means over replicas.
    turns
        From :func:`trainlab.studies.learning_curves.turning_points`: the dots.
    title
        The title begins with it.
    caption
        How the numbers were measured; it is written below the picture.
    """
    means = _means(curves)
    with style():
        figure = Figure(figsize=(max(3.4 * len(means), 6), 3.4))
        panels = figure.subplots(1, len(means), sharey=True, squeeze=False)[0]
        right = [axes.twinx() for axes in panels]
        for axes in right[1:]:
            axes.sharey(right[0])
        for losses, errors, turn in zip(panels, right, turns.itertuples(), strict=True):
            of_run = means[turn.run]
            losses.plot(of_run.index, of_run["test_loss"], color=TRAIN)
            losses.plot(turn.loss_epoch, turn.loss, "o", color=TRAIN, markersize=5)
            errors.plot(of_run.index, 1 - of_run["test_accuracy"], color=TEST)
            errors.plot(turn.error_epoch, turn.error, "o", color=TEST, markersize=5)
            losses.set(title=f"{title}: {turn.run}" if losses is panels[0] else turn.run, xlabel="epoch")
            losses.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
            losses.grid(axis="y")
            errors.spines["right"].set_visible(True)
            errors.tick_params(labelright=errors is right[-1])
        panels[0].set_ylabel("test loss (nats)", color=TRAIN)
        right[-1].set_ylabel("test error", color=TEST)
        right[-1].yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        note(figure, f"{caption}. Dots: the lowest value of each line.")
    return Picture(figure)


def capacity(networks: DataFrame, *, title: str, caption: str) -> Picture:
    """Draw what networks learn of few and of many images against their number of parameters, and from where they overfit.

    Parameters
    ----------
    networks
        From :func:`trainlab.studies.capacity.capacity`.
    title
        The title begins with it.
    caption
        How the numbers were measured; it is written below the picture.
    """
    few, many = networks["few"].iloc[0], networks["many"].iloc[0]
    of_many = f"{many:,}" if many else "all"
    lines = {
        "few_train": (FEW, f"training accuracy, {few:,} images"),
        "many_train": (TRAIN, f"training accuracy, {of_many} images"),
        "many_test": (TEST, f"test accuracy, {of_many} images"),
    }
    names = [f"{row.network}  ({row.parameters:,})" for row in networks.itertuples()]
    with style():
        figure = Figure(figsize=(10.5, 2.6 + 0.19 * len(names)))
        size, each = figure.subplots(1, 2, width_ratios=[3, 2])
        for column, (color, label) in lines.items():
            size.plot(networks["parameters"], networks[column], "o", color=color, markersize=4, label=label)
            each.plot(networks[column], range(len(names)), "o", color=color, markersize=4)
        size.vlines(networks["parameters"], networks["many_test"], networks["many_train"], color=TRAIN, linewidth=0.7)
        each.hlines(range(len(names)), networks["many_test"], networks["many_train"], color=TRAIN, linewidth=0.7)
        middle = (networks["parameters"].min() * networks["parameters"].max()) ** 0.5
        for where, text, height, color in (
            (memorizes_from(networks), "memorizes the few", 0.10, FEW),
            (overfits_from(networks), "overfits the many", 0.03, TRAIN),
        ):
            if where is not None:
                size.axvline(where, color=color, linewidth=0.8, linestyle="--")
                # On the side with more space on a log axis.
                side = "right" if where > middle else "left"
                size.text(
                    where, height, f" {text} ", color=color, fontsize=8, ha=side, transform=size.get_xaxis_transform()
                )
        size.set_xscale("log")
        size.set(xlabel="parameters", ylim=(0, 1.02), ylabel="accuracy", title=title)
        size.grid(axis="y")
        size.legend(fontsize=8, edgecolor="none", loc="upper left", bbox_to_anchor=(0, 0.93))
        each.set(xlabel="accuracy", xlim=(0, 1.02), title="by network (parameters)")
        each.set_yticks(range(len(names)), names, fontsize=7.5)
        each.tick_params(axis="y", length=0)
        each.grid(axis="x")
        each.invert_yaxis()
        note(
            figure,
            f"{caption}. Networks: filters, blocks, filter side, hidden units. Memorizes: training accuracy of {MEMORIZED:.0%};"
            f" overfits: from there on, training accuracy exceeds test accuracy by more than {OVERFIT:.0%}. Training accuracy:"
            f" mean over the steps of the last epoch.",
        )
    return Picture(figure)


def layers(statistics: DataFrame, last: DataFrame, *, title: str, caption: str) -> Picture:
    """Draw the scale of each layer's outputs and gradients before training, and the accuracy after it; one color per run.

    Parameters
    ----------
    statistics
        From :func:`trainlab.studies.layers.layers_at_start`.
    last
        Columns ``run, accuracy``, in the order of the colors.
    title
        The title begins with it.
    caption
        How the numbers were measured; it is written below the picture.
    """
    runs = list(last["run"])
    color = colors(runs)
    with style():
        figure = Figure(figsize=(11, 3.9))
        outputs, gradients, accuracy = figure.subplots(1, 3, width_ratios=[1.2, 1.2, 1])
        for run, of_run in statistics.groupby("run", sort=False):
            line, dash = color[run]
            # Positions from 0 to 1, because networks differ in their number of layers.
            way = np.linspace(0, 1, len(of_run))
            outputs.plot(way, of_run["std"], "o", linestyle=dash, color=line, markersize=3)
            gradients.plot(way, of_run["gradient_std"], "o", linestyle=dash, color=line, markersize=3)
        outputs.set_title(f"{title}: outputs, std")
        gradients.set_title("gradient of the weights, std")
        for axes, column in ((outputs, "std"), (gradients, "gradient_std")):
            if (statistics[column] > 0).any():
                axes.set_yscale("log")
            axes.set_xticks([0, 1], ["first layer", "last layer"])
            axes.grid(axis="y")
        _bars(accuracy, runs, last["accuracy"], [color[run][0] for run in runs])
        accuracy.set(xlim=(0, 1), title="test accuracy after training")
        images = f"{statistics['images'].iloc[0]:,} training images"
        note(figure, f"{caption}. Statistics before training, {images}; outputs before the activation function.")
    return Picture(figure)


def sparsity(counted: DataFrame, *, title: str, caption: str) -> Picture:
    """Draw the share of weights near zero after training, beside the accuracy; one bar per run.

    Parameters
    ----------
    counted
        From :func:`trainlab.studies.sparsity.sparsity`.
    title
        The title begins with it.
    caption
        How the numbers were measured; it is written below the picture.
    """
    runs = list(counted["run"])
    bars = [line for line, _ in colors(runs).values()]
    with style():
        figure = Figure(figsize=(8, 1.5 + 0.28 * len(runs)))
        zeros, accuracy = figure.subplots(1, 2, sharey=True)
        for axes, column in ((zeros, "near_zero"), (accuracy, "accuracy")):
            _bars(axes, runs, counted[column], bars)
            axes.set_xlim(0, 1.15)
        zeros.set_title(f"{title}: weights near zero")
        accuracy.set_title("test accuracy")
        note(figure, f"{caption}. Near zero: |weight| < {NEAR_ZERO:g} after training.")
    return Picture(figure)


def compute(counted: DataFrame) -> Picture:
    """Draw accuracy against the arithmetic of training (log axis), one color per suite.

    The first run of each suite is named, and the best one if it is better by more than :data:`NAMED`.

    Parameters
    ----------
    counted
        From :func:`trainlab.studies.compute.compute`, of one or several suites.
    """
    with style():
        figure = Figure(figsize=(7.5, 4.4))
        axes = figure.add_subplot()
        for (suite, runs), color in zip(counted.groupby("suite", sort=False), PALETTE, strict=False):
            accuracy = runs["accuracy"]
            errors = [accuracy - runs["accuracy_low"], runs["accuracy_high"] - accuracy]
            axes.errorbar(
                runs["petaflop"], accuracy, errors, fmt="o", color=color, markersize=4, elinewidth=1, label=suite
            )
            named = [accuracy.index[0]] + [accuracy.idxmax()] * bool(accuracy.max() - accuracy.iloc[0] > NAMED)
            for row in runs.loc[named].itertuples():
                axes.annotate(
                    f"{row.run} {row.accuracy:.1%}",
                    (row.petaflop, row.accuracy),
                    xytext=(6, -3),
                    textcoords="offset points",
                    color=color,
                    fontsize=8,
                )
        axes.set_xscale("log")
        axes.margins(x=0.2)
        axes.set(xlabel="training arithmetic of one model, PFLOP", ylabel="test accuracy")
        axes.set_title("Accuracy against the arithmetic of training")
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.grid(axis="y")
        axes.legend(fontsize=8, frameon=False, loc="lower right")
        note(
            figure,
            "One point per run: mean accuracy of its replicas with the 95 % interval. Counted: matrix products and"
            " convolutions of training, without scoring; a multiplication and an addition are two operations.",
        )
    return Picture(figure)


def _bars(axes: Axes, runs: Sequence[str], values: Sequence[float], bars: Sequence[str]) -> None:
    rows = range(len(runs))
    axes.barh(rows, values, color=bars, height=0.7)
    for row, value in zip(rows, values, strict=True):
        axes.text(value, row, f" {value:.1%}", va="center", fontsize=7.5)
    axes.set_yticks(rows, runs)
    axes.set_ylim(len(runs) - 0.4, -0.6)  # the first run on top
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.tick_params(axis="y", length=0)


def per_sample_losses(histograms: DataFrame, *, title: str, caption: str) -> Picture:
    """Draw the distribution of the losses of single images, training and test, one panel per epoch.

    Parameters
    ----------
    histograms
        From :meth:`trainlab.studies.per_sample_loss.Histograms.table`.
    title
        The title begins with it.
    caption
        How the numbers were measured; it is written below the picture.
    """
    epochs = list(dict.fromkeys(histograms["epoch"]))
    columns = min(MOST_COLUMNS, len(epochs))
    rows = -(-len(epochs) // columns)
    with style():
        figure = Figure(figsize=(max(1.9 * columns, 6), 1.1 + 1.5 * rows))
        figure.suptitle(f"{title}: loss of single images", x=0.01, ha="left", fontsize=10)
        panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        for axes, epoch in zip(panels.flat, epochs, strict=False):
            _distribution(axes, histograms[histograms["epoch"] == epoch], small=True)
            axes.set_title(f"epoch {epoch}", fontsize=8)
        for axes in panels.flat[len(epochs) :]:
            axes.set_visible(False)
        panels[0, 0].set_ylim(0, _top(histograms))
        panels[0, 0].legend(fontsize=6.5, frameon=False, loc="center left")
        note(figure, f"{caption} {BEYOND}")
    return Picture(figure)


def per_sample_animation(histograms: DataFrame, *, title: str, caption: str) -> Animation:
    """Draw :func:`per_sample_losses` as an animation: one frame per epoch, all with the same axes."""
    pictures = []
    for epoch, of_epoch in histograms.groupby("epoch", sort=False):
        with style():
            figure = Figure(figsize=(5.4, 3.4), dpi=110)
            axes = figure.add_subplot()
            _distribution(axes, of_epoch, small=False)
            axes.set(title=f"{title}: epoch {epoch}", xlabel="loss of an image (nats)", ylim=(0, _top(histograms)))
            axes.set_ylabel("share of the images")
            axes.legend(fontsize=8, frameon=False, loc="center left")
            note(figure, f"{caption} {BEYOND}")
        pictures.append(Picture(figure))
    return Animation(pictures)


def _distribution(axes: Axes, of_epoch: DataFrame, *, small: bool) -> None:
    for place, (split, color) in enumerate((("train", TRAIN), ("test", TEST))):
        bins = of_epoch[of_epoch["split"] == split]
        shares = bins["count"].to_numpy() / bins["count"].sum()
        inside, edges = shares[1:-1], bins["low"].to_numpy()[1:]
        axes.stairs(inside, edges, color=color, fill=True, alpha=0.25)
        axes.stairs(inside, edges, color=color, linewidth=1, label={"train": "training", "test": "test"}[split])
        for x, share, side in ((0.02, shares[0], "left"), (0.98, shares[-1], "right")):
            height, size = 0.95 - 0.11 * place, 6 if small else 8
            text = f"{share:.0%}" if share >= 0.005 else ""
            axes.text(x, height, text, color=color, fontsize=size, ha=side, va="top", transform=axes.transAxes)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator([1e-5, 1e-3, 1e-1, 1e1]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(edges[0], edges[-1])
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.tick_params(labelsize=7 if small else 8)


def _top(histograms: DataFrame) -> float:
    """Return an upper limit for the distributions of all epochs."""
    inside = histograms[(histograms["low"] > 0) & np.isfinite(histograms["high"])]
    images = histograms.groupby(["epoch", "split"])["count"].sum()
    highest = inside.groupby(["epoch", "split"])["count"].max() / images
    return max(0.02, 1.1 * float(highest.max()))
