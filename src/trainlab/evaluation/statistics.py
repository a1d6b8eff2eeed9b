"""Confidence intervals: how far a measured accuracy may be from the accuracy on all images of the same kind."""

from statistics import NormalDist


def wilson(accuracy: float, images: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the Wilson score interval of an accuracy: the test images are a sample of all images of the same kind.

    The interval does not cover the variation between seeds. For the mean accuracy of several replicas it is
    conservative, because their errors agree only in part.

    Parameters
    ----------
    accuracy
        Fraction of correct predictions, in [0, 1].
    images
        Number of test images, at least 1.
    confidence
        Coverage of the interval, in (0, 1).

    Returns
    -------
    tuple of float
        The lower and the upper end, in [0, 1].

    References
    ----------
    Wilson (1927), Probable inference, the law of succession, and statistical inference. JASA 22, 209–212.
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    middle = (accuracy + z**2 / (2 * images)) / (1 + z**2 / images)
    half = z / (1 + z**2 / images) * (accuracy * (1 - accuracy) / images + z**2 / (4 * images**2)) ** 0.5
    return max(0.0, middle - half), min(1.0, middle + half)
