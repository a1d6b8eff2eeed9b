"""A network's outputs for many images."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from trainlab.data.batches import Batches

BATCH = 250  # small enough that activations stay in a CPU's cache


def arithmetic(device: torch.device, precision: str) -> AbstractContextManager:
    """The context in which a network computes in this precision (weights stay float32)."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


@torch.no_grad()
def outputs_of(net: nn.Module, images: Batches, *, precision: str) -> Tensor:
    """Outputs ``[images, num_outputs]`` in float32, in evaluation mode; the network's mode is as before afterwards."""
    was_training = net.training
    net.eval()
    with arithmetic(images.labels.device, precision):
        batches = [net(images.slice(start, start + BATCH)[0]) for start in range(0, len(images), BATCH)]
    net.train(was_training)
    return torch.cat(batches).float()
