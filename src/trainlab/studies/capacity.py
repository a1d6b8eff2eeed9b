"""How much a network can learn: its accuracy on few and on many training images, against its number of parameters."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from pandas import DataFrame

from trainlab.config.schema import RunConfig
from trainlab.errors import UserError
from trainlab.evaluation.comparison import RunMetrics
from trainlab.models.convnet import Convnet

MEMORIZED = 0.99  # training accuracy from which the few images count as memorized
OVERFIT = 0.05  # training accuracy minus test accuracy above which a network counts as overfitted
SIZES = ["width", "depth", "filter_size", "hidden_dim"]
COLUMNS = ["network", "parameters", "few", "many", "few_train", "many_train", "many_test"]


def capacity(configs: Mapping[str, RunConfig], metrics: Mapping[str, RunMetrics], last: DataFrame) -> DataFrame:
    """Return what each network learns of few and of many images, from the smallest network to the largest.

    Parameters
    ----------
    configs
        By run: a convnet that is trained on ``subset`` images (all if it has none). Each network has one run with few
        images and one with many.
    metrics
        From :func:`trainlab.evaluation.comparison.read_metrics`.
    last
        From :func:`trainlab.studies.learning_curves.last_epoch`.

    Returns
    -------
    DataFrame
        ``network, width, depth, filter_size, hidden_dim, receptive_field`` (pixels), ``parameters``, ``few, many``
        (number of training images; 0 for all), ``few_train, many_train, many_test`` (accuracies of the last epoch;
        training accuracy is the mean over its steps).

    Raises
    ------
    UserError
        If a run's model is not a convnet, or the runs are not such pairs.
    """
    names = {config.model: _network(config) for config in configs.values()}
    sizes = {config.subset for config in configs.values()}
    by_run = last.set_index("run")
    rows: list[dict[str, Any]] = []
    for model, network in names.items():
        pair = sorted((run for run in configs if configs[run].model == model), key=lambda run: _images(configs[run]))
        if len(sizes) != 2 or len(pair) != 2 or configs[pair[0]].subset == configs[pair[1]].subset:
            raise UserError(
                f"the network {network} has {len(pair)} run{'s'[: len(pair) != 1]} ({', '.join(pair)}), and the study has"
                f" {len(sizes)} values of subset: give each network two runs, one with few images and one with many, with the"
                f" same two values for all networks"
            )
        few, many = pair
        rows.append(
            {
                "network": network,
                **model.model_dump(include=set(SIZES)),
                "receptive_field": model.receptive_field,
                "parameters": metrics[few]["model"]["parameters"],
                "few": configs[few].subset,
                "many": configs[many].subset,
                "few_train": by_run.loc[few, "train_accuracy"],
                "many_train": by_run.loc[many, "train_accuracy"],
                "many_test": by_run.loc[many, "test_accuracy"],
            }
        )
    return DataFrame(rows).sort_values("parameters", kind="stable", ignore_index=True)


def _images(config: RunConfig) -> float:
    return config.subset or float("inf")


def _network(config: RunConfig) -> str:
    model = config.model
    if not isinstance(model, Convnet):
        raise UserError(f"run {config.run} has the model {model.name}, and a study of capacity compares convnets")
    return f"w{model.width} d{model.depth} f{model.filter_size} h{model.hidden_dim}"


def memorizes_from(networks: DataFrame) -> float | None:
    """Return the parameters of the smallest network that reaches :data:`MEMORIZED` on the few images; None if none does."""
    return _first(networks["parameters"], networks["few_train"] >= MEMORIZED)


def overfits_from(networks: DataFrame) -> float | None:
    """Return the parameters from which every network overfits the many images; None if the largest does not.

    A network overfits if its training accuracy exceeds its test accuracy by more than :data:`OVERFIT`.
    """
    overfits = networks["many_train"] - networks["many_test"] > OVERFIT
    return _first(networks["parameters"], overfits[::-1].cummin()[::-1])


def _first(parameters: pd.Series, where: pd.Series) -> float | None:
    found = parameters[where]
    return None if found.empty else float(found.iloc[0])
