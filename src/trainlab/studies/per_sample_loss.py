"""Histograms of the losses of single images, −log p(label), of the training and test images during training."""

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

LOW, HIGH, BINS = 1e-5, 10.0, 60  # ten bins per decade; losses below LOW and above HIGH have one bin each
COLUMNS = ["epoch", "split", "low", "high", "count"]


def edges() -> np.ndarray:
    """Return the edges of the bins, from 0 to infinity, ``[BINS + 3]``."""
    return np.concatenate([[0], np.geomspace(LOW, HIGH, BINS + 1), [np.inf]])


def is_recorded(epoch: int) -> bool:
    """Return whether an epoch has histograms: the first ten epochs, then every fifth."""
    return epoch <= 10 or epoch % 5 == 0


class Histograms:
    """Collect histograms: pass :meth:`add` to :func:`trainlab.training.replicas.train` as ``on_network``.

    Parameters
    ----------
    config
        The run, with one replica.
    data
        Its images.

    Raises
    ------
    UserError
        If the run has a subset, validation images, a teacher or several replicas.
    """

    def __init__(self, config: RunConfig, data: Data) -> None:
        keys = [key for key in ("subset", "validation", "teacher") if getattr(config, key)]
        if config.replicas > 1:
            keys.append("replicas")
        if keys:
            raise UserError(
                f"run {config.run} sets {' and '.join(keys)}: losses of single images are recorded for all images of one"
                f" network that is trained on labels; name a run that does not set {' or '.join(keys)}"
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
        """Record the losses of all images if :func:`is_recorded` says so for this epoch."""
        epoch, bounds = int(row["epoch"]), edges()
        if not is_recorded(epoch):
            return
        for split, images in self._images.items():
            outputs = outputs_of(net, images)
            losses = per_sample(self._config.objective.scores(outputs), images.labels)
            rows = {"epoch": epoch, "split": split, "low": bounds[:-1], "high": bounds[1:]}
            self._rows.append(DataFrame({**rows, "count": np.histogram(losses, bounds)[0]}))

    def table(self) -> DataFrame:
        """Return one row per bin: ``epoch, split`` (`train` or `test`), ``low, high`` (nats), ``count`` (images)."""
        return pd.concat(self._rows, ignore_index=True)


def per_sample(scores: torch.Tensor, labels: torch.Tensor) -> np.ndarray:
    """Return −log softmax(scores)[label] of each image, ``[images]``, in float64: in float32 it is 0 below 1e-7."""
    losses: np.ndarray = F.cross_entropy(scores.double(), labels, reduction="none").cpu().numpy()
    return losses


def caption(histograms: DataFrame) -> str:
    """Return what must be stated beside pictures of :meth:`Histograms.table`."""
    first = histograms[histograms["epoch"] == histograms["epoch"].iloc[0]]
    images = first.groupby("split", sort=False)["count"].sum()
    counts = " and ".join(
        f"{count:,} {'training' if split == 'train' else split} images" for split, count in images.items()
    )
    return f"−log of the label's probability for {counts}, after the epoch."
