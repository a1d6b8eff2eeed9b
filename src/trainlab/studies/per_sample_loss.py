"""How the losses of single images are distributed while a run is trained: histograms of −log p(label)."""

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from pandas import DataFrame

from trainlab.config import RunConfig
from trainlab.data.batches import Batches
from trainlab.data.stored import Data
from trainlab.errors import UserError
from trainlab.models.base import Network
from trainlab.training import devices
from trainlab.training.inference import outputs_of
from trainlab.training.loop import Row

LOW, HIGH, BINS = 1e-5, 10.0, 60  # ten bins a decade; what lies beyond has a bin of its own on either side


def edges() -> np.ndarray:
    """Edges of the bins, from 0 to infinity, ``[BINS + 3]``."""
    return np.concatenate([[0], np.geomspace(LOW, HIGH, BINS + 1), [np.inf]])


def is_looked_at(epoch: int) -> bool:
    """Whether an epoch is: the first ten, and every fifth from there on."""
    return epoch <= 10 or epoch % 5 == 0


class Histograms:
    """Give :meth:`add` to :func:`trainlab.training.train` as ``on_network``; then :meth:`table` holds the histograms.

    Parameters
    ----------
    config
        The run, of one replica.
    data
        Its images.

    Raises
    ------
    UserError
        Where the run has a subset, validation images, a teacher or several replicas.
    """

    def __init__(self, config: RunConfig, data: Data) -> None:
        for key in ("subset", "validation", "teacher"):
            if value := getattr(config, key):
                raise UserError(
                    f"run {config.run} has {key} {value}, and the losses of all images of a run with labels alone are looked"
                    f" at: name a run without {key}"
                )
        if config.replicas > 1:
            raise UserError(
                f"run {config.run} has {config.replicas} replicas, and one is looked at: name a run that has one"
            )
        self._config = config
        place = devices.prepare(config.device, config.threads)
        splits = {"train": data.train, "test": data.test}
        self._images = {
            split: Batches(images, inputs=config.inputs, device=place)
            for split, images in splits.items()
            if images is not None
        }
        self._rows: list[DataFrame] = []

    def add(self, row: Row, net: Network) -> None:
        """Look at all images, after the epochs that :func:`is_looked_at` names."""
        epoch, bounds = int(row["epoch"]), edges()
        if not is_looked_at(epoch):
            return
        for split, images in self._images.items():
            outputs = outputs_of(net, images, precision=self._config.precision)
            losses = per_sample(self._config.objective.scores(outputs), images.labels)
            rows = {"epoch": epoch, "split": split, "low": bounds[:-1], "high": bounds[1:]}
            self._rows.append(DataFrame({**rows, "count": np.histogram(losses, bounds)[0]}))

    def table(self) -> DataFrame:
        """One row a bin: ``epoch, split`` (`train` or `test`), ``low, high`` (nats), ``count`` (images)."""
        return pd.concat(self._rows, ignore_index=True)


def per_sample(scores: torch.Tensor, labels: torch.Tensor) -> np.ndarray:
    """−log softmax(scores)[label] of each image, ``[images]``, in float64: in float32 it is 0 below 1e-7."""
    losses: np.ndarray = F.cross_entropy(scores.double(), labels, reduction="none").cpu().numpy()
    return losses
