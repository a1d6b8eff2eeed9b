"""The arithmetic of training: floating-point operations of a run, counted."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from pandas import DataFrame

from trainlab.config import RunConfig
from trainlab.data.batches import Batches
from trainlab.data.stored import Dataset
from trainlab.training import devices
from trainlab.training.loop import Images, Replica, build

PETA = 1e15
COLUMNS = ["suite", "run", "petaflop", "accuracy", "accuracy_low", "accuracy_high", "replicas"]
CPU = torch.device("cpu")


def compute(configs: Mapping[str, RunConfig], metrics: DataFrame, images: Dataset) -> DataFrame:
    """Return the arithmetic of each run's training beside its accuracy.

    Parameters
    ----------
    configs
        By run: all runs of one suite.
    metrics
        One row per run, with the columns ``run, accuracy, accuracy_low, accuracy_high, replicas``.
    images
        The training images.

    Returns
    -------
    DataFrame
        ``suite, run``, ``petaflop`` per replica, then the columns of ``metrics``.
    """
    rows = [
        {"suite": config.suite, "run": run, "petaflop": operations(config, images) / PETA}
        for run, config in configs.items()
    ]
    return DataFrame(rows).merge(metrics, on="run")[COLUMNS]


def operations(config: RunConfig, images: Dataset) -> int:
    """Return the floating-point operations of training one replica: a multiplication and an addition count as two.

    Matrix products and convolutions are counted, in the forward pass, the backward pass and the optimizer; the rest is
    much less. The scores of a student's teacher and the scoring after each epoch are left out.

    Parameters
    ----------
    config
        The run.
    images
        Training images; only their shape, classes and number are used.
    """
    count = config.subset or len(images.labels) - round(config.validation * len(images.labels))
    # A step's operations are a linear function of its images: those of the optimizer do not depend on them.
    two, four = (_of_a_step(config, images, number) for number in (2, 4))
    per_image, per_step = (four - two) // 2, 2 * two - four
    steps = -(-count // config.batch_size)
    return config.epochs * (count * per_image + steps * per_step)


def _of_a_step(config: RunConfig, images: Dataset, number: int) -> int:
    """Count the operations of a training step with this many images."""
    from torch.utils.flop_counter import FlopCounterMode  # imports triton, which the pictures do not need

    classes = len(images.classes)
    pixels = np.random.default_rng(0).integers(0, 256, (number, *images.shape), np.uint8)
    some = replace(images, images=pixels, labels=np.arange(number) % classes)
    teacher = np.zeros((1, number, classes), np.float32) if config.objective.needs_teacher else None
    batches = Batches(some, inputs=config.inputs, device=CPU)
    with devices.seeded(0, CPU), FlopCounterMode(display=False) as counter:
        replica = Replica(config, build(config, images.shape, classes, CPU), Images(batches, {}, classes, teacher), 0)
        before = counter.get_total_flops()
        replica.step(torch.arange(number), lr=0.0)
        return int(counter.get_total_flops() - before)
