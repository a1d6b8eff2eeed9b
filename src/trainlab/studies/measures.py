"""What the studies of docs/protocol.md measure beside their tables: capacity, sparsity, layers at the start, turns."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from pandas import DataFrame

from trainlab.config import RunConfig
from trainlab.data.stored import Dataset
from trainlab.errors import UserError
from trainlab.files import damaged, missing
from trainlab.models.convnet import Convnet
from trainlab.training import checks
from trainlab.training.model_file import TrainedModel

NEAR_ZERO = 1e-3  # a weight smaller than this hardly counts: initial ones are tens of times as large
LEARNED = 0.99  # accuracy from which few images count as learned by heart
PARTED = 0.05  # how much better on its training than on the test images a network is that overfits


def count_weights(trained: TrainedModel) -> dict[str, Any]:
    """How large a network is, and how sparse.

    Returns
    -------
    dict
        ``parameters``; ``weights``, those of two dimensions or more (no biases, no scales); ``near_zero``, the share of
        weights below :data:`NEAR_ZERO`, over all replicas.
    """
    outputs = trained.config.objective.num_outputs(len(trained.classes))
    net = trained.config.model.build(trained.shape, outputs)
    names = [name for name, parameter in net.named_parameters() if parameter.dim() >= 2]
    near_zero = sum(int((replica[name].abs() < NEAR_ZERO).sum()) for replica in trained.weights for name in names)
    weights = sum(trained.weights[0][name].numel() for name in names)
    return {
        "parameters": sum(parameter.numel() for parameter in net.parameters()),
        "weights": weights,
        "near_zero": round(near_zero / (weights * len(trained.weights)), 6),
    }


def read_weights(directory: Path, runs: Iterable[str]) -> DataFrame:
    """What :func:`count_weights` gave: ``run, parameters, weights, near_zero``.

    Raises
    ------
    UserError
        If a run's file is missing or damaged.
    """
    rows = []
    for run in runs:
        path = directory / f"{run}.json"
        try:
            counted = json.loads(path.read_text(encoding="utf-8"))
            rows.append({"run": run, **{key: counted[key] for key in ("parameters", "weights", "near_zero")}})
        except FileNotFoundError:
            raise missing(path, f"weights@{run}") from None
        except (ValueError, KeyError, TypeError):
            raise damaged(path, f"weights@{run}") from None
    return DataFrame(rows)


def ends(curves: DataFrame) -> DataFrame:
    """Each run's last epoch, means over its replicas: ``run, train_loss, train_accuracy, test_loss, test_accuracy``."""
    last = curves[curves["epoch"] == curves.groupby("run")["epoch"].transform("max")]
    return last.groupby("run", sort=False).mean().drop(columns=["replica", "epoch"]).reset_index()


def turns(curves: DataFrame) -> DataFrame:
    """When each run is best: ``run, loss_epoch, loss, last_loss, error_epoch, error, last_error``, of the test images.

    ``loss_epoch`` and ``error_epoch`` are the first epochs with the lowest test loss and the lowest test error, as means
    over the replicas.
    """
    rows = []
    for run, of_run in curves.groupby("run", sort=False):
        means = of_run.groupby("epoch").mean(numeric_only=True)
        loss, error = means["test_loss"], 1 - means["test_accuracy"]
        row = {"run": run}
        for name, values in (("loss", loss), ("error", error)):
            row |= {f"{name}_epoch": values.idxmin(), name: values.min(), f"last_{name}": values.iloc[-1]}
        rows.append(row)
    return DataFrame(rows)


def capacity(configs: Mapping[str, RunConfig], counted: DataFrame, last: DataFrame) -> DataFrame:
    """What each network learns of few images and of many, from the smallest network to the largest.

    Parameters
    ----------
    configs
        By run: a convnet that learns from ``subset`` images (all where it has none). Each network has a run with few and a
        run with many.
    counted, last
        From :func:`read_weights` and :func:`ends`.

    Returns
    -------
    DataFrame
        ``network, width, depth, filter_size, hidden_dim, receptive_field`` (pixels), ``parameters``, ``few, many`` (training
        images; many is 0 for all), ``few_train, many_train, many_test`` (accuracies after the last epoch, training's over
        its steps).

    Raises
    ------
    UserError
        If the runs are not such pairs.
    """
    sizes = sorted({config.subset or float("inf") for config in configs.values()})
    names = {config.model: _network(config) for config in configs.values()}
    by_run = counted.merge(last, on="run").set_index("run")
    rows = []
    for model, network in names.items():
        pair = sorted(
            (run for run, config in configs.items() if config.model == model),
            key=lambda run: configs[run].subset or float("inf"),
        )
        if len(sizes) != 2 or len(pair) != 2 or configs[pair[0]].subset == configs[pair[1]].subset:
            raise UserError(
                f"the network {network} has {len(pair)} run{'s'[: len(pair) != 1]} ({', '.join(pair)}), and the study has"
                f" {len(sizes)} sizes of subset: give each network one run with few images and one with many, the same few"
                f" and many for all"
            )
        few, many = pair
        rows.append(
            {
                "network": network,
                **model.model_dump(include={"width", "depth", "filter_size", "hidden_dim"}),
                "receptive_field": model.receptive_field,
                "parameters": by_run.loc[few, "parameters"],
                "few": configs[few].subset,
                "many": configs[many].subset,
                "few_train": by_run.loc[few, "train_accuracy"],
                "many_train": by_run.loc[many, "train_accuracy"],
                "many_test": by_run.loc[many, "test_accuracy"],
            }
        )
    return DataFrame(rows).sort_values("parameters", kind="stable", ignore_index=True)


def _network(config: RunConfig) -> str:
    model = config.model
    if not isinstance(model, Convnet):
        raise UserError(f"run {config.run} has the model {model.name}, and this study varies a convnet: name that one")
    return f"w{model.width} d{model.depth} f{model.filter_size} h{model.hidden_dim}"


def enough(networks: DataFrame) -> float | None:
    """Parameters of the smallest network that learns the few images by heart, from :func:`capacity`; None if none does."""
    return _first(networks["parameters"], networks["few_train"] >= LEARNED)


def parts(networks: DataFrame) -> float | None:
    """Parameters from which every network is better on its many training images than on the test images by
    :data:`PARTED`; None where the largest is not."""
    apart = networks["many_train"] - networks["many_test"] > PARTED
    return _first(networks["parameters"], apart[::-1].cummin()[::-1])


def _first(parameters: pd.Series, where: pd.Series) -> float | None:
    found = parameters[where]
    return None if found.empty else float(found.iloc[0])


def layers_at_start(configs: Mapping[str, RunConfig], images: Dataset) -> DataFrame:
    """Statistics of each layer before training: ``run, layer`` and the rest of :class:`trainlab.checks.Layer`."""
    rows = [
        {"run": run, **vars(layer)}
        for run, config in configs.items()
        for layer in checks.layers_at_start(config, images)
    ]
    return DataFrame(rows).rename(columns={"name": "layer"})


def read_histograms(path: Path) -> DataFrame:
    """What stage `per_sample_loss` wrote: ``epoch, split, low, high, count``.

    Raises
    ------
    UserError
        If the file is missing or damaged.
    """
    try:
        histograms = pd.read_csv(path)
    except FileNotFoundError:
        raise missing(path, "per_sample_loss") from None
    except ValueError:
        histograms = DataFrame()
    if histograms.empty or not {"epoch", "split", "low", "high", "count"} <= set(histograms.columns):
        raise damaged(path, "per_sample_loss")
    return histograms


def caption_of(histograms: DataFrame) -> str:
    """What pictures of :func:`read_histograms` must say beside their numbers."""
    first = histograms[histograms["epoch"] == histograms["epoch"].iloc[0]]
    images = first.groupby("split", sort=False)["count"].sum()
    counts = " and ".join(
        f"{count:,} {'training' if split == 'train' else split} images" for split, count in images.items()
    )
    return f"−log of the label's probability for {counts}, after the epoch."
