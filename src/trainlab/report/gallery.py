"""Which test images to show, and images as data URIs."""

import base64
import io
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pandas import DataFrame
from PIL import Image

from trainlab.evaluation.calibration import probabilities
from trainlab.evaluation.metrics import Predictions

LARGEST = 64  # pixels; larger images are reduced
PICTURE_WIDTH = 1100  # pixels
PICTURE_COLORS = 64


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


def surest_mistakes(predictions: Predictions, count: int) -> list[Mistake]:
    """Return the wrong predictions with the highest confidence, the surest first.

    The probabilities are the means over the replicas, and the prediction is the class with the highest one.
    """
    shares = probabilities(predictions.scores).mean(0)
    predicted, confidence = shares.argmax(1), shares.max(1)
    wrong = np.flatnonzero(predicted != predictions.labels)
    order = wrong[np.argsort(-confidence[wrong], kind="stable")][:count]
    names, labels = predictions.classes, predictions.labels
    return [Mistake(int(i), names[labels[i]], names[predicted[i]], float(confidence[i])) for i in order]


def confused_pairs(
    confusions: Iterable[DataFrame], predictions: Iterable[Predictions], count: int, examples: int
) -> list[Pair]:
    """Return the pairs of classes that all runs of a suite together confuse most, with images.

    Parameters
    ----------
    confusions
        The confusion matrix of each run.
    predictions
        Of each run, for the same images.
    count
        How many pairs.
    examples
        How many images per pair.
    """
    counts = sum(matrix.to_numpy() for matrix in confusions)
    shares = counts / np.maximum(np.sum(counts, axis=1, keepdims=True), 1)
    np.fill_diagonal(shares, 0)
    votes, labels, classes, models = _votes(predictions)
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


def image_uri(pixels: NDArray[np.uint8]) -> str:
    """Return an image ``[channels, height, width]`` as the data URI of a PNG of at most 64 pixels."""
    image = Image.fromarray(pixels[0] if len(pixels) != 3 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    image.thumbnail((LARGEST, LARGEST), Image.Resampling.BOX)
    return _uri(image)


def picture_uri(png: bytes) -> str:
    """Return a picture as the data URI of a smaller PNG: at most 1,100 pixels wide, 64 colors."""
    image = Image.open(io.BytesIO(png)).convert("RGB")
    if image.width > PICTURE_WIDTH:
        size = PICTURE_WIDTH, round(image.height * PICTURE_WIDTH / image.width)
        image = image.resize(size, Image.Resampling.LANCZOS)
    return _uri(image.quantize(PICTURE_COLORS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE))


def _uri(image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
