"""Small data and configurations for tests of training."""

from dataclasses import replace
from typing import Any

import numpy as np

from trainlab import config
from trainlab.config import RunConfig
from trainlab.data.stored import Data, Dataset

PARAMS: dict[str, Any] = {
    "seed": 0,
    "replicas": 1,
    "lr": 1e-3,
    "threads": 1,
    "device": "cpu",
    "precision": "float32",
    "inputs": "standardized",
    "objective": {"name": "softmax_cross_entropy"},
    "optimizer": {"name": "adam", "beta1": 0.9, "beta2": 0.999, "eps": 1e-8},
    "schedule": "constant",
    "margin": 0.01,
    "checks": {
        "initial_loss_tolerance": 0.1,
        "overfit_lr": 3e-3,
        "overfit_epochs": 60,
        "overfit_accuracy": 1.0,
    },
    "data": {"source": "digits", "path": "data/folder", "image_size": 32},
    "suites": {"tricks": {"epochs": 2, "batch_size": 16, "model": "tf_cnn"}},
    "runs": {"small": {"suite": "tricks"}},
    "students": {},
}


def run_config(**own: Any) -> RunConfig:
    """Return the configuration of a run with these keys, and the ones above for all others."""
    return config.resolve({**PARAMS, "runs": {"small": {"suite": "tricks", **own}}})["small"]


def dataset(count: int = 40, classes: int = 4, seed: int = 0, size: int = 20) -> Dataset:
    """Return random images with a bright square whose position tells the class."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count, dtype=np.int64) % classes
    images = rng.integers(0, 100, (count, 3, size, size), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[:, 4 * label : 4 * label + 4, 4 * label : 4 * label + 4] += 150
    fractions = images / 255
    mean, std = fractions.mean((0, 2, 3)).tolist(), fractions.std((0, 2, 3)).tolist()
    names = [f"class {c}" for c in range(classes)]
    return Dataset(images, labels, names, mean, std, fractions.mean(0).astype(np.float32))


def data(**kwargs: Any) -> Data:
    """Return training and test images of the same kind."""
    return Data(dataset(**kwargs), scored(**kwargs))


def scored(**kwargs: Any) -> Dataset:
    """Return the test images of :func:`data`."""
    train, test = dataset(**kwargs), dataset(**{**kwargs, "count": 12, "seed": 1})
    return replace(train, images=test.images, labels=test.labels)
