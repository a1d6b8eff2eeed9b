"""What Git keeps of a run's predictions: the predicted classes, a byte per image and replica, without scores."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainlab.evaluation.metrics import Predictions
from trainlab.files import read_tensors, reading, write_tensors

DIRECTORY = "predicted_classes"  # has SUITE/RUN.safetensors, as predictions/ has


@dataclass(frozen=True, eq=False)
class PredictedClasses:
    """The classes that a run's replicas predict for a set of images, with the labels of the images.

    They are enough to compare accuracies and F1; the loss and the calibration need the scores.

    Parameters
    ----------
    predicted
        Class indices, int64, ``[replicas, images]``.
    labels
        Class indices, int64, ``[images]``.
    classes
        Class names in the order of the indices.
    checksum
        MD5 of the file of predictions that has their scores, as dvc.lock states it.

    Raises
    ------
    ValueError
        If the shapes do not match, or an index is not that of a class.
    """

    predicted: NDArray[np.int64]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    checksum: str

    def __post_init__(self) -> None:
        if self.predicted.ndim != 2 or 0 in self.predicted.shape or self.labels.shape != self.predicted.shape[1:]:
            shapes = f"{list(self.predicted.shape)} and {list(self.labels.shape)}"
            raise ValueError(f"the shapes are {shapes}, not [replicas, images] and [images]")
        for array in (self.predicted, self.labels):
            if array.dtype.kind not in "iu" or array.min() < 0 or array.max() >= len(self.classes):
                raise ValueError(f"a class is not one of 0…{len(self.classes) - 1}")
        object.__setattr__(self, "predicted", self.predicted.astype(np.int64))
        object.__setattr__(self, "labels", self.labels.astype(np.int64))

    def save(self, path: Path) -> None:
        """Write the tensors ``predicted`` and ``labels`` as safetensors; the same classes give the same bytes."""
        small = np.min_scalar_type(len(self.classes) - 1)
        tensors = {"labels": self.labels.astype(small), "predicted": self.predicted.astype(small)}
        write_tensors(path, tensors, {"classes": list(self.classes), "checksum": self.checksum})

    @classmethod
    def of(cls, path: Path) -> "PredictedClasses":
        """Return those of a file of predictions.

        Raises
        ------
        UserError
            If the file is missing or does not contain predictions.
        """
        scored = Predictions.load(path)
        checksum = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
        return cls(scored.predicted, scored.labels, scored.classes, checksum)

    @classmethod
    def load(cls, path: Path) -> "PredictedClasses":
        """Read a file of :meth:`save`.

        Raises
        ------
        UserError
            If the file is missing or does not contain predicted classes.
        """
        with reading(path, f"predicted_classes@{path.parent.name}"):
            tensors, record = read_tensors(path)
            return cls(tensors["predicted"], tensors["labels"], tuple(record["classes"]), str(record["checksum"]))


def load(path: Path) -> Predictions | PredictedClasses:
    """Read a file of predictions, with scores or without: the directory tells.

    Raises
    ------
    UserError
        If the file is missing or contains neither.
    """
    return PredictedClasses.load(path) if DIRECTORY in path.parts else Predictions.load(path)
