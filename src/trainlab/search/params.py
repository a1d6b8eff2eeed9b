"""The schema of search/params.yaml: what a search varies, how it draws values, and its rounds."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner, MedianPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial
from pydantic import BaseModel, Field, ValidationError

from trainlab.component import Component, Strict, one_of
from trainlab.config import RunConfig, reading
from trainlab.config.inheritance import merge
from trainlab.config.messages import explain, suggest
from trainlab.errors import UserError
from trainlab.search.space import AnyDimension, Space, Value, grid

# How values are drawn


class Sampler(Component):
    """How a trial's values are chosen."""

    def start(self, space: Space, number: int, seed: Sequence[int]) -> BaseSampler | None:
        """What draws the values of trial ``number`` (from 0), the same whatever this process drew before; none: no more.

        Optuna's samplers start their random numbers anew in each process, and a search that goes on after a kill would
        draw its first values again. So each trial has a sampler of its own.
        """
        raise NotImplementedError


class Random(Sampler):
    """Every trial by chance alone."""

    name: Literal["random"]

    def start(self, space: Space, number: int, seed: Sequence[int]) -> BaseSampler:
        return RandomSampler(_word(*seed, number))


class Grid(Sampler):
    """Every combination of evenly spread values, in random order; a round ends early where it has tried them all.

    Parameters
    ----------
    points
        Values of each range, both ends among them. A choice has all of its values.
    """

    name: Literal["grid"]
    points: int = Field(ge=2)

    def start(self, space: Space, number: int, seed: Sequence[int]) -> BaseSampler | None:
        points = grid(space, self.points, np.random.default_rng(seed))
        return _Given(points[number]) if number < len(points) else None


class Tpe(Sampler):
    """Where earlier trials of the round were good (tree-structured Parzen estimator).

    Parameters
    ----------
    startup
        Trials by chance alone before it learns from them.

    References
    ----------
    Bergstra et al. 2011, *Algorithms for Hyper-Parameter Optimization*.
    """

    name: Literal["tpe"]
    startup: int = Field(ge=1)

    def start(self, space: Space, number: int, seed: Sequence[int]) -> BaseSampler:
        return TPESampler(seed=_word(*seed, number), n_startup_trials=self.startup)


def _word(*seed: int) -> int:
    return int(np.random.SeedSequence(seed).generate_state(1)[0])


class _Given(BaseSampler):
    """These values and no others."""

    def __init__(self, values: Mapping[str, Value]) -> None:
        self._values = values

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._values[param_name]


# What search/params.yaml may say


class Median(Component):
    """Give up a trial whose best epoch so far is worse than the median of the finished trials at that epoch.

    Parameters
    ----------
    startup
        Trials of a round that must be finished before one is given up.
    warmup
        Fraction of a round's epochs that every trial gets: low rates lead in the first ones.
    """

    name: Literal["median"]
    startup: int = Field(ge=1)
    warmup: float = Field(ge=0, le=1)

    def start(self, epochs: int) -> BasePruner:
        """Optuna's pruner for a round of so many epochs."""
        return MedianPruner(n_startup_trials=self.startup, n_warmup_steps=math.ceil(self.warmup * epochs))


class Round(Strict):
    """One round: what it varies, how many trials it has, and how long they train.

    Parameters
    ----------
    name
        For the log and the pictures.
    vary
        Keys of the space. What it does not vary has the best value so far, or the base run's.
    trials, epochs
        Trials of the round, and epochs of each.
    judged_by
        What the best trial has least of, after its last epoch: `validation_loss`, or `train_loss`, the mean loss while the
        weights move, for a round that looks for the rates at which a few images can be learned by heart.
    subset
        Learn from this many images instead of from all (0).
    shrink
        Make the ranges that were varied before this many times as wide, around the best so far.
    """

    name: str
    vary: list[str] = Field(min_length=1)
    trials: int = Field(ge=1)
    epochs: int = Field(ge=1)
    judged_by: Literal["validation_loss", "train_loss"]
    subset: int = Field(default=0, ge=0)
    shrink: float | None = Field(default=None, gt=0, le=1)


class _Outline(Strict):
    seed: int = Field(ge=0, lt=2**31)
    validation: float = Field(gt=0, lt=1)
    sampler: one_of(Random, Grid, Tpe)  # type: ignore[valid-type]
    pruner: one_of(Median) | None = None  # type: ignore[valid-type]
    edge: float = Field(ge=0, lt=0.5)
    moves: int = Field(ge=0)
    base: dict[str, Any]
    space: dict[str, Any] = Field(min_length=1)
    rounds: list[Any] = Field(min_length=1)


class Search(_Outline):
    """All of search/params.yaml.

    Parameters
    ----------
    seed
        Of the values that are drawn. A trial's own chance is the base run's `seed`, the same for all.
    validation
        Fraction of the training images, in (0, 1), that is held out and judges.
    sampler, pruner
        How values are chosen; when a trial is given up (never, where there is no pruner).
    edge
        A best value this close to an end of its range, as a fraction of the range's width, is on its edge.
    moves
        How often a round may move the ranges of such values outward and run again.
    base
        The run that the search starts from, in the form of a run of params.yaml.
    space
        The values that each parameter may have, by its path in a run, such as `optimizer.weight_decay`.
    rounds
        One after the other.
    """

    space: dict[str, AnyDimension]
    rounds: list[Round]

    def run(self, values: Mapping[str, Value], **own: Any) -> RunConfig:
        """The base run with these values of the space, and with these keys of its own.

        Raises
        ------
        pydantic.ValidationError
            Where that is no valid run.
        """
        merged: Any = self.base
        for key, value in values.items():
            merged = merge(merged, nested(key, value))
        return RunConfig.model_validate({"run": "best", "replicas": 1, "epochs": 1, **merged, **own})


def nested(key: str, value: object) -> dict[str, Any]:
    """The blocks that a dotted path leads through.

    >>> nested("optimizer.weight_decay", 1e-4)
    {'optimizer': {'weight_decay': 0.0001}}
    """
    first, _, rest = key.partition(".")
    return {first: nested(rest, value) if rest else value}


def load(path: Path) -> Search:
    """Read search/params.yaml.

    Raises
    ------
    UserError
        Where anything is wrong: one line a mistake, with the key's path, its value and what would be right.
    """
    params = reading.load(path, "run this in the root of the project")
    problems = list(dict.fromkeys(_problems(params)))
    if problems:
        raise UserError("\n".join(f"{path}: {problem}" for problem in problems))
    return Search.model_validate(params)


# Finding mistakes

_SET_BY_SEARCH = ("run", "code", "teacher", "replicas", "epochs", "subset", "validation")


class _Entry(Strict):
    space: AnyDimension


def _problems(params: Mapping[str, Any]) -> Iterator[str]:
    """One line a mistake: the layout, then each entry by itself, so that its path is told, then what must go together."""
    problems = list(_problems_of(_Outline, params))
    space, rounds = params.get("space"), params.get("rounds")
    for key, dimension in space.items() if isinstance(space, Mapping) else ():
        problems += _problems_of(_Entry, {"space": dimension}, f"space.{key}", skip=1)
    for i, one in enumerate(rounds if isinstance(rounds, list) else ()):
        if isinstance(one, Mapping):
            problems += _problems_of(Round, one, f"rounds[{i}]")
        else:
            problems.append(f"rounds[{i}] is {one!r}: it must be a block of keys")
    yield from problems or _problems_together(Search.model_validate(params))


def _problems_of(schema: type[BaseModel], values: object, *place: str, skip: int = 0) -> Iterator[str]:
    try:
        schema.model_validate(values)
    except ValidationError as error:
        yield from explain(error, schema, lambda keys: ".".join((*place, *keys[skip:])))


def _problems_together(search: Search) -> Iterator[str]:
    for key in _SET_BY_SEARCH:
        if key in search.base:
            yield f"base.{key} cannot be set: remove it (the search and its rounds set it)"
    base = _problems_of_run(partial(search.run, {}), "base.")
    yield from base
    for key, dimension in search.space.items():
        if key.partition(".")[0] in (*_SET_BY_SEARCH, "suite", "seed"):
            yield f"space.{key} cannot be varied: remove it (the search and its rounds set it)"
        wrong = (
            _problems_of_run(partial(search.run, {key: end}), f"space.{key}: with {end}, ") for end in dimension.ends()
        )
        if not base:  # else its mistakes would be told again; and one wrong end says enough
            yield from next(filter(None, wrong), [])
        if not any(key in one.vary for one in search.rounds):
            yield f"space.{key} is varied by no round: name it under `vary` of one, or remove it"
    for i, one in enumerate(search.rounds):
        for key in one.vary:
            if key not in search.space:
                known = ", ".join(search.space)
                yield f"rounds[{i}].vary names {key!r}{suggest(key, search.space)}, which is not in space: {known}"
        if len(set(one.vary)) < len(one.vary):
            yield f"rounds[{i}].vary names a key twice: {', '.join(one.vary)}"


def _problems_of_run(make: Callable[[], RunConfig], before: str) -> list[str]:
    try:
        make()
    except ValidationError as error:
        return [f"{before}{problem}" for problem in explain(error, RunConfig)]
    return []
