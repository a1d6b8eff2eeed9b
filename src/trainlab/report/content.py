"""What the page shows: the content of the files that the other stages wrote, as stages/report.py reads them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pandas import DataFrame

from trainlab.data.stored import Dataset
from trainlab.evaluation import comparison
from trainlab.evaluation.mistakes import Mistake, Pair


class Missing(str):
    """A part without results: the sentence that the page shows instead, with the command that makes them."""

    __slots__ = ()


@dataclass(frozen=True, eq=False)
class Run:
    """The results of one run.

    Parameters
    ----------
    name
        Its name.
    config
        Its complete configuration.
    inherited
        What its suite and the top level of params.yaml give to each of the suite's runs.
    metrics
        See :meth:`trainlab.evaluation.metrics.Metrics.save`.
    classes
        Columns ``class, precision, recall, f1, support``.
    confusion
        See :func:`trainlab.evaluation.comparison.read_confusion`.
    reliability
        Columns ``replica, bin, images, confidence, accuracy``.
    check
        What its check found; None if there is none.
    layers
        The statistics of its layers at initialization; None without a check.
    timing
        How long its training took.
    mistakes
        Test images that it predicts wrongly with the highest confidence.
    """

    name: str
    config: Mapping[str, Any]
    inherited: Mapping[str, Any]
    metrics: comparison.RunMetrics
    classes: DataFrame
    confusion: DataFrame
    reliability: DataFrame
    check: Mapping[str, Any] | None
    layers: DataFrame | None
    timing: comparison.Timing
    mistakes: Sequence[Mistake]


@dataclass(frozen=True, eq=False)
class Suite:
    """The results of a suite.

    Parameters
    ----------
    name
        Its name.
    against
        Each run with the run that it is compared with, if there is one.
    margin
        Difference of two accuracies that matters, a fraction.
    table
        See :func:`trainlab.evaluation.comparison.table`.
    effects, pairs, seeds
        See :mod:`trainlab.evaluation.effects`; None if no run is compared with another one, or for a suite of one run.
    curves, logs
        See :func:`trainlab.evaluation.comparison.curves` and :func:`~trainlab.evaluation.comparison.logs`.
    confused
        Pairs of classes that its runs confuse most.
    runs
        Its runs, in the order of params.yaml.
    """

    name: str
    against: Mapping[str, str | None]
    margin: float
    table: DataFrame
    effects: DataFrame | None
    pairs: DataFrame | None
    seeds: DataFrame | None
    curves: DataFrame
    logs: DataFrame
    confused: Sequence[Pair]
    runs: Sequence[Run]


@dataclass(frozen=True, eq=False)
class Study:
    """The results of a study.

    Parameters
    ----------
    name
        Its name.
    table
        As that of a :class:`Suite`.
    effects
        The same.
    pictures
        PNG files of what is measured beside the accuracy, by name.
    """

    name: str
    table: DataFrame
    effects: DataFrame | Missing
    pictures: Mapping[str, bytes]


@dataclass(frozen=True, eq=False)
class Search:
    """The result of the hyperparameter search.

    Parameters
    ----------
    trials
        One row per trial.
    result
        The winner's values and scores.
    best
        The winner as a run of params.yaml, YAML.
    timing
        ``seconds, trials, trained_on``.
    pictures
        PNG files, by name.
    """

    trials: DataFrame
    result: Mapping[str, Any]
    best: str
    timing: Mapping[str, Any]
    pictures: Mapping[str, bytes]


@dataclass(frozen=True)
class File:
    """A file of the data set: its name, its size in bytes, and its MD5 checksum in hexadecimal."""

    name: str
    size: int
    md5: str


@dataclass(frozen=True, eq=False)
class Images:
    """The data set.

    Parameters
    ----------
    source
        The block ``data`` of params.yaml.
    train, test
        The normalized images.
    raw, normalized
        The files that the source wrote, and those that the runs read.
    """

    source: Mapping[str, Any]
    train: Dataset
    test: Dataset
    raw: Sequence[File]
    normalized: Sequence[File]


@dataclass(frozen=True, eq=False)
class Report:
    """All of the page; what has no results is a :class:`Missing`."""

    suites: Mapping[str, Suite | Missing]
    images: Images | Missing
    studies: Mapping[str, Study | Missing] | Missing
    search: Search | Missing
