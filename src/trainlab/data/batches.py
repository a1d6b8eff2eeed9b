"""Batches in memory: all images on the training device as bytes, made into normalized floats a batch at a time."""

import numpy as np
import torch
from torch import Tensor

from trainlab.data.stored import Dataset


class Batches:
    """The images of one split on a device.

    Parameters
    ----------
    dataset
        Images and labels, and the statistics of the *training* images.
    inputs
        `raw`: pixel values in [0, 1]. `channel_mean`: minus the channel's mean. `mean_image`: minus the mean image.
        `standardized`: minus the channel's mean, over its standard deviation. All of the training images.
    device
        Where the images live and the batches come from.
    """

    def __init__(self, dataset: Dataset, *, inputs: str, device: torch.device) -> None:
        count, channels, height, width = dataset.images.shape
        self.shape = (channels, height, width)
        # Channels last, one row an image: a batch is then one gather and one multiply-add over dense memory.
        rows = np.ascontiguousarray(dataset.images.transpose(0, 2, 3, 1)).reshape(count, -1)
        self._rows = torch.from_numpy(rows).to(device)
        self.labels = torch.from_numpy(dataset.labels).to(device)
        scale, shift = _scale_and_shift(dataset, inputs)
        self._scale, self._shift = (torch.from_numpy(values).to(device) for values in (scale, shift))

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Images ``[batch, channels, height, width]`` (float32, channels last) and labels ``[batch]`` at these positions."""
        return self._images(self._rows.index_select(0, index)), self.labels.index_select(0, index)

    def slice(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """The same for a range of positions."""
        return self._images(self._rows[start:stop]), self.labels[start:stop]

    def _images(self, rows: Tensor) -> Tensor:
        channels, height, width = self.shape
        floats = torch.addcmul(self._shift, rows.to(torch.float32), self._scale)
        return floats.view(-1, height, width, channels).permute(0, 3, 1, 2)


def _scale_and_shift(dataset: Dataset, inputs: str) -> tuple[np.ndarray, np.ndarray]:
    """What each byte of an image's row is multiplied by, and what is added then."""
    channels, height, width = dataset.images.shape[1:]
    mean, std = np.zeros((height, width, channels)), np.ones((height, width, channels))
    if inputs in ("channel_mean", "standardized"):
        mean += dataset.mean
    if inputs == "standardized":
        # A channel that never changes says nothing: it becomes 0.
        std *= [value if value > 0 else 1.0 for value in dataset.std]
    if inputs == "mean_image":
        mean = dataset.mean_image.transpose(1, 2, 0).astype(np.float64)
    return (1 / (255 * std)).astype(np.float32).ravel(), (-mean / std).astype(np.float32).ravel()
