"""Two large convolutions and one linear layer: the model of the suite of training objectives."""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from trainlab.models.base import Model, Network


class Shallow(Model):
    """Convolution with 64 7×7 filters, convolution with 64 8×8 filters and stride 4, each with LeakyReLU; then the last layer.

    On CIFAR-10 the last layer has 64·8·8 inputs, and the network with 10 outputs has 312,650 parameters.
    """

    name: Literal["shallow"]

    def network(self, in_shape: tuple[int, int, int], num_outputs: int) -> Network:
        """Return the network with torch's own initial weights."""
        return _ShallowNetwork(in_shape, num_outputs)


class _ShallowNetwork(Network):
    def __init__(self, in_shape: tuple[int, int, int], num_outputs: int) -> None:
        super().__init__()
        channels, height, width = in_shape
        if min(height, width) < 2:
            raise ValueError(f"shallow needs images of at least 2×2 pixels, and these are {height}×{width}")
        self.conv1 = nn.Conv2d(channels, 64, 7, padding=3)
        self.conv2 = nn.Conv2d(64, 64, 8, stride=4, padding=3)
        self.head = nn.Linear(64 * _after_stride(height) * _after_stride(width), num_outputs)

    def features(self, images: Tensor) -> Tensor:
        x = F.leaky_relu(self.conv1(images))
        return F.leaky_relu(self.conv2(x)).flatten(1)


def _after_stride(size: int) -> int:
    """Return the height or width after the second convolution."""
    return (size + 2 * 3 - 8) // 4 + 1
