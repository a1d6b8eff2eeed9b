"""The runs of a suite side by side: one table, their histories, and a caption that states how they were trained."""

import json
import math
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from pandas import DataFrame, Series
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from trainlab.errors import UserError
from trainlab.evaluation.metrics import SCORES
from trainlab.evaluation.tables import read_csv
from trainlab.files import reading, repro

CURVES = ["run", "replica", "epoch", "train_loss", "train_accuracy", "test_loss", "test_accuracy"]
LOGS = ["run", "replica", "epoch", "log", "value"]
LAYERS = ["layer", "mean", "std", "never_positive", "gradient_mean", "gradient_std"]
RunMetrics = dict[str, Any]  # of one run: the content of metrics/SUITE/RUN.json


class Suite(NamedTuple):
    """How the runs of a suite are compared: the content of configs/SUITE/_suite.yaml.

    Parameters
    ----------
    against
        The runs in the order of params.yaml, each with the run that it is compared with, if there is one.
    margin
        Difference of two accuracies that matters, as a fraction.
    """

    against: dict[str, str | None]
    margin: float

    @property
    def runs(self) -> list[str]:
        """The names of the runs in the order of params.yaml."""
        return list(self.against)

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Each run that is compared with another one, and that run."""
        return [(run, other) for run, other in self.against.items() if other]


def read_suite(configs: Path) -> Suite:
    """Return how the runs of a suite are compared.

    Parameters
    ----------
    configs
        The suite's directory of configurations.

    Raises
    ------
    UserError
        If there is no such suite, or its file is damaged.
    """
    path = configs / "_suite.yaml"
    if not path.is_file():
        raise UserError(
            f"{path} is missing: is there a suite {configs.name} in params.yaml? Then run {repro('resolve', path)}"
        )
    with reading(path, "resolve"):  # not by trainlab.config, which imports torch
        try:
            content = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
            against, margin = dict(content["runs"]), float(content["margin"])
            if not against or set(against.values()) - {None, *against}:
                raise ValueError("a run is compared with another one of its suite")
        except (YAMLError, TypeError, ValueError, KeyError) as error:
            raise ValueError("it is not a list of runs with a margin") from error
    return Suite(against, margin)


def leftovers(runs: Iterable[str], directories: Iterable[Path]) -> list[Path]:
    """Return the files in a suite's directories that are of none of its runs.

    DVC does not delete the files of a run that is removed from params.yaml.
    """
    named = set(runs)
    files = (path for directory in directories if directory.is_dir() for path in sorted(directory.iterdir()))
    # The name of a run has no "-": metrics/tricks/baseline-classes.csv is a file of the run `baseline`.
    return [path for path in files if not path.name.startswith(".") and path.stem.split("-")[0] not in named]


def read_metrics(directory: Path, runs: Iterable[str]) -> dict[str, RunMetrics]:
    """Return the metrics of each run, as :meth:`trainlab.evaluation.metrics.Metrics.save` wrote them.

    Raises
    ------
    UserError
        If a file is missing or damaged, or if two runs were scored on different test images.
    """
    metrics: dict[str, RunMetrics] = {}
    for run in runs:
        path = directory / f"{run}.json"
        with reading(path, f"compare@{directory.name}"):
            metrics[run] = json.loads(path.read_text(encoding="utf-8"))
            _row(run, metrics[run])
            support = metrics[run]["support"]
        first = next(iter(metrics))
        if support != metrics[first]["support"]:
            raise UserError(
                f"the runs {first} and {run} were scored on different test images (see `support` in {path}): "
                f"run {repro(f'compare@{directory.name}', path)}"
            )
    return metrics


def table(metrics: Mapping[str, RunMetrics]) -> DataFrame:
    """Return one row per run: means over its replicas, as fractions, and how it was trained.

    Parameters
    ----------
    metrics
        From :func:`read_metrics`.

    Returns
    -------
    DataFrame
        ``run, replicas, accuracy, accuracy_std`` (over replicas; missing for one replica), ``accuracy_low,
        accuracy_high`` (:func:`~trainlab.evaluation.statistics.accuracy_interval`), ``f1_micro, f1_macro, f1_weighted, loss``
        (nats), ``test_images, parameters, epochs, subset`` (missing for all training images), ``validation`` (held-out
        fraction of the training images; missing for none), ``precision, trained_on, torch``; if a run has any, ``views``,
        those of each test image that were averaged (missing for the image alone).
    """
    rows = DataFrame([_row(run, of_run) for run, of_run in metrics.items()])
    if rows["views"].isna().all():
        rows = rows.drop(columns="views")
    # Also if no run has a value.
    return rows.astype({"accuracy_std": float, "subset": "Int64", "validation": float})


def _row(run: str, metrics: RunMetrics) -> dict[str, Any]:
    means = {name: float(metrics[name]["mean"]) for name in SCORES}
    images, training = int(metrics["test_images"]), metrics["training"]
    return {
        "run": run,
        "replicas": int(metrics["replicas"]),
        "accuracy": means.pop("accuracy"),
        "accuracy_std": metrics["accuracy"]["std"],
        "accuracy_low": float(metrics["accuracy"]["low"]),
        "accuracy_high": float(metrics["accuracy"]["high"]),
        **means,
        "test_images": images,
        "parameters": int(metrics["model"]["parameters"]),
        **{name: training[name] for name in ("epochs", "subset", "validation", "precision", "trained_on", "torch")},
        "views": training.get("views"),
    }


def intervals(rows: DataFrame) -> dict[str, tuple[float, float]]:
    """Return the confidence interval of the accuracy of each run in a :func:`table`."""
    return {row.run: (row.accuracy_low, row.accuracy_high) for row in rows.itertuples()}


class Timing(NamedTuple):
    """How long the training of a run took.

    Parameters
    ----------
    minutes
        Of all its replicas together.
    replicas, workers
        Their number, and how many were trained at the same time.
    """

    minutes: float
    replicas: int
    workers: int

    @property
    def minutes_per_replica(self) -> float:
        """Minutes that the training of one replica took: replicas are trained side by side."""
        return self.minutes / math.ceil(self.replicas / self.workers)


def read_timing(path: Path) -> Timing:
    """Return how long the training of a run took.

    Raises
    ------
    UserError
        If the file is missing or damaged.
    """
    with reading(path, f"train@{path.stem}` or `distill@{path.stem}"):
        timing = json.loads(path.read_text(encoding="utf-8"))
        if timing["workers"] == 0:
            raise ValueError("it has no workers")
        return Timing(timing["seconds"] / 60, int(timing["replicas"]), int(timing["workers"]))


def read_histories(directory: Path, runs: Iterable[str]) -> dict[str, DataFrame]:
    """Return the history of each run: ``replica, epoch, lr``, losses, accuracies and logs.

    Raises
    ------
    UserError
        If a file is missing or damaged.
    """
    return {run: read_csv(directory / f"{run}.csv", [*CURVES[1:], "lr"], f"compare@{directory.name}") for run in runs}


def curves(histories: Mapping[str, DataFrame]) -> DataFrame:
    """Return the learning curves of all runs in one table with the columns :data:`CURVES`."""
    return pd.concat([history.assign(run=run)[CURVES] for run, history in histories.items()], ignore_index=True)


def logs(histories: Mapping[str, DataFrame]) -> DataFrame:
    """Return the learning rate and the objective's logs of all runs, one value per row, with the columns :data:`LOGS`."""
    rows = [
        history.assign(run=run).melt(LOGS[:3], ["lr", *log_names(history.columns)], "log")
        for run, history in histories.items()
    ]
    return pd.concat(rows, ignore_index=True)


def log_names(columns: Iterable[str]) -> list[str]:
    """Return those columns of a history that the objective logged; the others are of the training loop."""
    of_loop = ("replica", "epoch", "lr", "accuracy_gap")
    prefixes_of_loop = ("train_", "test_", "validation_", "gradient_norm.", "update_ratio.")
    return [column for column in columns if column not in of_loop and not column.startswith(prefixes_of_loop)]


def validation_accuracies(histories: Mapping[str, DataFrame]) -> dict[str, float]:
    """Return the validation accuracy after the last epoch, mean over the replicas, of each run that has one."""
    ends = {run: rows[rows["epoch"] == rows["epoch"].max()] for run, rows in histories.items()}
    return {run: rows["validation_accuracy"].mean() for run, rows in ends.items() if "validation_accuracy" in rows}


def read_confusion(path: Path) -> DataFrame:
    """Return a confusion matrix: images (summed over replicas) by actual class (rows) and predicted class (columns).

    Raises
    ------
    UserError
        If the file is missing or damaged.
    """
    stage = f"compare@{path.parent.name}"
    rows = read_csv(path, ["actual", "predicted", "count"], stage, names=["actual", "predicted"])
    classes = list(dict.fromkeys(rows["actual"]))
    with reading(path, stage):
        counts = rows.pivot(index="actual", columns="predicted", values="count")
        return counts.loc[classes, classes].astype(int)  # in the order of the file, which `pivot` does not keep


def read_layers(path: Path) -> tuple[DataFrame, int]:
    """Return the statistics of a run's layers at initialization, from the results of its check.

    Returns
    -------
    DataFrame
        Columns :data:`LAYERS`, one row per layer in the order of the forward pass.
    int
        The number of training images that they were computed for.

    Raises
    ------
    UserError
        If the file is missing or damaged.
    """
    with reading(path, f"check@{path.stem}"):
        report = json.loads(path.read_text(encoding="utf-8"))
        layers = DataFrame.from_dict(report["layers"], orient="index", dtype=float)  # a number that is null is missing
        return layers.rename_axis("layer").reset_index()[LAYERS], int(report["layer_images"])


def caption(rows: DataFrame) -> str:
    """Return what must be stated beside the numbers of a :func:`table`: images, replicas, epochs, precision, device.

    Where the runs differ in their precision, device or torch version, those that differ from most are named.
    """
    subsets, held_out = rows["subset"].dropna(), rows["validation"].notna()
    trained = " or ".join(filter(None, ["all" if len(subsets) < len(rows) else "", _range(subsets)]))
    parts = [
        f"{_range(rows['test_images'])} test images{_views(rows)}",
        f"{_range(rows['replicas'])} replica{'s' * bool((rows['replicas'] > 1).any())} per run",
        f"{_range(rows['epochs'])} epoch{'s' * bool((rows['epochs'] > 1).any())} of {trained} training images",
        f"held out for validation: {_common(rows, 'validation', _share)}" if held_out.any() else "",
        _common(rows, "precision"),
        f"trained on {_common(rows, 'trained_on')}",
        f"torch {_common(rows, 'torch')}",
    ]
    return "; ".join(filter(None, parts))


def interval_note(rows: DataFrame) -> str:
    """Return what the intervals of the accuracies in a :func:`table` cover, in words."""
    several = rows["replicas"] > 1
    if several.all():
        return "The 95 % interval covers other seeds and other test images"
    single = "The 95 % interval covers other test images, not other seeds"
    return f"{single}, of runs with one replica" if several.any() else single


def accuracy_caption(metrics: RunMetrics) -> str:
    """Return the accuracy of one run and what it was measured on, such as "accuracy 70.07% of 10,000 images"."""
    replicas = f", {metrics['replicas']} replicas" if metrics["replicas"] > 1 else ""
    return f"accuracy {metrics['accuracy']['mean']:.2%} of {metrics['test_images']:,} images{replicas}"


def _range(numbers: Series) -> str:
    if numbers.empty:
        return ""
    low, high = numbers.min(), numbers.max()
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _common(rows: DataFrame, column: str, text: Callable[[Any], str] = str) -> str:
    """Return the most frequent value of a column, followed by the runs that have another one."""
    runs: dict[str, list[str]] = {}
    for run, value in zip(rows["run"], rows[column], strict=True):
        runs.setdefault(text(value), []).append(run)
    first = max(runs, key=lambda value: len(runs[value]))
    others = [f"{', '.join(of_value)} ({value})" for value, of_value in runs.items() if value != first]
    return first + (f" except {' and '.join(others)}" if others else "")


def _views(rows: DataFrame) -> str:
    if "views" not in rows:
        return ""
    named = rows.assign(views=rows["views"].fillna("").replace("", "none"))  # missing, or empty in a table of text
    return "" if (named["views"] == "none").all() else f", mean of the views {_common(named, 'views')}"


def _share(fraction: float) -> str:
    return "none" if pd.isna(fraction) else f"{fraction:.0%}"


def show(rows: DataFrame, note: str) -> None:
    """Print a :func:`table` and its caption: with borders in a terminal, as plain text elsewhere."""
    text = DataFrame(
        {
            "run": rows["run"],
            "accuracy": rows["accuracy"].map("{:.4f}".format),
            "95 % interval": rows["accuracy_low"].map("{:.4f} to ".format) + rows["accuracy_high"].map("{:.4f}".format),
            "std": rows["accuracy_std"].map("{:.4f}".format, na_action="ignore").fillna("-"),
            "F1 macro": rows["f1_macro"].map("{:.4f}".format),
            "loss": rows["loss"].map("{:.4f}".format),
        }
    )
    notes = [f"{note}.", f"{interval_note(rows)}."]
    if not sys.stdout.isatty():
        print(text.to_string(index=False), *notes, sep="\n")
        return
    from rich.console import Console
    from rich.table import Table

    framed = Table(caption="\n".join(notes), caption_justify="left")
    for column in text:
        framed.add_column(column, justify="left" if column == "run" else "right", no_wrap=True)
    for row in text.itertuples(index=False):
        framed.add_row(*row)
    Console().print(framed)
