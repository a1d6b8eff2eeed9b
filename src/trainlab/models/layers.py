"""The steps between layers, in the cheapest order that computes the same function."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def relu_dropout_pool(x: Tensor, *, dropout: float = 0.0, pool: bool = False, training: bool) -> Tensor:
    """ReLU, then dropout, then (where asked) 2×2 max-pooling of a convolution's output ``[batch, channels, height, width]``.

    On a CPU dropout's rate is rounded to a multiple of 1/256 (below 1/512 nothing is dropped), and ``x`` is overwritten
    while training with dropout: it must be an output that no other layer reads and that its own layer does not need for
    its gradient (a convolution's is such).

    ReLU and max-pooling commute, so pooling goes first and ReLU has a quarter of the work. A dropped element is zero
    when it reaches the ReLU, whose gradient there is zero, so dropping needs no backward pass of its own.
    """
    if not (training and dropout):
        return F.relu(_pool(x, pool))
    if x.device.type != "cpu":  # there, torch's own dropout is one quick kernel
        return _pool(F.dropout(F.relu(x), dropout), pool)
    kept = _drop_in_place(x.detach(), dropout)
    return F.relu(_pool(x, pool)) * (256 / kept)


def _pool(x: Tensor, pool: bool) -> Tensor:
    return F.max_pool2d(x, 2) if pool else x


def _drop_in_place(x: Tensor, dropout: float) -> int:
    """Zero each element with probability ``1 - kept / 256``, and return ``kept``.

    One random byte an element, out of whole 64-bit words (fewer bits of a word would not be equally random), by a
    generator that is twice as quick as torch's and is seeded by it. The mask is ANDed onto the elements' bits, which is
    quicker than to multiply.
    """
    kept = max(1, round(256 * (1 - dropout)))
    if kept == 256:  # which a byte cannot be compared with
        return kept
    seed = int(torch.randint(2**63 - 1, ()))
    words = np.random.SFC64(seed).random_raw((x.numel() + 7) // 8)
    mask = torch.from_numpy(words.view(np.uint8)[: x.numel()])
    mask = mask.lt_(kept).view(torch.int8).neg_()  # 0 or -1, in place: all bits clear, or all set
    bits = x.view(torch.int32 if x.element_size() == 4 else torch.int16)
    flat = bits.permute(0, 2, 3, 1) if x.dim() == 4 else bits  # channels-last: a dense row of numbers in memory
    flat.bitwise_and_(mask.view(flat.shape))
    return kept
