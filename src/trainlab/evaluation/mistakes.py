"""What the runs of a suite predict wrongly: the surest mistakes of each run, and the classes that are confused most."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainlab.evaluation.calibration import probabilities
from trainlab.evaluation.metrics import Predictions

MISTAKES = 10  # per run
PAIRS, EXAMPLES = 6, 8  # pairs of classes per suite, images per pair
DIGITS = 3  # of fractions


class Mistake(NamedTuple):
    """A test image that a run predicts wrongly.

    Parameters
    ----------
    image
        Its index.
    actual, predicted
        Class names.
    confidence
        Probability of the predicted class, mean over the replicas.
    """

    image: int
    actual: str
    predicted: str
    confidence: float


class Pair(NamedTuple):
    """Two classes that are confused.

    Parameters
    ----------
    actual, predicted
        Class names.
    share
        Fraction of the images of ``actual`` that is predicted as ``predicted``, over all runs and replicas.
    images
        Images of ``actual`` that most models predict as ``predicted``: index, and number of models that do.
    models
        The number of models.
    """

    actual: str
    predicted: str
    share: float
    images: list[tuple[int, int]]
    models: int


def surest_mistakes(predictions: Predictions, count: int = MISTAKES) -> list[Mistake]:
    """Return the wrong predictions with the highest confidence, the surest first.

    The probabilities are the means over the replicas, and the prediction is the class with the highest one.
    """
    shares = probabilities(predictions.scores).mean(0)
    predicted, confidence = shares.argmax(1), shares.max(1)
    wrong = np.flatnonzero(predicted != predictions.labels)
    order = wrong[np.argsort(-confidence[wrong], kind="stable")][:count]
    names, labels = predictions.classes, predictions.labels
    return [Mistake(int(i), names[labels[i]], names[predicted[i]], float(confidence[i])) for i in order]


def confused_pairs(predictions: Iterable[Predictions], count: int = PAIRS, examples: int = EXAMPLES) -> list[Pair]:
    """Return the pairs of classes that all runs of a suite together confuse most, with images.

    Parameters
    ----------
    predictions
        Of each run, for the same images.
    count
        How many pairs.
    examples
        How many images per pair.
    """
    votes, labels, classes, models = _votes(predictions)
    counts = np.array([votes[labels == actual].sum(0) for actual in range(len(classes))])
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    np.fill_diagonal(shares, 0)
    pairs = []
    for place in np.argsort(-shares, axis=None, kind="stable")[:count]:
        actual, predicted = divmod(int(place), len(classes))
        if not shares[actual, predicted]:
            break
        images = np.flatnonzero((labels == actual) & (votes[:, predicted] > 0))
        images = images[np.argsort(-votes[images, predicted], kind="stable")][:examples]
        chosen = [(int(i), int(votes[i, predicted])) for i in images]
        pairs.append(Pair(classes[actual], classes[predicted], float(shares[actual, predicted]), chosen, models))
    return pairs


def _votes(
    predictions: Iterable[Predictions],
) -> tuple[NDArray[np.int64], NDArray[np.int64], tuple[str, ...], int]:
    """Return how many models predict each class of each image ``[images, classes]``; labels, classes, number of models."""
    every = list(predictions)
    first = every[0]
    votes = np.zeros((len(first.labels), len(first.classes)), np.int64)
    rows = np.arange(len(votes))
    for of_run in every:
        for predicted in of_run.scores.argmax(2):
            votes[rows, predicted] += 1
    return votes, first.labels, first.classes, sum(len(of_run.scores) for of_run in every)


def to_dict(predictions: Mapping[str, Predictions]) -> dict[str, Any]:
    """Return the mistakes of a suite's runs as plain values, fractions with three digits: ``pairs`` and ``mistakes``."""
    pairs = [pair._replace(share=round(pair.share, DIGITS)) for pair in confused_pairs(predictions.values())]
    surest = {run: surest_mistakes(of_run) for run, of_run in predictions.items()}
    return {
        "pairs": [pair._asdict() for pair in pairs],
        "mistakes": {
            run: [mistake._replace(confidence=round(mistake.confidence, DIGITS))._asdict() for mistake in mistakes]
            for run, mistakes in surest.items()
        },
    }
