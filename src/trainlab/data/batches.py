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
        `raw`: pixel values in [0, 1]. `standardized`: minus the channel's mean, over its standard deviation.
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
        self._scale, self._shift = (torch.from_numpy(np.tile(v, height * width)).to(device) for v in (scale, shift))

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
    """Per channel: what a byte is multiplied by, and what is added then."""
    if inputs == "raw":
        mean, std = np.zeros(len(dataset.mean)), np.ones(len(dataset.std))
    else:
        mean, std = np.asarray(dataset.mean), np.asarray(dataset.std)
        std = np.where(std > 0, std, 1.0)  # a channel that never changes says nothing: it becomes 0
    return (1 / (255 * std)).astype(np.float32), (-mean / std).astype(np.float32)
