"""The schema of search/params.yaml: what a search varies, how it draws values, and its rounds."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner, MedianPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial
from pydantic import BaseModel, Field, ValidationError

from trainlab import fingerprint
from trainlab.component import Component, Count, Strict, one_of
from trainlab.config import RunConfig, reading
from trainlab.config.inheritance import merge
from trainlab.config.messages import explain, suggest
from trainlab.errors import UserError, listed
from trainlab.files import repro
from trainlab.search.space import AnyDimension, Space, Value, grid

MOST_COMBINATIONS = 1_000_000  # of a grid, which are all held in memory

# How values are drawn


class Sampler(Component):
    """How the values of a trial are chosen."""

    learns: ClassVar[bool] = False  # whether the values of a trial depend on other trials

    def start(self, space: Space, number: int, seed: Sequence[int]) -> BaseSampler | None:
        """Return Optuna's sampler for one trial, or none if there are no more trials.

        Each trial has a sampler of its own, seeded by its number: Optuna's samplers restart their random numbers in every
        process, so that a resumed search would draw its first values again.

        Parameters
        ----------
        space
            The dimensions of the round.
        number
            The trial's number in the round, from 0.
        seed
            Seeds of the round.
        """
        raise NotImplementedError


class Random(Sampler):
    """Draw every trial independently."""

    name: Literal["random"]

    def start(self, space: Space, number: int, seed: Sequence[int]) -> BaseSampler:
        """Return a random sampler."""
        return RandomSampler(_word(*seed, number))


class Grid(Sampler):
    """Try every combination of evenly spaced values, in random order; a round ends early when it has tried them all.

    Parameters
    ----------
    points
        Values per range, both ends included; at least 2. A choice has all of its values.
    """

    name: Literal["grid"]
    points: int = Field(ge=2, le=1000)

    def start(self, space: Space, number: int, seed: Sequence[int]) -> BaseSampler | None:
        """Return a sampler of one combination."""
        points = grid(space, self.points, np.random.default_rng(seed))
        return Fixed(points[number]) if number < len(points) else None


class Tpe(Sampler):
    """Draw near the good trials of the round (tree-structured Parzen estimator).

    Parameters
    ----------
    startup
        Trials of a round that are drawn at random first; at least 1.

    References
    ----------
    Bergstra et al. 2011, *Algorithms for Hyper-Parameter Optimization*, section 4.
    """

    learns = True
    name: Literal["tpe"]
    startup: Count

    def start(self, space: Space, number: int, seed: Sequence[int]) -> BaseSampler:
        """Return a sampler that reads the earlier trials from the study."""
        return TPESampler(seed=_word(*seed, number), n_startup_trials=self.startup)


def _word(*seed: int) -> int:
    return int(np.random.SeedSequence(seed).generate_state(1)[0])


class Fixed(BaseSampler):
    """Given values."""

    def __init__(self, values: Mapping[str, Value]) -> None:
        self._values = values

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return no search space."""
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return no values."""
        return {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Return the given value."""
        return self._values[param_name]


class Median(Component):
    """Stop a trial whose best epoch so far is worse than the median of the finished trials at that epoch.

    Parameters
    ----------
    startup
        Trials of a round that must be finished before one is stopped; at least 1.
    warmup
        Fraction of a round's epochs, in [0, 1], that every trial completes: small learning rates lead in the first ones.
    """

    name: Literal["median"]
    startup: Count
    warmup: float = Field(ge=0, le=1)

    def start(self, epochs: int) -> BasePruner:
        """Return Optuna's pruner for a round of so many epochs."""
        return MedianPruner(n_startup_trials=self.startup, n_warmup_steps=math.ceil(self.warmup * epochs))


AnySampler: Any = one_of(Random, Grid, Tpe)
AnyPruner: Any = one_of(Median)

# What search/params.yaml may contain


class Round(Strict):
    """One round: what it varies, its number of trials, and how long they train.

    Parameters
    ----------
    name
        Name in the log and in the plots.
    vary
        Keys of the space. Every other key has its best value so far, or the base run's.
    trials, epochs
        Trials of the round, and epochs per trial; at least 1.
    judged_by
        The best trial has the smallest value of this after its last epoch: `validation_loss`, or `train_loss`, the mean
        over the epoch's steps, for a round that finds the learning rates at which few images can be memorized.
    subset
        Train on this many images; 0: on all.
    shrink
        Width of the ranges that an earlier round varied, as a fraction of their width before, in (0, 1]; they are
        centered at the best value so far. None: they stay.
    """

    name: str
    vary: list[str] = Field(min_length=1)
    trials: Count
    epochs: Count
    judged_by: Literal["validation_loss", "train_loss"]
    subset: int = Field(default=0, ge=0, le=10**9)
    shrink: float | None = Field(default=None, gt=0, le=1)


class _Outline(Strict):
    """The top level, whose entries are validated one by one so that each mistake has its path."""

    seed: int = Field(ge=0, lt=2**31)
    validation: float = Field(gt=0, lt=1)
    sampler: AnySampler
    pruner: AnyPruner | None = None
    cohort: Count | None = None
    edge: float = Field(ge=0, lt=0.5)
    moves: int = Field(ge=0, le=1000)
    base: dict[str, Any]
    space: dict[str, Any] = Field(min_length=1)
    rounds: list[Any] = Field(min_length=1)


class Search(_Outline):
    """The content of search/params.yaml.

    Parameters
    ----------
    seed
        Seed of the drawn values, in [0, 2³¹). Every trial trains with the base run's `seed`.
    validation
        Fraction of the training images, in (0, 1), that is held out to compare trials.
    sampler, pruner
        How values are chosen, and when a trial is stopped early (never without a pruner).
    cohort
        For a pruner or a sampler that looks at other trials: so many trials in a row look only at those before them, so
        that they can run at the same time; at least 1. None: 1.
    edge
        A best value within this fraction of its range's width, in [0, 0.5), is at the edge of the range.
    moves
        Number of times that a round may move the ranges of such values outward and run again.
    base
        The run that the search starts from, in the form of a run of params.yaml.
    space
        The possible values of each parameter, by its path in a run, such as `optimizer.weight_decay`.
    rounds
        The rounds, in order.
    """

    space: dict[str, AnyDimension]
    rounds: list[Round]

    @property
    def cohort_size(self) -> int | None:
        """Number of trials that are drawn and stopped without knowledge of each other; None: all of a round."""
        return (self.cohort or 1) if self.pruner or self.sampler.learns else None

    def run(self, values: Mapping[str, Value], **own: Any) -> RunConfig:
        """Return the base run with other values.

        Parameters
        ----------
        values
            Values by path, such as ``{"optimizer.weight_decay": 1e-4}``.
        **own
            Top-level keys of the run.

        Raises
        ------
        pydantic.ValidationError
            If the result is not a valid run.
        """
        merged: Any = self.base
        for key, value in values.items():
            merged = merge(merged, nested(key, value))
        return RunConfig.model_validate({"run": "best", "replicas": 1, "epochs": 1, **merged, **own})

    def ends(self) -> Iterator[RunConfig]:
        """Yield the base run with each end of each dimension: together they have every component of the trials."""
        return (self.run({key: end}) for key, dimension in self.space.items() for end in dimension.ends())


def code_of(runs: Iterable[RunConfig]) -> str:
    """Return the fingerprint of the code that trains these runs."""
    return fingerprint.of_run([component for run in runs for component in run.components()], schema=RunConfig)


def nested(key: str, value: object) -> dict[str, Any]:
    """Return the nested blocks of a dotted path.

    >>> nested("optimizer.weight_decay", 1e-4)
    {'optimizer': {'weight_decay': 0.0001}}
    """
    first, _, rest = key.partition(".")
    return {first: nested(rest, value) if rest else value}


def load(path: Path) -> Search:
    """Read a search's params.yaml.

    Raises
    ------
    UserError
        If anything is wrong: one line per mistake, with the key's path, its value and what is allowed.
    """
    return _validated(reading.load(path, "run this in the directory search, or with `dvc --cd search repro`"), path)


def resolved(settings: Search) -> str:
    """Return the YAML text that the results of a search depend on: its values and the fingerprint of the trials' code."""
    values = {"code": code_of(settings.ends()), **settings.model_dump(exclude_defaults=True)}
    return reading.dump(values, flow_leaves=True)


def load_resolved(path: Path) -> Search:
    """Read what :func:`resolved` returned.

    Raises
    ------
    UserError
        If the file is missing or damaged.
    """
    values = reading.load(path, f"run {repro('resolve', path)}")
    return _validated({key: value for key, value in values.items() if key != "code"}, path)


def _validated(params: Mapping[str, Any], path: Path) -> Search:
    found = list(dict.fromkeys(_mistakes(params)))
    if found:
        raise UserError(listed([f"{path}: {mistake}" for mistake in found]))
    return Search.model_validate(params)


# Finding mistakes

_SET_BY_SEARCH = ("run", "code", "teacher", "replicas", "epochs", "subset", "validation")


class _Entry(Strict):
    space: AnyDimension


def _mistakes(params: Mapping[str, Any]) -> Iterator[str]:
    """Yield one line per mistake: in the outline and in each entry, then, if there is none, in their combination."""
    found = list(_in_values(_Outline, params))
    space, rounds = params.get("space"), params.get("rounds")
    for key, dimension in space.items() if isinstance(space, Mapping) else ():
        found += _in_values(_Entry, {"space": dimension}, f"space.{key}", skip=1)
    for i, one in enumerate(rounds if isinstance(rounds, list) else ()):
        if isinstance(one, Mapping):
            found += _in_values(Round, one, f"rounds[{i}]")
        else:
            found.append(f"rounds[{i}] is {one!r}: it must be a block of keys")
    yield from found or _in_combination(Search.model_validate(params))


def _in_values(schema: type[BaseModel], values: object, *place: str, skip: int = 0) -> Iterator[str]:
    try:
        schema.model_validate(values)
    except ValidationError as error:
        yield from explain(error, schema, lambda keys: ".".join((*place, *keys[skip:])))


def _in_combination(search: Search) -> Iterator[str]:
    for key in _SET_BY_SEARCH:
        if key in search.base:
            yield f"base.{key} cannot be set: remove it (the search and its rounds set it)"
    base = _in_run(partial(search.run, {}), "base.")
    yield from base
    for key, dimension in search.space.items():
        if key.partition(".")[0] in (*_SET_BY_SEARCH, "suite", "seed"):
            yield f"space.{key} cannot be varied: remove it (the search and its rounds set it)"
        wrong = (_in_run(partial(search.run, {key: end}), f"space.{key}: with {end}, ") for end in dimension.ends())
        if not base:  # its mistakes would be reported again; and one wrong end is enough
            yield from next(filter(None, wrong), [])
        if not any(key in one.vary for one in search.rounds):
            yield f"space.{key} is varied by no round: name it under `vary` of one, or remove it"
    for i, one in enumerate(search.rounds):
        for key in one.vary:
            if key not in search.space:
                known = ", ".join(search.space)
                yield f"rounds[{i}].vary names {key!r}{suggest(key, search.space)}, which is not in space: {known}"
        points = search.sampler.points if isinstance(search.sampler, Grid) else 1
        if (combinations := points ** len(one.vary)) > MOST_COMBINATIONS:
            yield (
                f"rounds[{i}].vary names {len(one.vary)} keys, which with sampler.points {points} are up to {combinations:,}"
                f" combinations, and at most {MOST_COMBINATIONS:,} are allowed: lower one of them"
            )
        if len(set(one.vary)) < len(one.vary):
            yield f"rounds[{i}].vary names a key twice: {', '.join(one.vary)}"


def _in_run(make: Callable[[], RunConfig], before: str) -> list[str]:
    try:
        make()
    except ValidationError as error:
        return [f"{before}{mistake}" for mistake in explain(error, RunConfig)]
    return []
