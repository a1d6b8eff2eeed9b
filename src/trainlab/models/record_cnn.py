"""The convolutional network of the CIFAR-10 speed records: a whitening layer and blocks of two convolutions."""

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from trainlab.component import NotNegative, Positive, Size
from trainlab.models.base import Model, Network

PATCH = 2  # pixels along a side of the patches that the first layer sees
IMAGES = 5000  # training images whose patches are whitened; 4.8 million patches of CIFAR-10


class RecordCnn(Model):
    """A 2×2 convolution, then blocks of convolution, 2×2 max-pooling, convolution; a global maximum and the last layer.

    Batch normalization with a learned shift and no learned scale follows each convolution of a block, and GELU follows
    each normalization and the first layer. Only the first layer has a bias. With `widths` [64, 256, 256] it has
    1,971,352 parameters on CIFAR-10, 1,971,640 if the first layer is trained.

    Parameters
    ----------
    widths
        Filters of both convolutions of each of 1 to 16 blocks, 1 to 65,536. A block halves height and width, rounded down:
        n blocks need images of at least 2**n + 1 pixels.
    output_scale
        Factor of the last layer's outputs, > 0.
    norm_memory
        Share of a batch normalization's running mean and variance that is kept per step, in [0, 1).
    whitening_eps
        Added to the variances, of standardized pixels, by whose roots the first layer divides: that layer is then computed
        from training images before the first step and not trained, except for its bias. 0 for a first layer that is trained
        like the others.

    References
    ----------
    Jordan 2024, *94% on CIFAR-10 in 3.29 Seconds on a Single GPU*, sections 3.1 (network) and 3.2 (whitening). Whitening:
    Page 2018, *How to Train Your ResNet*, part 8. Scaled outputs: the same, part 4. Batch normalization: Ioffe and Szegedy
    2015.
    """

    name: Literal["record_cnn"]
    widths: list[Size] = Field(min_length=1, max_length=16)
    output_scale: Positive
    norm_memory: float = Field(ge=0, lt=1)
    whitening_eps: NotNegative = 0

    def network(self, in_shape: tuple[int, int, int], num_outputs: int) -> Network:
        """Return the network with torch's own initial weights."""
        return _RecordNetwork(self, in_shape, num_outputs)


class _RecordNetwork(Network):
    def __init__(self, model: RecordCnn, in_shape: tuple[int, int, int], num_outputs: int) -> None:
        super().__init__()
        channels, height, width = in_shape
        smallest = 2 ** len(model.widths) + PATCH - 1
        if min(height, width) < smallest:
            raise ValueError(
                f"record_cnn with {len(model.widths)} blocks needs images of at least {smallest}×{smallest} pixels, and"
                f" these are {height}×{width}"
            )
        self.whitening_eps = model.whitening_eps
        inputs = 2 * channels * PATCH**2  # each direction of the patches with both signs
        self.first = nn.Conv2d(channels, inputs, PATCH)
        if self.whitening_eps:  # a buffer is stored with the model and not trained
            weight = self.first.weight.detach()
            del self.first.weight
            self.first.register_buffer("weight", weight)
        for n, filters in enumerate(model.widths, 1):
            self.add_module(f"block{n}", _Block(inputs, filters, 1 - model.norm_memory))
            inputs = filters
        self.blocks = len(model.widths)
        self.head = _ScaledLinear(inputs, num_outputs, model.output_scale)

    def start(self, training_images: Callable[[int], Tensor]) -> None:
        """Compute the whitening layer from training images."""
        if self.whitening_eps:
            self.first.weight.copy_(whitening_filters(training_images(IMAGES), self.whitening_eps))

    def features(self, images: Tensor) -> Tensor:
        x = F.gelu(self.first(images))
        for n in range(1, self.blocks + 1):
            x = self.get_submodule(f"block{n}")(x)
        return F.max_pool2d(x, x.shape[2:]).flatten(1)


class _Block(nn.Module):
    def __init__(self, inputs: int, filters: int, momentum: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, filters, 3, padding=1, bias=False)
        self.norm1 = _Shifted(filters, momentum)
        self.conv2 = nn.Conv2d(filters, filters, 3, padding=1, bias=False)
        self.norm2 = _Shifted(filters, momentum)

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.norm1(F.max_pool2d(self.conv1(x), 2)))
        return F.gelu(self.norm2(self.conv2(x)))


class _Shifted(nn.BatchNorm2d):
    """Batch normalization with a learned shift and no learned scale."""

    def __init__(self, channels: int, momentum: float) -> None:
        super().__init__(channels, momentum=momentum)
        self.register_parameter("weight", None)


class _ScaledLinear(nn.Linear):
    def __init__(self, inputs: int, outputs: int, scale: float) -> None:
        super().__init__(inputs, outputs, bias=False)
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * self.scale


@torch.no_grad()
def whitening_filters(images: Tensor, eps: float) -> Tensor:
    """Return filters whose responses to the patches of images are uncorrelated, with a variance of 1 each.

    They are the eigenvectors of the covariance of the patches, by falling eigenvalue, each divided by the root of its
    eigenvalue plus ``eps``; then the same with the opposite sign, so that an activation after it loses nothing.

    Parameters
    ----------
    images
        ``[images, channels, height, width]``, normalized.
    eps
        Added to each eigenvalue, > 0. Directions with much less variance than this are left small.

    Returns
    -------
    torch.Tensor
        ``[2 · channels · 4, channels, 2, 2]``, float32.

    References
    ----------
    Page 2018, *How to Train Your ResNet*, part 8 (patch whitening); Jordan 2024, section 3.2 (both signs, eps).
    """
    channels, height, width = images.shape[1:]
    shifted = [images[:, :, y : height - 1 + y, x : width - 1 + x] for y in range(PATCH) for x in range(PATCH)]
    patches = torch.stack(shifted, 2).flatten(1, 2).transpose(0, 1).flatten(1)  # [channels · 4, patches]
    patches -= patches.mean(1, keepdim=True)
    covariance = patches @ patches.T / patches.shape[1]  # torch.cov would wait for a GPU
    variances, directions = torch.linalg.eigh(covariance.double().cpu())  # rising
    filters = (directions / (variances + eps).sqrt()).T.flip(0).reshape(-1, channels, PATCH, PATCH)
    return torch.cat([filters, -filters]).float().to(images.device)
