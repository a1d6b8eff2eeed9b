"""A suite's runs side by side: one table, one set of learning curves, and a word on how far to trust a difference."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import NormalDist
from typing import Any

import pandas as pd
import yaml
from pandas import DataFrame, Series

from trainlab.errors import UserError
from trainlab.files import damaged, missing, repro

CURVES = ["run", "replica", "epoch", "train_loss", "train_accuracy", "test_loss", "test_accuracy"]


def runs_of(configs: Path) -> list[str]:
    """The names of a suite's runs, in the order of params.yaml, from the suite's directory of configurations.

    Raises
    ------
    UserError
        If the list is missing or is no list of names.
    """
    path = configs / "_runs.yaml"
    try:
        runs = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(
            f"{path} is missing: is there a suite {configs.name} in params.yaml? Then run {repro('resolve', path)}"
        ) from None
    except yaml.YAMLError:
        runs = None
    if not (isinstance(runs, list) and runs and all(isinstance(run, str) for run in runs)):
        raise UserError(f"{path} is not a list of run names: delete it, then run {repro('resolve', path)}")
    return runs


def settings_of(configs: Path, runs: Iterable[str]) -> DataFrame:
    """How each run was trained, as far as a comparison must say it: ``run, epochs, subset, precision``.

    ``subset`` is missing where a run learned from all training images.

    Raises
    ------
    UserError
        If a run's configuration is missing or damaged.
    """
    rows = []
    for run in runs:
        path = configs / f"{run}.yaml"
        try:
            config = yaml.safe_load(path.read_text(encoding="utf-8"))
            subset = int(config["subset"]) if "subset" in config else None
            rows.append(
                {"run": run, "epochs": int(config["epochs"]), "subset": subset, "precision": config["precision"]}
            )
        except FileNotFoundError:
            raise missing(path, "resolve") from None
        except (yaml.YAMLError, KeyError, TypeError, ValueError):
            raise damaged(path, "resolve") from None
    settings = DataFrame(rows, columns=["run", "epochs", "subset", "precision"])
    return settings.astype({"subset": "Int64"})


def leftovers(runs: Iterable[str], directories: Iterable[Path]) -> list[Path]:
    """Files in a suite's directories that belong to none of its runs: DVC leaves them when a run is deleted."""
    named = set(runs)
    files = (path for directory in directories if directory.is_dir() for path in sorted(directory.iterdir()))
    # A run's name has no "-": metrics/tricks/baseline-classes.csv is of the run `baseline`.
    return [path for path in files if not path.name.startswith(".") and path.stem.split("-")[0] not in named]


def read_metrics(directory: Path, runs: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Each run's metrics, as :meth:`trainlab.evaluation.Metrics.save` wrote them.

    Raises
    ------
    UserError
        If a run's file is missing or damaged.
    """
    metrics = {}
    for run in runs:
        path = directory / f"{run}.json"
        try:
            metrics[run] = json.loads(path.read_text(encoding="utf-8"))
            _row(run, metrics[run])
        except FileNotFoundError:
            raise missing(path, f"compare@{directory.name}") from None
        except (ValueError, KeyError, TypeError):
            raise damaged(path, f"compare@{directory.name}") from None
    return metrics


def count_images(directory: Path, metrics: Mapping[str, Mapping[str, Any]]) -> int:
    """How many test images the runs were scored on, counted in their confusion matrices.

    Parameters
    ----------
    directory
        Holds ``RUN.csv`` for each run, with columns ``actual, predicted, count`` (summed over the run's replicas).
    metrics
        From :func:`read_metrics`: the number of replicas.

    Raises
    ------
    UserError
        If a file is missing or damaged, or if two runs were scored on different images: they cannot be compared.
    """
    first, expected = "", {}
    for run, of_run in metrics.items():
        path = directory / f"{run}.csv"
        counts = _read_csv(path, ["actual", "predicted", "count"], na_filter=False)  # a class may be called "NA"
        by_class = (counts.groupby("actual")["count"].sum() / of_run["replicas"]).to_dict()
        if not first:
            first, expected = run, by_class
        elif by_class != expected:
            raise UserError(
                f"the runs {first} and {run} were scored on different test images (see {path}): "
                f"run {repro(f'compare@{directory.name}', path)}"
            )
    return round(sum(expected.values()))


def table(metrics: Mapping[str, Mapping[str, Any]], images: int, settings: DataFrame) -> DataFrame:
    """One row a run: means over its replicas, as fractions.

    Parameters
    ----------
    metrics
        From :func:`read_metrics`.
    images
        The number of test images.
    settings
        From :func:`settings_of`.

    Returns
    -------
    DataFrame
        ``run, replicas, accuracy, accuracy_std`` (over replicas; missing where there is one), ``accuracy_low,
        accuracy_high`` (:func:`wilson`), ``f1_micro, f1_macro, f1_weighted, loss`` (nats), ``trained_on``, ``epochs,
        subset, precision``.
    """
    rows = DataFrame([_row(run, of_run) for run, of_run in metrics.items()])
    rows["accuracy_std"] = rows["accuracy_std"].astype(float)  # also where no run has more than one replica
    low, high = zip(*(wilson(accuracy, images) for accuracy in rows["accuracy"]), strict=True)
    after_std = rows.columns.get_loc("accuracy_std") + 1
    rows.insert(after_std, "accuracy_low", low)
    rows.insert(after_std + 1, "accuracy_high", high)
    return rows.merge(settings, on="run")


def intervals(rows: DataFrame) -> dict[str, tuple[float, float]]:
    """By run: the interval of its accuracy, from :func:`table`."""
    return {row.run: (row.accuracy_low, row.accuracy_high) for row in rows.itertuples()}


def as_csv(rows: DataFrame) -> str:
    """The table as CSV, numbers with six significant digits."""
    text: str = rows.to_csv(index=False, float_format="%.6g", lineterminator="\n")
    return text


def wilson(accuracy: float, images: int, confidence: float = 0.95) -> tuple[float, float]:
    """Interval for the accuracy on all images like these, of which the test images are a sample.

    It says nothing about another seed. For the mean accuracy of several replicas it is on the safe side: their mistakes
    on one image only partly agree.

    References
    ----------
    Wilson (1927), Probable inference, the law of succession, and statistical inference. JASA 22, 209–212.
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    middle = (accuracy + z**2 / (2 * images)) / (1 + z**2 / images)
    half = z / (1 + z**2 / images) * (accuracy * (1 - accuracy) / images + z**2 / (4 * images**2)) ** 0.5
    return max(0.0, middle - half), min(1.0, middle + half)


def read_histories(directory: Path, runs: Iterable[str]) -> dict[str, DataFrame]:
    """By run: its history, ``replica, epoch, lr``, losses, accuracies and whatever else it watched.

    Raises
    ------
    UserError
        If a run's history is missing or damaged.
    """
    return {run: _read_csv(directory / f"{run}.csv", CURVES[1:]) for run in runs}


def curves(histories: Mapping[str, DataFrame]) -> DataFrame:
    """The histories of all runs under each other: the columns that every run has (:data:`CURVES`)."""
    return pd.concat([history.assign(run=run)[CURVES] for run, history in histories.items()], ignore_index=True)


def validation_accuracies(histories: Mapping[str, DataFrame]) -> dict[str, float]:
    """By run that holds out validation images: its accuracy on them after the last epoch, mean over its replicas."""
    ends = {run: rows[rows["epoch"] == rows["epoch"].max()] for run, rows in histories.items()}
    return {run: rows["validation_accuracy"].mean() for run, rows in ends.items() if "validation_accuracy" in rows}


def has_dashboard(history: DataFrame) -> bool:
    """Whether a run has more to watch: validation images, or what a step does to each layer."""
    return any(name.startswith(("validation_", "gradient_norm.")) for name in history.columns)


def log_names(columns: Iterable[str]) -> list[str]:
    """Which columns of a history its objective logged, and not the training loop."""
    ours = ("replica", "epoch", "lr", "accuracy_gap")
    ours_begin = ("train_", "test_", "validation_", "gradient_norm.", "update_ratio.")
    return [column for column in columns if column not in ours and not column.startswith(ours_begin)]


def caption(rows: DataFrame, images: int) -> str:
    """What a figure must say beside its numbers: how many images and replicas, how long, how exact, on which device.

    Parameters
    ----------
    rows
        From :func:`table`.
    """
    devices = rows["trained_on"].dropna().unique()
    subsets = rows["subset"].dropna()
    learned = " or ".join(filter(None, ["all" if len(subsets) < len(rows) else "", _range(subsets)]))
    parts = [
        f"{images:,} test images",
        f"{_range(rows['replicas'])} replica{'s' if rows['replicas'].max() > 1 else ''} a run",
        f"{_range(rows['epochs'])} epoch{'s' if rows['epochs'].max() > 1 else ''} of {learned} training images",
        " or ".join(rows["precision"].unique()),
        f"trained on {devices[0]}" if len(devices) == 1 else "",
        f"trained on {len(devices)} kinds of device" if len(devices) > 1 else "",
    ]
    return "; ".join(filter(None, parts))


def _range(numbers: Series) -> str:
    if numbers.empty:
        return ""
    few, many = numbers.min(), numbers.max()
    return f"{few:,}" if few == many else f"{few:,} to {many:,}"


def show(rows: DataFrame, note: str) -> None:
    """Print the table: framed in a terminal, plain text elsewhere."""
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
    notes = [note + ".", "The interval is for the finite test set (Wilson); it does not cover another seed."]
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


def _row(run: str, metrics: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "run": run,
        "replicas": int(metrics["replicas"]),
        "accuracy": metrics["accuracy"]["mean"],
        "accuracy_std": metrics["accuracy"]["std"],
        **{name: metrics[name]["mean"] for name in ("f1_micro", "f1_macro", "f1_weighted", "loss")},
        "trained_on": metrics.get("trained_on"),
    }


def _read_csv(path: Path, columns: Sequence[str], *, na_filter: bool = True) -> DataFrame:
    stage = f"compare@{path.parent.name}"
    try:
        rows = pd.read_csv(path, na_filter=na_filter)
    except FileNotFoundError:
        raise missing(path, stage) from None
    except ValueError:
        raise damaged(path, stage) from None
    if rows.empty or not set(columns) <= set(rows.columns):
        raise damaged(path, stage)
    return rows
