"""Choose a subset of the images."""

import numpy as np


def stratified(labels: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw images without replacement so that each class keeps its share as closely as possible.

    Each class gets its share of ``count``, rounded down. The remaining images go to the classes with the largest
    remainders; ties go to the classes with the lower index.

    Parameters
    ----------
    labels
        Class indices, ``[images]``.
    count
        Number of images to draw, from 1 to the number of images.
    rng
        Source of the random draws.

    Returns
    -------
    np.ndarray
        Positions of the drawn images, ``[count]``, int64, increasing.

    Raises
    ------
    ValueError
        If ``count`` is out of range.
    """
    if not 1 <= count <= len(labels):
        raise ValueError(f"{count} images cannot be drawn from {len(labels)}: count must be from 1 to {len(labels)}")
    classes, sizes = np.unique(labels, return_counts=True)
    wanted, remainders = np.divmod(sizes * count, len(labels))  # integer arithmetic, so that ties are exact
    most = np.argsort(-remainders, kind="stable")
    wanted[most[: count - wanted.sum()]] += 1
    order = rng.permutation(len(labels))
    drawn = [order[labels[order] == c][:share] for c, share in zip(classes, wanted, strict=True)]
    return np.sort(np.concatenate(drawn))
