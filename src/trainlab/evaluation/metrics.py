"""Metrics of predictions: accuracy, F1, loss, calibration, and the confusion matrix."""

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trainlab.evaluation import calibration
from trainlab.evaluation.calibration import Reliability
from trainlab.evaluation.statistics import accuracy_interval
from trainlab.evaluation.weights import count_weights
from trainlab.files import read_tensors, reading, write_json, write_tensors, write_text

if TYPE_CHECKING:
    from trainlab.training.model_file import TrainedModel

# One value per replica.
SCORES = ("accuracy", "f1_micro", "f1_macro", "f1_weighted", "loss", "calibration_error", "brier", "top2_accuracy")


@dataclass(frozen=True, eq=False)
class Predictions:
    """Scores of a run's replicas for a set of images, with the labels of the images.

    Parameters
    ----------
    scores
        Logits, float32, ``[replicas, images, classes]``.
    labels
        Class indices, int64, ``[images]``.
    classes
        Class names in the order of the scores.

    Raises
    ------
    ValueError
        If the shapes do not match, a score is not finite, or a label is not the index of a class.
    """

    scores: NDArray[np.float32]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        scores, labels = _checked(self.scores, self.labels, self.classes)
        object.__setattr__(self, "scores", np.ascontiguousarray(scores, np.float32))
        object.__setattr__(self, "labels", np.ascontiguousarray(labels))
        object.__setattr__(self, "classes", tuple(self.classes))

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The class with the highest score, of equal scores the first, ``[replicas, images]``."""
        highest: NDArray[np.int64] = self.scores.argmax(2)
        return highest

    def save(self, path: Path) -> None:
        """Write the tensors ``logits`` and ``labels`` as safetensors; the same predictions give the same bytes."""
        write_tensors(path, {"labels": self.labels, "logits": self.scores}, {"classes": list(self.classes)})

    @classmethod
    def load(cls, path: Path) -> "Predictions":
        """Read a file of :meth:`save`.

        Raises
        ------
        UserError
            If the file is missing or does not contain predictions.
        """
        with reading(path, f"compare@{path.parent.name}"):  # of runs and of students
            tensors, record = read_tensors(path)
            return cls(tensors["logits"], tensors["labels"], tuple(record["classes"]))


@dataclass(frozen=True, eq=False)
class Metrics:
    """Metrics of the predictions of a run's replicas.

    Accuracy and F1 are fractions in [0, 1]. Each image has one label and one prediction, so micro-F1 equals accuracy.

    Parameters
    ----------
    classes
        Class names, ``[classes]``.
    accuracy, f1_micro, f1_macro, f1_weighted
        ``[replicas]``.
    accuracy_interval
        95 % interval of the mean accuracy: :func:`trainlab.evaluation.statistics.accuracy_interval`.
    loss
        Mean over the images of −log softmax(scores)[label], in nats, ``[replicas]``.
    brier
        Brier score in [0, 2], see :func:`trainlab.evaluation.calibration.brier`, ``[replicas]``.
    top2_accuracy
        Fraction of the images whose label is one of the two classes with the highest scores, ``[replicas]``.
    reliability
        Confidence and accuracy in 15 bins of equal mass; ``calibration_error`` is their expected calibration error.
    precision, recall, f1
        ``[replicas, classes]``; 0 if a class is never predicted (precision) or has no images (recall).
    support
        Number of images per class, ``[classes]``.
    confusion
        Number of images per actual class (rows) and predicted class (columns), ``[replicas, classes, classes]``.
    """

    classes: tuple[str, ...]
    accuracy: NDArray[np.float64]
    accuracy_interval: tuple[float, float]
    f1_micro: NDArray[np.float64]
    f1_macro: NDArray[np.float64]
    f1_weighted: NDArray[np.float64]
    loss: NDArray[np.float64]
    brier: NDArray[np.float64]
    top2_accuracy: NDArray[np.float64]
    reliability: Reliability
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]
    support: NDArray[np.int64]
    confusion: NDArray[np.int64]

    @property
    def replicas(self) -> int:
        """The number of replicas."""
        return len(self.accuracy)

    @property
    def calibration_error(self) -> NDArray[np.float64]:
        """Expected calibration error of the predicted class, a fraction, ``[replicas]``."""
        return self.reliability.error

    def save(self, path: Path, record: Mapping[str, Any]) -> None:
        """Write the metrics over all classes as JSON.

        The keys are ``replicas``, ``test_images``, ``support`` (images by class), ``mean``, ``std`` and ``values`` of
        each of :data:`SCORES`, ``low`` and ``high`` of the accuracy, and those of the record.

        Parameters
        ----------
        path
            The file.
        record
            From :func:`training_record`.
        """
        support = self.support.tolist()
        low, high = self.accuracy_interval
        content: dict[str, Any] = {
            "replicas": self.replicas,
            "test_images": sum(support),
            "support": dict(zip(self.classes, support, strict=True)),
            **{name: _summary(getattr(self, name)) for name in SCORES},
            **record,
        }
        content["accuracy"] |= {"low": low, "high": high}
        write_json(path, content)

    def save_classes(self, path: Path) -> None:
        """Write precision, recall, F1 (means over the replicas) and support of each class as CSV."""
        scores = np.stack([self.precision, self.recall, self.f1], axis=2).mean(0)
        rows = (
            [name, *(f"{score:.6f}" for score in of_class), int(images)]
            for name, of_class, images in zip(self.classes, scores, self.support, strict=True)
        )
        _write_csv(path, ["class", "precision", "recall", "f1", "support"], rows)

    def save_confusion(self, path: Path) -> None:
        """Write the confusion matrix, summed over the replicas, as CSV: one row per pair of classes."""
        counts = self.confusion.sum(0)
        rows = (
            [actual, predicted, int(counts[i, j])]
            for i, actual in enumerate(self.classes)
            for j, predicted in enumerate(self.classes)
        )
        _write_csv(path, ["actual", "predicted", "count"], rows)

    def save_reliability(self, path: Path) -> None:
        """Write number of images, mean confidence and accuracy per replica and bin as CSV; empty bins have no row."""
        bins = self.reliability
        rows = (
            [*place, int(images), f"{bins.confidence[place]:.6f}", f"{bins.accuracy[place]:.6f}"]
            for place, images in np.ndenumerate(bins.images)
            if images
        )
        _write_csv(path, ["replica", "bin", "images", "confidence", "accuracy"], rows)


def evaluate(scores: ArrayLike, labels: ArrayLike, classes: Sequence[str]) -> Metrics:
    """Return the metrics of predictions.

    Parameters
    ----------
    scores
        Logits, ``[images, classes]`` or ``[replicas, images, classes]``. The prediction is the class with the highest
        score; of equal scores, the first.
    labels
        Class indices, ``[images]``.
    classes
        Class names. Macro averages include all of them, also classes without images.

    Raises
    ------
    ValueError
        If the shapes do not match, a score is not finite, or a label is not the index of a class.
    """
    from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, precision_recall_fscore_support

    scores, labels = _checked(scores, labels, classes)
    predicted = scores.argmax(2)
    every = np.arange(len(classes))

    def each(score: Callable[..., Any], **options: Any) -> NDArray[Any]:
        return np.array([score(labels, replica, **options) for replica in predicted])

    def f1_average(average: str) -> NDArray[np.float64]:
        return each(f1_score, labels=every, average=average, zero_division=0)

    shares = calibration.probabilities(scores)
    by_class = each(precision_recall_fscore_support, labels=every, zero_division=0)
    return Metrics(
        classes=tuple(classes),
        accuracy=each(accuracy_score),
        accuracy_interval=accuracy_interval(predicted == labels),
        f1_micro=f1_average("micro"),
        f1_macro=f1_average("macro"),
        f1_weighted=f1_average("weighted"),
        loss=_cross_entropy(scores, labels),
        brier=calibration.brier(shares, labels),
        top2_accuracy=_top2_accuracy(scores, labels),
        reliability=calibration.reliability(shares.max(2), predicted == labels),
        precision=by_class[:, 0],
        recall=by_class[:, 1],
        f1=by_class[:, 2],
        support=np.bincount(labels, minlength=len(classes)),
        confusion=each(confusion_matrix, labels=every),
    )


def training_record(trained: "TrainedModel") -> dict[str, Any]:
    """Return how a run was trained and how large its model is, as plain values.

    Returns
    -------
    dict
        ``training``: ``epochs``; ``subset``, the number of training images (None for all); ``validation``, the fraction
        of the training images that was held out (None for none); ``precision``, the one that was used, which may
        differ from the configured one; ``trained_on``, the device in words; ``threads``; ``torch``, its version;
        ``views``, which views of each test image were averaged, if any.
        ``model``: see :func:`trainlab.evaluation.weights.count_weights`.
    """
    config, used = trained.config, trained.trained_on
    training = {
        "epochs": config.epochs,
        "subset": config.subset or None,
        "validation": config.validation or None,
        "precision": used.get("precision", config.precision),  # models of version 0.1 do not record it
        "trained_on": trained.describe(),
        "threads": used["threads"],
        "torch": used["torch"],
    }
    if config.views:
        training["views"] = config.views
    return {"training": training, "model": count_weights(trained)}


def _cross_entropy(scores: NDArray[Any], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the mean of −log softmax(scores)[label] over the images, ``[replicas]``; finite for any float32 scores."""
    below_top = scores.astype(np.float64)
    below_top -= below_top.max(2, keepdims=True)
    of_label = np.take_along_axis(below_top, labels[None, :, None], 2)[:, :, 0]
    losses: NDArray[np.float64] = (np.log(np.exp(below_top).sum(2)) - of_label).mean(1)
    return losses


def _top2_accuracy(scores: NDArray[Any], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the fraction of labels among the two highest scores, ``[replicas]``; of equal scores, the first is higher."""
    of_label = np.take_along_axis(scores, labels[None, :, None], 2)
    first = np.arange(scores.shape[2]) < labels[:, None]
    higher = (scores > of_label) | ((scores == of_label) & first)
    fractions: NDArray[np.float64] = (higher.sum(2) < 2).mean(1)
    return fractions


def _checked(scores: ArrayLike, labels: ArrayLike, classes: Sequence[str]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return scores as ``[replicas, images, classes]`` and labels as int64 ``[images]``, or raise a ValueError."""
    scores, labels = np.asarray(scores), np.asarray(labels)
    if scores.ndim == 2:
        scores = scores[None]
    if scores.ndim != 3 or 0 in scores.shape:
        raise ValueError(f"scores have shape {scores.shape}, not [images, classes] or [replicas, images, classes]")
    if scores.dtype.kind not in "iuf":
        raise ValueError(f"scores are {scores.dtype}, not real numbers")
    if scores.shape[2] != len(classes):
        raise ValueError(f"scores have {scores.shape[2]} classes, but {len(classes)} are named")
    if labels.shape != scores.shape[1:2]:
        raise ValueError(f"labels have shape {labels.shape}, but there are scores of {scores.shape[1]} images")
    if labels.dtype.kind not in "iu":
        raise ValueError(f"labels are {labels.dtype}, not class indices")
    if not np.isfinite(scores).all():
        at = tuple(int(i) for i in np.argwhere(~np.isfinite(scores))[0])
        raise ValueError(f"the score of replica {at[0]}, image {at[1]}, class {at[2]} is {scores[at]}")
    outside = (labels < 0) | (labels >= len(classes))
    if outside.any():
        image = int(outside.argmax())
        raise ValueError(f"the label of image {image} is {labels[image]}, not one of 0…{len(classes) - 1}")
    return scores, labels.astype(np.int64)


def _summary(values: NDArray[np.float64]) -> dict[str, Any]:
    # One replica has no standard deviation; a 0 would look like certainty.
    std = float(values.std(ddof=1)) if len(values) > 1 else None
    return {"mean": float(values.mean()), "std": std, "values": values.tolist()}


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    write_text(path, text.getvalue())
