"""Calibration of predicted probabilities: expected calibration error, reliability diagram, and Brier score.

A classifier is calibrated if, of the images that it predicts with confidence p, a fraction p is predicted correctly. The
confidence is the highest of an image's softmax probabilities.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

BINS = 15


@dataclass(frozen=True, eq=False)
class Reliability:
    """Confidence and accuracy in bins of confidence, from the lowest to the highest.

    Parameters
    ----------
    images
        Number of images, ``[replicas, bins]``. A bin may be empty if there are few images or many equal confidences.
    confidence
        Mean confidence of these images, in [0, 1], ``[replicas, bins]``; NaN for an empty bin.
    accuracy
        Fraction of these images that is predicted correctly, ``[replicas, bins]``; NaN for an empty bin.
    """

    images: NDArray[np.int64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]

    @property
    def error(self) -> NDArray[np.float64]:
        """Expected calibration error: mean of abs(accuracy − confidence) over the bins, weighted by images, ``[replicas]``.

        It is in [0, 1]. It is biased upward: within each bin, the accuracy of finitely many images deviates from their
        confidence even if the classifier is calibrated.

        References
        ----------
        Naeini, Cooper, Hauskrecht (2015), Obtaining well calibrated probabilities using Bayesian binning. AAAI: the error.
        Guo, Pleiss, Sun, Weinberger (2017), On calibration of modern neural networks. ICML: for several classes, of the
        predicted class.
        """
        gaps = np.where(self.images > 0, abs(self.accuracy - self.confidence), 0)
        error: NDArray[np.float64] = (self.images * gaps).sum(1) / self.images.sum(1)
        return error


def probabilities(scores: ArrayLike) -> NDArray[np.float64]:
    """Return the softmax of logits over the last axis, in float64; finite for any finite float32 logits."""
    from scipy.special import softmax

    shares: NDArray[np.float64] = softmax(np.asarray(scores, np.float64), axis=-1)
    return shares


def reliability(confidence: NDArray[np.float64], correct: NDArray[np.bool_], bins: int = BINS) -> Reliability:
    """Return confidence and accuracy in bins of equal mass, per replica.

    An image is in bin ⌊bins · n / images⌋, where n is the number of images with a lower confidence. Without ties, the
    numbers of images per bin differ by at most 1. Images with the same confidence are in the same bin, so that the order
    of the images has no influence.

    Parameters
    ----------
    confidence
        Probability of the predicted class, in [0, 1], ``[replicas, images]``.
    correct
        Whether the prediction is correct, ``[replicas, images]``.
    bins
        Number of bins, at least 1.

    References
    ----------
    Nguyen, O'Connor (2015), Posterior calibration and exploratory analysis for natural language processing models. EMNLP:
    adaptive binning.
    """
    replicas, count = confidence.shape
    lower = np.stack([np.searchsorted(np.sort(of_replica), of_replica) for of_replica in confidence])
    place = np.arange(replicas)[:, None] * bins + bins * lower // count

    def total(values: NDArray[Any]) -> NDArray[np.float64]:
        sums: NDArray[np.float64] = np.bincount(place.ravel(), values.ravel(), replicas * bins).astype(np.float64)
        return sums.reshape(replicas, bins)

    images = total(np.ones_like(confidence))
    divisor = np.where(images > 0, images, np.nan)
    return Reliability(images.astype(np.int64), total(confidence) / divisor, total(correct) / divisor)


def brier(shares: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the Brier score per replica: mean over the images of the squared errors of all classes, in [0, 2].

    Parameters
    ----------
    shares
        Probabilities, ``[replicas, images, classes]``.
    labels
        Class indices, ``[images]``.

    References
    ----------
    Brier (1950), Verification of forecasts expressed in terms of probability. Monthly Weather Review 78, 1–3.
    """
    actual = np.eye(shares.shape[2])[labels]
    scores: NDArray[np.float64] = ((shares - actual) ** 2).sum(2).mean(1)
    return scores
