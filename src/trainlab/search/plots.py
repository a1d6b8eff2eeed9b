"""Draw a search: its trials in order, each parameter against the loss, and the importance of the parameters."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState

from trainlab.evaluation.plots import PALETTE, Picture, note, style
from trainlab.search.engine import Sweep, in_memory
from trainlab.search.results import Results
from trainlab.search.space import Choice, Dimension, LogUniform

MIN_TRIALS = 8  # complete trials of a pass, below which importance is not drawn


def history(results: Results, *, caption: str) -> Picture:
    """Draw the losses of all trials in order with the best so far, and below them the values and ranges.

    Parameters
    ----------
    results
        The results of a search.
    caption
        Facts about the numbers, for the note below the plot.
    """
    keys = [key for key in results.values if not isinstance(_dimension(results, key), Choice)]
    with style():
        figure = Figure(figsize=(9, 3.2 + 1.3 * len(keys)))
        heights = [2.4, *[1] * len(keys)]
        panels = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights, squeeze=False)[:, 0]
        _draw_losses(panels[0], results)
        for axes, key in zip(panels[1:], keys, strict=True):
            _draw_values(axes, results, key)
        for axes in panels:
            for sweep, start in _starts(results):
                width, dashes = (0.6, ":") if sweep.move else (1.2, "-")
                axes.axvline(start, color="#bbbbbb", linewidth=width, linestyle=dashes)
        end = 0.5 + sum(len(sweep.trials) for sweep in results.sweeps)
        panels[-1].set(xlabel="trial", xlim=(0.5, end))
        panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        rounds = {
            sweep.number: f"{sweep.round.name} ({sweep.round.judged_by.replace('_', ' ')})" for sweep in results.sweeps
        }
        names = ", ".join(f"{number} {name}" for number, name in rounds.items())
        note(
            figure,
            f"Rounds: {names}. Lines: best of the round so far; rings: stopped early; crosses: failed; bands: ranges;"
            f" dotted: the winner. {caption}.",
        )
    return Picture(figure)


def slices(results: Results, *, caption: str) -> Picture:
    """Draw the values of each parameter against the validation loss, one color per round; the winner is a star.

    Parameters
    ----------
    results
        The results of a search.
    caption
        Facts about the numbers, for the note below the plot.
    """
    keys = list(results.values)
    columns = min(3, len(keys))
    rows = math.ceil(len(keys) / columns)
    with style():
        figure = Figure(figsize=(3.2 * columns + 0.4, 2.7 * rows + 0.7))
        grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
        for axes, key in zip(grid.flat, keys, strict=False):
            _draw_slice(axes, results, key)
        for axes in grid.flat[len(keys) :]:
            axes.set_visible(False)
        for axes in grid[:, 0]:
            axes.set_ylabel("validation loss (nats)")
        grid[0, 0].set_title("search: one parameter at a time")
        rounds = {sweep.number: sweep for sweep in results.sweeps}.values()
        dots = [
            Line2D([], [], marker="o", linestyle="", color=_color(sweep), label=f"{sweep.number}: {sweep.round.name}")
            for sweep in rounds
        ]
        figure.legend(handles=dots, loc="outside upper right", ncols=len(dots), fontsize=7.5, frameon=False)
        note(figure, f"Star: the winner; rings: stopped early. Rounds differ in epochs and images. {caption}.")
    return Picture(figure)


def importance(results: Results, *, seed: int, caption: str) -> Picture | None:
    """Draw how much of the loss's variance each parameter explains within the ranges of each round (fANOVA).

    Parameters
    ----------
    results
        The results of a search.
    seed
        Seed of the estimate.
    caption
        Facts about the numbers, for the note below the plot.

    Returns
    -------
    Picture or None
        None if no round varies two parameters in :data:`MIN_TRIALS` complete trials.
    """
    shown = [sweep for sweep in results.sweeps if len(sweep.space) > 1 and len(_complete(sweep)) >= MIN_TRIALS]
    if not shown:
        return None
    with style():
        figure = Figure(figsize=(8, 0.9 + sum(0.5 + 0.25 * len(sweep.space) for sweep in shown)))
        heights = [len(sweep.space) + 1.5 for sweep in shown]
        panels = figure.subplots(len(shown), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
        for axes, sweep in zip(panels, shown, strict=True):
            shares = _importance(sweep, seed)
            axes.barh(list(shares), list(shares.values()), color=_color(sweep), height=0.7)
            for row, share in enumerate(shares.values()):
                axes.text(share + 0.01, row, f"{share:.2f}", va="center", fontsize=8)
            axes.set(xlim=(0, 1.05), title=f"{sweep.title}: {len(_complete(sweep))} complete trials")
            axes.tick_params(axis="y", length=0)
            axes.invert_yaxis()
        panels[-1].set_xlabel("share of the variance of the round's loss (fANOVA)")
        note(figure, f"Within the ranges of that round; a rough estimate from few trials. {caption}.")
    return Picture(figure)


# Panels


def _draw_losses(axes: Axes, results: Results) -> None:
    best: dict[int, float] = {}  # of each round so far
    for sweep, start in _starts(results):
        so_far = []
        for place, trial in _places(sweep, start):
            loss = _loss(trial, sweep.round.judged_by)
            if trial.state == TrialState.COMPLETE:
                best[sweep.number] = min(loss, best.get(sweep.number, math.inf))
            so_far.append(best.get(sweep.number, math.nan))
            _draw_trial(axes, place, loss, trial, _color(sweep))
        if so_far:
            places = [place for place, _ in _places(sweep, start)]
            axes.step(places, so_far, where="mid", color=_color(sweep), linewidth=1.2)
        text = "moved" if sweep.move else f"round {sweep.number}"
        axes.text(start, 1.01, f" {text}", color=_color(sweep), fontsize=7.5, transform=axes.get_xaxis_transform())
    _loss_scale(axes)
    axes.set_ylabel("loss of the last epoch")
    axes.set_title("search: trials in order", pad=14)
    axes.grid(axis="y")


def _draw_values(axes: Axes, results: Results, key: str) -> None:
    for sweep, start in _starts(results):
        color = _color(sweep)
        if key in sweep.space:
            low, high = cast(list[float], sweep.space[key].ends())
            axes.fill_between([start, start + len(sweep.trials)], low, high, color=color, alpha=0.18, linewidth=0)
        for place, trial in _places(sweep, start):
            if key in sweep.values(trial):
                _draw_trial(axes, place, cast(float, sweep.values(trial)[key]), trial, color)
    axes.axhline(cast(float, results.values[key]), color="#222222", linewidth=0.8, linestyle=":")
    _scale(axes, "y", _dimension(results, key))
    axes.set_ylabel(key.replace(".", "\n"))


def _draw_slice(axes: Axes, results: Results, key: str) -> None:
    dimension = _dimension(results, key)
    for sweep in results.sweeps:
        for trial in sweep.trials if key in sweep.space else []:
            value = _position(dimension, sweep.values(trial)[key])
            _draw_trial(axes, value, _loss(trial, "validation_loss"), trial, _color(sweep))
    star = _position(dimension, results.values[key])
    axes.plot(star, results.result["validation_loss"], "*", color="#222222", markersize=9, zorder=3)
    axes.set_xlabel(key)
    _loss_scale(axes)
    axes.grid()
    _scale(axes, "x", dimension)


def _draw_trial(axes: Axes, x: float, y: float, trial: FrozenTrial, color: str) -> None:
    if trial.state == TrialState.FAIL:
        axes.plot(x, y, "x", color=color, markersize=4)
    else:
        face = "none" if trial.state == TrialState.PRUNED else color
        axes.plot(x, y, "o", color=color, markerfacecolor=face, markersize=4, markeredgewidth=0.8)


def _loss_scale(axes: Axes) -> None:
    """Set a log axis with plain numbers: losses are close to 1, where matplotlib writes 2 × 10⁰."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_locator(NullLocator())


def _scale(axes: Axes, which: str, dimension: Dimension) -> None:
    if isinstance(dimension, LogUniform):
        getattr(axes, f"set_{which}scale")("log")
    if isinstance(dimension, Choice):
        getattr(axes, f"set_{which}ticks")(range(len(dimension.values)), [str(value) for value in dimension.values])


# Trials


def _starts(results: Results) -> Iterator[tuple[Sweep, float]]:
    """Yield each pass with the position at which it starts on the axis of trials."""
    start = 0.5
    for sweep in results.sweeps:
        yield sweep, start
        start += len(sweep.trials)


def _places(sweep: Sweep, start: float) -> Iterator[tuple[float, FrozenTrial]]:
    """Yield each trial with its position on the axis of trials."""
    for number, trial in enumerate(sweep.trials, 1):
        yield start - 0.5 + number, trial


def _importance(sweep: Sweep, seed: int) -> Mapping[str, float]:
    return get_param_importances(in_memory(_complete(sweep)), evaluator=FanovaImportanceEvaluator(seed=seed))


def _complete(sweep: Sweep) -> Sequence[FrozenTrial]:
    return [trial for trial in sweep.trials if trial.state == TrialState.COMPLETE]


def _dimension(results: Results, key: str) -> Dimension:
    return next(sweep.space[key] for sweep in results.sweeps if key in sweep.space)


def _position(dimension: Dimension, value: Any) -> Any:
    """Return the position of a value on its axis; a choice's values are categories, in their own order."""
    return dimension.values.index(value) if isinstance(dimension, Choice) else value


def _color(sweep: Sweep) -> str:
    return PALETTE[(sweep.number - 1) % len(PALETTE)]


def _loss(trial: FrozenTrial, name: str) -> float:
    """Return the trial's last loss; NaN if it failed before its first epoch."""
    return float(trial.user_attrs.get("metrics", {}).get(name, math.nan))
