"""The images that every run trains and is tested on: how they are stored, and loaded again.

A directory holds `train.safetensors` and `test.safetensors` (tensors `images`, `labels` and `mean_image`) and `stats.json`.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from trainlab.errors import UserError
from trainlab.files import directory_written_whole, write_text


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
    """Stored images with what is known about them.

    Parameters
    ----------
    images
        ``[N, channels, height, width]``, uint8.
    labels
        Class indices, ``[N]``, int64, in [0, ``len(classes)``).
    classes
        Name of each class.
    mean, std
        Of each channel, over all pixels of the *training* images scaled to [0, 1], whichever split ``images`` is. The
        standard deviation is the population's (divisor N) and is 0 for a channel that never varies: guard a division.
    mean_image
        Mean of the *training* images scaled to [0, 1], ``[channels, height, width]``, float32.
    """

    images: np.ndarray
    labels: np.ndarray
    classes: list[str]
    mean: list[float]
    std: list[float]
    mean_image: np.ndarray


class Data(NamedTuple):
    """The images that a run learns from, and those that score it (None where something is still being chosen)."""

    train: Dataset
    test: Dataset | None


def save(directory: Path, train: Split, test: Split, classes: list[str]) -> None:
    """Store a data set as ``directory``, whole or not at all; the same images give the same bytes.

    ``stats.json`` gets ``classes``, ``counts`` (images of each class, by split), ``mean`` and ``std`` (see
    :class:`Dataset`) and ``image_shape`` (channels, height, width).

    Raises
    ------
    ValueError
        When images, labels and classes do not go together.
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
            tensors = {key: np.ascontiguousarray(value) for key, value in tensors.items()}
            # Not `save_file`: its error on a full disk is no OSError.
            (aside / f"{name}.safetensors").write_bytes(safetensors.numpy.save(tensors))
        write_text(aside / "stats.json", json.dumps(stats, indent=2, ensure_ascii=False) + "\n")


def load_data(directory: Path) -> Data:
    """Load both splits of a stored data set; raises what :func:`load` raises."""
    return Data(load(directory / "train.safetensors"), load(directory / "test.safetensors"))


def load(path: Path) -> Dataset:
    """Load ``train.safetensors`` or ``test.safetensors``, and ``stats.json`` from beside it.

    Raises
    ------
    UserError
        When a file is missing or damaged, or the two do not go together.
    """
    stats_path = path.with_name("stats.json")
    for file in (path, stats_path):
        if not file.is_file():
            raise UserError(f"{file} does not exist: run `dvc repro normalize`")
    try:
        tensors = safetensors.numpy.load_file(path)
        images, labels, mean_image = tensors["images"], tensors["labels"], tensors["mean_image"]
    except (SafetensorError, KeyError) as error:
        raise _unusable(path, "it is damaged") from error
    try:
        stats: dict[str, Any] = json.loads(stats_path.read_bytes())
        classes, shape = [str(name) for name in stats["classes"]], tuple(stats["image_shape"])
        mean, std = [float(value) for value in stats["mean"]], [float(value) for value in stats["std"]]
    except (ValueError, KeyError, TypeError) as error:
        raise _unusable(stats_path, "it is damaged") from error
    problem = _problem(images, labels, len(classes))
    if not problem and not (images.shape[1:] == mean_image.shape == shape and len(mean) == len(std) == shape[0]):
        problem = f"its images do not go with {stats_path.name}"
    if problem:
        raise _unusable(path, problem)
    return Dataset(images, labels, classes, mean, std, mean_image)


def _unusable(path: Path, problem: str) -> UserError:
    return UserError(f"{path} cannot be used, {problem}: delete it, then run `dvc repro normalize`")


def _problem(images: np.ndarray, labels: np.ndarray, num_classes: int) -> str:
    """What is wrong with a split, or nothing."""
    if images.dtype != np.uint8 or images.ndim != 4 or 0 in images.shape:
        return f"its images are {images.dtype}{list(images.shape)} instead of uint8[N, channels, height, width]"
    if labels.dtype != np.int64 or labels.shape != images.shape[:1]:
        return f"its labels are {labels.dtype}{list(labels.shape)} instead of int64[{len(images)}]"
    if labels.min() < 0 or labels.max() >= num_classes:
        return f"its labels run from {labels.min()} to {labels.max()} for {num_classes} classes"
    return ""


def _counts(labels: np.ndarray, classes: list[str]) -> dict[str, int]:
    return dict(zip(classes, np.bincount(labels, minlength=len(classes)).tolist(), strict=True))


def _statistics(images: np.ndarray) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel in [0, 1], from exact sums of integers."""
    mean, std = [], []
    for channel in range(images.shape[1]):
        histogram = np.zeros(256, np.int64)
        for start in range(0, len(images), 256):  # `bincount` makes its input eight times as large
            histogram += np.bincount(images[start : start + 256, channel].ravel(), minlength=256)
        counts = histogram.tolist()
        n, total = sum(counts), sum(value * count for value, count in enumerate(counts))
        squares = sum(value**2 * count for value, count in enumerate(counts))
        mean.append(total / (255 * n))
        std.append((n * squares - total**2) ** 0.5 / (255 * n))
    return mean, std
