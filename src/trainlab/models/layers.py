"""Operations between layers, in the cheapest order that computes the same function."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def relu_dropout_pool(x: Tensor, *, dropout: float = 0.0, pool: bool = False, training: bool) -> Tensor:
    """Return ReLU, then dropout, then 2×2 max-pooling of a convolution's output ``[batch, channels, height, width]``.

    ReLU and max-pooling commute, so pooling comes first and leaves ReLU a quarter of the work. A dropped element is zero
    when it reaches the ReLU, whose gradient at zero is zero, so dropout needs no backward pass.

    Parameters
    ----------
    x
        On a CPU it is overwritten in training with dropout. No other layer may read it, and its own layer must not need it
        for its gradient (a convolution does not).
    dropout
        Probability in [0, 1) of dropping an element. On a CPU it is rounded to a multiple of 1/256.
    pool
        Whether to max-pool.
    training
        Whether to apply dropout.
    """
    if not (training and dropout):
        return F.relu(_pool(x, pool))
    if x.device.type != "cpu":  # torch's dropout is one fast kernel there
        return _pool(F.dropout(F.relu(x), dropout), pool)
    kept = _drop_in_place(x.detach(), dropout)
    return F.relu(_pool(x, pool)) * (256 / kept)


def _pool(x: Tensor, pool: bool) -> Tensor:
    return F.max_pool2d(x, 2) if pool else x


def _drop_in_place(x: Tensor, dropout: float) -> int:
    """Set each element to zero with probability ``1 - kept / 256``, and return ``kept``.

    Each element takes one byte of a random 64-bit word, from a generator that is twice as fast as torch's and seeded by it.
    The mask is combined with the elements' bits by AND, which is faster than a multiplication.
    """
    kept = max(1, round(256 * (1 - dropout)))
    if kept == 256:  # does not fit in a byte, and drops nothing
        return kept
    seed = int(torch.randint(2**63 - 1, ()))
    words = np.random.SFC64(seed).random_raw((x.numel() + 7) // 8)
    mask = torch.from_numpy(words.view(np.uint8)[: x.numel()])
    mask = mask.lt_(kept).view(torch.int8).neg_()  # 0 or -1 in place: no bits, or all bits
    bits = x.view(torch.int32 if x.element_size() == 4 else torch.int16)
    flat = bits.permute(0, 2, 3, 1) if x.dim() == 4 else bits  # the order of channels-last memory
    flat.bitwise_and_(mask.view(flat.shape))
    return kept
