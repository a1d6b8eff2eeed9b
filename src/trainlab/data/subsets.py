"""Which images to take where not all of them are wanted."""

import numpy as np


def stratified(labels: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw images without replacement so that each class keeps its share as nearly as possible.

    Each class gets its share of ``count`` rounded down; what is left goes to the classes with the largest remainders, and
    among equal ones to those that come first.

    Parameters
    ----------
    labels
        Class indices, ``[images]``.
    count
        How many to draw, from 1 to the number of images.
    rng
        Where chance comes from.

    Returns
    -------
    np.ndarray
        Their positions, ``[count]``, int64, increasing.

    Raises
    ------
    ValueError
        Where ``count`` is out of range.
    """
    if not 1 <= count <= len(labels):
        raise ValueError(f"{count} images cannot be drawn from {len(labels)}: draw between 1 and all of them")
    classes, sizes = np.unique(labels, return_counts=True)
    wanted, remainders = np.divmod(sizes * count, len(labels))  # in whole numbers, so that ties are ties
    most = np.argsort(-remainders, kind="stable")
    wanted[most[: count - wanted.sum()]] += 1
    order = rng.permutation(len(labels))
    drawn = [order[labels[order] == c][:share] for c, share in zip(classes, wanted, strict=True)]
    return np.sort(np.concatenate(drawn))
