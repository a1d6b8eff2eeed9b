"""Outputs of a network for many images, and the precision that it computes in."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from trainlab.data.batches import Batches
from trainlab.training import devices

BATCH = 250  # images; small enough that activations stay in a CPU's cache


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """Return the context of a network's forward pass: bfloat16 autocast, or nothing for `float32` and `tf32`.

    Weights stay float32. `tf32` is set for the backward pass too, by :func:`trainlab.training.devices.float32_arithmetic`.
    """
    if precision == "bfloat16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()


@torch.no_grad()
def outputs_of(net: nn.Module, images: Batches) -> Tensor:
    """Return the outputs for all images, ``[images, num_outputs]``, in evaluation mode and IEEE float32.

    The precision of training is not used: bfloat16 has 8 bits of mantissa, which left 0.5 % of CIFAR-10's test images with
    a tie between their two highest scores. The network's mode is restored.
    """
    was_training = net.training
    net.eval()
    with devices.float32_arithmetic("ieee"):
        batches = [net(images.slice(start, start + BATCH)[0]) for start in range(0, len(images), BATCH)]
    net.train(was_training)
    return torch.cat(batches)
