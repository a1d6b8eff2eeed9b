"""What a search did, as pictures: its trials in a row, each parameter against the loss, and which parameters mattered."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import optuna
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState

from trainlab.evaluation.plots import PALETTE, Picture, note, style
from trainlab.search.engine import Outcome, Sweep
from trainlab.search.space import Choice, Dimension, LogUniform

ENOUGH = 8  # complete trials of a sweep, below which importance is not worth a picture


def history(outcome: Outcome, *, caption: str) -> Picture:
    """The trials one after the other: their losses with the best so far, and below them the ranges, which shrink and move."""
    sweeps, keys = outcome.sweeps, _ranges(outcome)
    *starts, end = np.cumsum([0, *(len(sweep.trials) for sweep in sweeps)]) + 0.5
    with style():
        figure = Figure(figsize=(9, 3.2 + 1.3 * len(keys)))
        losses, *panels = figure.subplots(
            1 + len(keys), 1, sharex=True, height_ratios=[2.4, *[1] * len(keys)], squeeze=False
        )[:, 0]
        best: dict[int, float] = {}
        for sweep, start in zip(sweeps, starts, strict=True):
            color, so_far = _color(sweep), []
            for place, trial in enumerate(sweep.trials, 1):
                loss = _judged(sweep, trial)
                if trial.state == TrialState.COMPLETE:
                    best[sweep.number] = min(loss, best.get(sweep.number, math.inf))
                so_far.append(best.get(sweep.number, math.nan))
                _dot(losses, start - 0.5 + place, loss, trial, color)
            if so_far:
                x = start - 0.5 + np.arange(1, len(so_far) + 1)
                losses.step(x, so_far, where="mid", color=color, linewidth=1.2)
        losses.set_yscale("log")
        losses.set_ylabel("loss of the last epoch")
        losses.set_title("search: trials one after the other", pad=14)
        losses.grid(axis="y")
        for sweep, start in zip(sweeps, starts, strict=True):
            text, top = "moved" if sweep.move else f"round {sweep.number}", losses.get_xaxis_transform()
            losses.text(start, 1.01, f" {text}", color=_color(sweep), fontsize=7.5, transform=top)
        for axes, key in zip(panels, keys, strict=True):
            for sweep, start in zip(sweeps, starts, strict=True):
                if key in sweep.space:
                    low, high = sweep.space[key].ends()
                    axes.fill_between(
                        [start, start + len(sweep.trials)], low, high, color=_color(sweep), alpha=0.18, linewidth=0
                    )
                for place, trial in enumerate(sweep.trials, 1):
                    if key in sweep.values(trial):
                        _dot(axes, start - 0.5 + place, cast(float, sweep.values(trial)[key]), trial, _color(sweep))
            axes.axhline(outcome.winner.values[key], color="#222222", linewidth=0.8, linestyle=":")
            _scale(axes, "y", _dimension(outcome, key))
            axes.set_ylabel(key.replace(".", "\n"))
        for axes in (losses, *panels):
            for sweep, start in zip(sweeps, starts, strict=True):
                axes.axvline(
                    start, color="#bbbbbb", linewidth=0.6 if sweep.move else 1.2, linestyle=":" if sweep.move else "-"
                )
        last = (losses, *panels)[-1]
        last.set(xlabel="trial", xlim=(0.5, end))
        last.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        rounds = {sweep.number: f"{sweep.round.name} ({sweep.round.judged_by.replace('_', ' ')})" for sweep in sweeps}
        by = ", ".join(f"{number} {what}" for number, what in rounds.items())
        note(
            figure,
            f"Rounds: {by}. Lines: best of the round so far; rings: given up; crosses: failed; bands: ranges; dotted: the winner."
            f" {caption}.",
        )
    return Picture(figure)


def slices(outcome: Outcome, *, caption: str) -> Picture:
    """Each parameter's values against the validation loss, a colour a round; the winner is the star."""
    winner = outcome.winner
    keys = list(winner.values)
    columns = min(3, len(keys))
    rows = math.ceil(len(keys) / columns)
    with style():
        figure = Figure(figsize=(3.2 * columns + 0.4, 2.7 * rows + 0.7))
        grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
        for axes, key in zip(grid.flat, keys, strict=False):
            dimension = _dimension(outcome, key)
            for sweep in outcome.sweeps:
                for trial in sweep.trials if key in sweep.space else []:
                    value = _place(dimension, sweep.values(trial)[key])
                    _dot(axes, value, _loss(trial, "validation_loss"), trial, _color(sweep))
            star = _place(dimension, winner.values[key])
            axes.plot(star, winner.metrics["validation_loss"], "*", color="#222222", markersize=9, zorder=3)
            axes.set_xlabel(key)
            axes.set_yscale("log")
            axes.grid()
            _scale(axes, "x", dimension)
        for axes in grid.flat[len(keys) :]:
            axes.set_visible(False)
        for axes in grid[:, 0]:
            axes.set_ylabel("validation loss (nats)")
        grid[0, 0].set_title("search: one parameter at a time")
        rounds = {sweep.number: sweep for sweep in outcome.sweeps}.values()
        dots = [
            Line2D([], [], marker="o", linestyle="", color=_color(sweep), label=f"{sweep.number}: {sweep.round.name}")
            for sweep in rounds
        ]
        figure.legend(handles=dots, loc="outside upper right", ncols=len(dots), fontsize=7.5, frameon=False)
        note(figure, f"Star: the winner; rings: given up. Rounds differ in epochs and images. {caption}.")
    return Picture(figure)


def importance(outcome: Outcome, *, seed: int, caption: str) -> Picture | None:
    """How much of the loss's variance each parameter explains within a round's ranges; none where trials are too few."""
    shown = [sweep for sweep in outcome.sweeps if len(sweep.space) > 1 and len(_complete(sweep)) >= ENOUGH]
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
        note(figure, f"Within the ranges of that round; from so few trials a rough guide. {caption}.")
    return Picture(figure)


def _importance(sweep: Sweep, seed: int) -> Mapping[str, float]:
    study = optuna.create_study()
    study.add_trials(_complete(sweep))
    return get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=seed))


def _complete(sweep: Sweep) -> Sequence[FrozenTrial]:
    return [trial for trial in sweep.trials if trial.state == TrialState.COMPLETE]


def _ranges(outcome: Outcome) -> list[str]:
    """The keys with a range, not a choice."""
    return [key for key in outcome.winner.values if not isinstance(_dimension(outcome, key), Choice)]


def _dimension(outcome: Outcome, key: str) -> Dimension:
    return next(sweep.space[key] for sweep in outcome.sweeps if key in sweep.space)


def _color(sweep: Sweep) -> str:
    return PALETTE[(sweep.number - 1) % len(PALETTE)]


def _loss(trial: FrozenTrial, name: str) -> float:
    """The trial's last loss; not a number where it failed before its first epoch."""
    return float(trial.user_attrs.get("metrics", {}).get(name, math.nan))


def _judged(sweep: Sweep, trial: FrozenTrial) -> float:
    return _loss(trial, sweep.round.judged_by)


def _dot(axes: Axes, x: float, y: float, trial: FrozenTrial, color: str) -> None:
    if trial.state == TrialState.FAIL:
        axes.plot(x, y, "x", color=color, markersize=4)
    else:
        face = "none" if trial.state == TrialState.PRUNED else color
        axes.plot(x, y, "o", color=color, markerfacecolor=face, markersize=4, markeredgewidth=0.8)


def _place(dimension: Dimension, value: Any) -> Any:
    """Where a value is drawn: choices are words, in their own order."""
    return dimension.values.index(value) if isinstance(dimension, Choice) else value


def _scale(axes: Axes, which: str, dimension: Dimension) -> None:
    if isinstance(dimension, LogUniform):
        getattr(axes, f"set_{which}scale")("log")
    if isinstance(dimension, Choice):
        getattr(axes, f"set_{which}ticks")(range(len(dimension.values)), [str(value) for value in dimension.values])
