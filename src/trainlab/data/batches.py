"""Batches in memory: all images are stored on the training device as uint8 and normalized to floats per batch."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainlab.data.stored import Dataset


class Batches:
    """The images of one split, on a device.

    Parameters
    ----------
    dataset
        Images, labels, and the statistics of the *training* images.
    inputs
        Normalization, with the statistics of the training images. `raw`: pixel values in [0, 1]. `channel_mean`: the
        channel's mean is subtracted. `mean_image`: the mean image is subtracted. `standardized`: the channel's mean is
        subtracted, and the result is divided by the channel's standard deviation (1 for a constant channel).
    device
        Device of the stored images and of the batches.
    """

    def __init__(self, dataset: Dataset, *, inputs: str, device: torch.device) -> None:
        count, channels, height, width = dataset.images.shape
        self.shape = (channels, height, width)
        # Channels last, one row per image: a batch is then one gather and one multiply-add over dense memory.
        rows = np.ascontiguousarray(dataset.images.transpose(0, 2, 3, 1)).reshape(count, -1)
        self._rows = torch.from_numpy(rows).to(device)
        self.labels = torch.from_numpy(dataset.labels).to(device)
        scale, shift = scale_and_shift(dataset, inputs)
        self._scale, self._shift = (torch.from_numpy(values).to(device) for values in (scale, shift))

    def __len__(self) -> int:
        return len(self.labels)

    # Pickled as NumPy arrays, which joblib can map from a file, so that processes share their memory.
    def __getstate__(self) -> dict[str, Any]:
        return {name: value.numpy() if isinstance(value, Tensor) else value for name, value in vars(self).items()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, torch.from_numpy(value) if isinstance(value, np.ndarray) else value)

    def take(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return the images and labels at the given positions.

        Parameters
        ----------
        index
            Positions, ``[batch]``, int64, on the device.

        Returns
        -------
        images
            ``[batch, channels, height, width]``, float32, channels last.
        labels
            ``[batch]``, int64.
        """
        return self._images(self._rows.index_select(0, index)), self.labels.index_select(0, index)

    def spread(self, count: int) -> Tensor:
        """Return the images at ``count`` positions with the same distance, or all images if there are fewer."""
        step = max(1, len(self) // count)
        return self.take(torch.arange(0, len(self), step, device=self.labels.device)[:count])[0]

    def slice(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Return the images and labels at positions ``start`` to ``stop - 1``, as :meth:`take` does."""
        return self._images(self._rows[start:stop]), self.labels[start:stop]

    def _images(self, rows: Tensor) -> Tensor:
        channels, height, width = self.shape
        floats = torch.addcmul(self._shift, rows.to(torch.float32), self._scale)
        return floats.view(-1, height, width, channels).permute(0, 3, 1, 2)


def scale_and_shift(dataset: Dataset, inputs: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the factor and the offset that normalize each byte of an image's row, ``[height * width * channels]``."""
    channels, height, width = dataset.images.shape[1:]
    mean, std = np.zeros((height, width, channels)), np.ones((height, width, channels))
    if inputs in ("channel_mean", "standardized"):
        mean += dataset.mean
    if inputs == "standardized":
        # A constant channel has a standard deviation of 0 and becomes 0.
        std *= [value if value > 0 else 1.0 for value in dataset.std]
    if inputs == "mean_image":
        mean = dataset.mean_image.transpose(1, 2, 0).astype(np.float64)
    return (1 / (255 * std)).astype(np.float32).ravel(), (-mean / std).astype(np.float32).ravel()
