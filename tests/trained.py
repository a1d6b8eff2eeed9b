"""Small trained models for tests of what is done with them."""

from functools import cache
from typing import Any

from small import data, run_config
from trainlab.training.model_file import TrainedModel
from trainlab.training.replicas import train

SMALL = {"name": "three_layer", "num_filters": 4, "filter_size": 3, "hidden_dim": 8}


@cache
def small_model(replicas: int = 3) -> TrainedModel:
    """Return a model of four classes of images of 20×20 pixels."""
    return trained(model=SMALL, replicas=replicas, lr=1e-2)


def trained(**own: Any) -> TrainedModel:
    """Return the model of a run with these keys, trained for one epoch."""
    return train(run_config(**{"epochs": 1, **own}), data())
