"""Predictions to numbers: how often is a trained run right, how surprised is it, and which classes does it mix up?"""

import csv
import io
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trainlab.errors import UserError
from trainlab.files import write_text, written_whole


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a run's replicas say about a set of images, and what the images are.

    Parameters
    ----------
    scores
        Logits, float32, ``[replicas, images, classes]``.
    labels
        Class indices, int64, ``[images]``.
    classes
        Class names, in the order of the scores.

    Raises
    ------
    ValueError
        If the shapes do not fit together, a score is not finite or a label is no class.
    """

    scores: NDArray[np.float32]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        scores, labels = _checked(self.scores, self.labels, self.classes)
        object.__setattr__(self, "scores", np.ascontiguousarray(scores, np.float32))
        object.__setattr__(self, "labels", np.ascontiguousarray(labels, np.int64))
        object.__setattr__(self, "classes", tuple(self.classes))

    def save(self, path: Path) -> None:
        """Write tensors ``logits`` and ``labels`` as safetensors: the same predictions give the same bytes."""
        from safetensors.numpy import save

        # One metadata key, because safetensors writes several in random order.
        metadata = {"trainlab": json.dumps({"classes": list(self.classes)}, sort_keys=True)}
        with written_whole(path) as aside:
            # As bytes, because safetensors' own writer hides a full disk.
            aside.write_bytes(save({"labels": self.labels, "logits": self.scores}, metadata))

    @classmethod
    def load(cls, path: Path) -> "Predictions":
        """Read what :meth:`save` wrote.

        Raises
        ------
        UserError
            If the file is missing, or holds no predictions.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="numpy") as file:
                classes = json.loads(file.metadata()["trainlab"])["classes"]
                return cls(file.get_tensor("logits"), file.get_tensor("labels"), tuple(classes))
        except FileNotFoundError:
            raise UserError(f"{path} is missing: `dvc repro` makes it") from None
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{path} holds no predictions ({error}): delete it, then `dvc repro` makes it anew"
            ) from None


@dataclass(frozen=True, eq=False)
class Metrics:
    """How good the predictions of a run's replicas are.

    Accuracy and F1 are fractions in [0, 1]. An image has one label and gets one prediction: micro-F1 is the accuracy.

    Parameters
    ----------
    classes
        Class names, ``[classes]``.
    accuracy, f1_micro, f1_macro, f1_weighted
        ``[replicas]``.
    loss
        Mean over the images of −log softmax(scores)[label], in nats, ``[replicas]``.
    precision, recall, f1
        ``[replicas, classes]``; 0 where a class is never predicted (precision) or has no images (recall).
    support
        Images of each class, ``[classes]``.
    confusion
        Images by actual class (rows) and predicted class (columns), ``[replicas, classes, classes]``.
    """

    classes: tuple[str, ...]
    accuracy: NDArray[np.float64]
    f1_micro: NDArray[np.float64]
    f1_macro: NDArray[np.float64]
    f1_weighted: NDArray[np.float64]
    loss: NDArray[np.float64]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]
    support: NDArray[np.int64]
    confusion: NDArray[np.int64]

    @property
    def replicas(self) -> int:
        return len(self.accuracy)

    def save(self, path: Path, *, trained_on: str | None = None) -> None:
        """Write the metrics of the whole set as JSON: ``replicas``, and mean, std and values of each metric.

        Parameters
        ----------
        trained_on
            The device that trained the run, such as "cpu (AVX512), 2 threads".
        """
        content: dict[str, Any] = {"replicas": self.replicas}
        for name in ("accuracy", "f1_micro", "f1_macro", "f1_weighted", "loss"):
            content[name] = _summary(getattr(self, name))
        if trained_on is not None:
            content["trained_on"] = trained_on
        write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")

    def save_classes(self, path: Path) -> None:
        """Write the classification report as CSV: precision, recall, F1 (means over the replicas) and support."""
        scores = np.stack([self.precision, self.recall, self.f1], axis=2).mean(0)
        rows = (
            [name, *(f"{score:.6f}" for score in of_class), int(images)]
            for name, of_class, images in zip(self.classes, scores, self.support, strict=True)
        )
        _write_csv(path, ["class", "precision", "recall", "f1", "support"], rows)

    def save_confusion(self, path: Path) -> None:
        """Write the confusion matrix, summed over the replicas, as CSV: one row for each pair of classes."""
        counts = self.confusion.sum(0)
        rows = (
            [actual, predicted, int(counts[i, j])]
            for i, actual in enumerate(self.classes)
            for j, predicted in enumerate(self.classes)
        )
        _write_csv(path, ["actual", "predicted", "count"], rows)


def evaluate(scores: ArrayLike, labels: ArrayLike, classes: Sequence[str]) -> Metrics:
    """Score predictions against the labels.

    Parameters
    ----------
    scores
        Logits, ``[images, classes]`` or ``[replicas, images, classes]``. The highest is the prediction; among equals,
        the first.
    labels
        Class indices, ``[images]``.
    classes
        Class names. All of them count in macro averages, also one without images.

    Raises
    ------
    ValueError
        If the shapes do not fit together, a score is not finite or a label is no class.
    """
    from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, precision_recall_fscore_support

    scores, labels = _checked(scores, labels, classes)
    predicted = scores.argmax(2)
    every = np.arange(len(classes))

    def each(score: Callable[..., Any], **options: Any) -> NDArray[Any]:
        return np.array([score(labels, replica, **options) for replica in predicted])

    def f1_average(average: str) -> NDArray[np.float64]:
        return each(f1_score, labels=every, average=average, zero_division=0)

    by_class = each(precision_recall_fscore_support, labels=every, zero_division=0)
    return Metrics(
        classes=tuple(classes),
        accuracy=each(accuracy_score),
        f1_micro=f1_average("micro"),
        f1_macro=f1_average("macro"),
        f1_weighted=f1_average("weighted"),
        loss=_cross_entropy(scores, labels),
        precision=by_class[:, 0],
        recall=by_class[:, 1],
        f1=by_class[:, 2],
        support=np.bincount(labels, minlength=len(classes)),
        confusion=each(confusion_matrix, labels=every),
    )


def _cross_entropy(scores: NDArray[Any], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean of −log softmax(scores)[label] over the images, ``[replicas]``; finite for any float32 scores."""
    below_top = scores.astype(np.float64)
    below_top -= below_top.max(2, keepdims=True)
    of_label = np.take_along_axis(below_top, labels[None, :, None], 2)[:, :, 0]
    return (np.log(np.exp(below_top).sum(2)) - of_label).mean(1)


def _checked(scores: ArrayLike, labels: ArrayLike, classes: Sequence[str]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Scores as ``[replicas, images, classes]`` and labels as int64 ``[images]``, or a ValueError."""
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
        raise ValueError(f"the label of image {image} is {labels[image]}, which is none of 0…{len(classes) - 1}")
    return scores, labels.astype(np.int64)


def _summary(values: NDArray[np.float64]) -> dict[str, Any]:
    # One replica says nothing about the spread: no number is better than a 0 that looks like certainty.
    std = float(values.std(ddof=1)) if len(values) > 1 else None
    return {"mean": float(values.mean()), "std": std, "values": values.tolist()}


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    write_text(path, text.getvalue())
