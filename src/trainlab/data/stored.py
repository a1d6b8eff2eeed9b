"""Store and load the normalized data set that every run trains and is tested on.

A directory holds `train.safetensors` and `test.safetensors` (tensors `images`, `labels` and `mean_image`) and `stats.json`.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trainlab.files import directory_written_whole, read_tensors, reading, write_json, write_tensors


@dataclass(frozen=True, eq=False)
class Split:
    """The training or the test images of a source.

    Parameters
    ----------
    images
        ``[N, channels, height, width]``, uint8.
    labels
        Class indices, ``[N]``, int64, in [0, number of classes).
    """

    images: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True, eq=False)
class Dataset:
    """One stored split with the class names and the statistics of the training images.

    Parameters
    ----------
    images
        ``[N, channels, height, width]``, uint8.
    labels
        Class indices, ``[N]``, int64, in [0, ``len(classes)``).
    classes
        Class names, in the order of the class indices.
    mean, std
        Mean and standard deviation per channel over all pixels of the *training* images scaled to [0, 1], whichever split
        ``images`` is. The standard deviation is the population's (divisor N). It is 0 for a constant channel, so check
        before dividing by it.
    mean_image
        Mean of the *training* images scaled to [0, 1], ``[channels, height, width]``, float32.
    """

    images: np.ndarray
    labels: np.ndarray
    classes: list[str]
    mean: list[float]
    std: list[float]
    mean_image: np.ndarray

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(channels, height, width)`` of an image."""
        _, channels, height, width = self.images.shape
        return channels, height, width


class Data(NamedTuple):
    """The training images and the test images (None during a search, which must not see them)."""

    train: Dataset
    test: Dataset | None


def save(directory: Path, train: Split, test: Split, classes: list[str]) -> None:
    """Write a data set to ``directory``, completely or not at all; the same images give the same bytes.

    ``stats.json`` contains ``classes``, ``counts`` (images per class, by split), ``mean`` and ``std`` (see
    :class:`Dataset`) and ``image_shape`` (channels, height, width).

    Parameters
    ----------
    directory
        Is created, or replaced where it exists.
    train, test
        The two splits.
    classes
        Class names, in the order of the class indices.

    Raises
    ------
    ValueError
        If images, labels and classes do not match.
    """
    for split in (train, test):
        if problem := _problem(split.images, split.labels, len(classes)):
            raise ValueError(problem)
    mean, std = _statistics(train.images)
    mean_image = (train.images.sum(0, dtype=np.int64) / (255 * len(train.images))).astype(np.float32)
    stats = {
        "classes": classes,
        "counts": {"train": _counts(train.labels, classes), "test": _counts(test.labels, classes)},
        "mean": mean,
        "std": std,
        "image_shape": list(train.images.shape[1:]),
    }
    with directory_written_whole(directory) as aside:
        for name, split in (("train", train), ("test", test)):
            tensors = {"images": split.images, "labels": split.labels, "mean_image": mean_image}
            write_tensors(aside / f"{name}.safetensors", tensors)
        write_json(aside / "stats.json", stats)


def load_data(directory: Path) -> Data:
    """Load both splits of a stored data set; raises the errors of :func:`load`."""
    return Data(load(directory / "train.safetensors"), load(directory / "test.safetensors"))


def load(path: Path) -> Dataset:
    """Load ``train.safetensors`` or ``test.safetensors``, and ``stats.json`` from the same directory.

    Raises
    ------
    UserError
        If a file is missing or damaged, or the two do not match.
    """
    stats_path = path.with_name("stats.json")
    with reading(stats_path, "normalize"):
        stats: dict[str, Any] = json.loads(stats_path.read_bytes())
        classes, shape = [str(name) for name in stats["classes"]], tuple(stats["image_shape"])
        mean, std = [float(value) for value in stats["mean"]], [float(value) for value in stats["std"]]
    with reading(path, "normalize"):
        tensors, _ = read_tensors(path)
        images, labels, mean_image = tensors["images"], tensors["labels"], tensors["mean_image"]
        if problem := _problem(images, labels, len(classes)):
            raise ValueError(problem)
        if not (images.shape[1:] == mean_image.shape == shape and len(mean) == len(std) == shape[0]):
            raise ValueError(f"its images do not match {stats_path.name}")
    return Dataset(images, labels, classes, mean, std, mean_image)


def _problem(images: np.ndarray, labels: np.ndarray, num_classes: int) -> str:
    """Return what is wrong with a split, or an empty string."""
    if images.dtype != np.uint8 or images.ndim != 4 or 0 in images.shape:
        return f"its images are {images.dtype}{list(images.shape)} instead of uint8[N, channels, height, width]"
    if labels.dtype != np.int64 or labels.shape != images.shape[:1]:
        return f"its labels are {labels.dtype}{list(labels.shape)} instead of int64[{len(images)}]"
    if labels.min() < 0 or labels.max() >= num_classes:
        return f"its labels are {labels.min()} to {labels.max()}, and there are {num_classes} classes"
    return ""


def _counts(labels: np.ndarray, classes: list[str]) -> dict[str, int]:
    """Return the number of images per class."""
    return dict(zip(classes, np.bincount(labels, minlength=len(classes)).tolist(), strict=True))


def _statistics(images: np.ndarray) -> tuple[list[float], list[float]]:
    """Return the mean and standard deviation per channel, in [0, 1], from exact sums of integers."""
    mean, std = [], []
    for channel in range(images.shape[1]):
        histogram = np.zeros(256, np.int64)
        for start in range(0, len(images), 256):  # in blocks, because `bincount` converts its input to int64
            histogram += np.bincount(images[start : start + 256, channel].ravel(), minlength=256)
        counts = histogram.tolist()
        n, total = sum(counts), sum(value * count for value, count in enumerate(counts))
        squares = sum(value**2 * count for value, count in enumerate(counts))
        mean.append(total / (255 * n))
        std.append((n * squares - total**2) ** 0.5 / (255 * n))
    return mean, std
