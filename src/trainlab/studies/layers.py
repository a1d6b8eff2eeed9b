"""Statistics of each layer before training, for all runs of a study."""

from collections.abc import Mapping

from pandas import DataFrame

from trainlab.config.schema import RunConfig
from trainlab.data.stored import Dataset
from trainlab.training import checks
from trainlab.training.inference import BATCH

COLUMNS = ["run", "layer", "std", "gradient_std", "images"]  # those that are drawn


def layers_at_start(configs: Mapping[str, RunConfig], images: Dataset) -> DataFrame:
    """Return the statistics of each layer at initialization.

    Returns
    -------
    DataFrame
        ``run, layer`` and the other fields of :class:`trainlab.training.checks.Layer`, in the order of the forward pass;
        ``images``, the number of training images.
    """
    rows = [
        {"run": run, **vars(layer), "images": BATCH}
        for run, config in configs.items()
        for layer in checks.layers_at_start(config, images)
    ]
    return DataFrame(rows).rename(columns={"name": "layer"})
