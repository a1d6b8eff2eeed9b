"""A small convolutional network with adjustable size, used by the studies of architecture and training protocol."""

from typing import Literal

import torch.nn.functional as F
from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError
from torch import Tensor, nn

from trainlab.activations import ActivationName, activate_and_pool, activation
from trainlab.component import Size
from trainlab.models.base import FilterSize, Model, Network, check_filter


class Convnet(Model):
    """Blocks of convolution, activation and 2×2 max-pooling, then an optional hidden layer and the last layer.

    All convolutions preserve the size and have the same number of filters, so that `width` and `depth` can be varied
    independently.

    Parameters
    ----------
    width
        Filters of each convolution, 1 to 65,536.
    depth
        Number of blocks, 1 to 16. Each halves height and width, which must be at least 2**depth pixels.
    filter_size
        Height and width of a filter in pixels: odd, 1 to 1023, and less than twice the images' height or width.
    hidden_dim
        Units of the hidden layer, at most 65,536; 0 for no hidden layer.
    activation
        Activation after each convolution and after the hidden layer; none for ReLU.
    batch_norm
        Whether to normalize after each convolution, before the activation; the convolutions then have no bias.
    dropout
        Probability in [0, 1) of dropping a unit of the hidden layer, or a feature if there is no hidden layer.
    global_average
        Whether to replace the linear layers by a 1×1 convolution to the outputs and their mean over all positions.
        `hidden_dim` must then be 0.

    References
    ----------
    Batch normalization: Ioffe and Szegedy 2015. Dropout: Srivastava et al. 2014. Global average pooling: Lin, Chen and Yan
    2014, *Network In Network*, section 3.2.
    """

    name: Literal["convnet"]
    width: Size
    depth: int = Field(ge=1, le=16)
    filter_size: FilterSize
    hidden_dim: int = Field(ge=0, le=2**16)
    activation: Literal[ActivationName, None] = None
    batch_norm: bool = False
    dropout: float = Field(default=0, ge=0, lt=1)
    global_average: bool = False

    @field_validator("global_average")
    @classmethod
    def _no_hidden_layer(cls, averages: bool, info: ValidationInfo) -> bool:
        if averages and info.data.get("hidden_dim"):
            raise PydanticCustomError("hidden", "it takes the place of the hidden layer, so set hidden_dim to 0")
        return averages

    @property
    def has_head(self) -> bool:
        """Whether the network ends in a linear layer ``head``."""
        return not self.global_average

    @property
    def receptive_field(self) -> int:
        """Height and width in pixels of the part of the image that affects one unit after the last block.

        Block n (from 0) has a stride of 2**n pixels: its convolution adds filter_size − 1 strides, its pooling one.
        """
        return 1 + self.filter_size * ((1 << self.depth) - 1)

    def network(self, in_shape: tuple[int, int, int], num_outputs: int) -> Network:
        """Return the network with torch's own initial weights."""
        if self.global_average:
            return _AveragingConvnet(self, in_shape, num_outputs)
        return _HeadedConvnet(self, in_shape, num_outputs)


class _Blocks(Network):
    def __init__(self, model: Convnet, in_shape: tuple[int, int, int]) -> None:
        super().__init__()
        channels, height, width = in_shape
        smallest = 2**model.depth
        if min(height, width) < smallest:
            raise ValueError(
                f"convnet of depth {model.depth} needs images of at least {smallest}×{smallest} pixels, and these are"
                f" {height}×{width}"
            )
        check_filter(model.filter_size, height, width)
        self.depth, self.dropout = model.depth, model.dropout
        self.activation: ActivationName = model.activation or "relu"
        for n in range(1, model.depth + 1):
            inputs = channels if n == 1 else model.width
            # Batch norm would subtract a bias again.
            conv = nn.Conv2d(
                inputs, model.width, model.filter_size, padding=model.filter_size // 2, bias=not model.batch_norm
            )
            norm = [nn.BatchNorm2d(model.width)] if model.batch_norm else []
            self.add_module(
                f"block{n}", nn.Sequential(conv, *norm)
            )  # a direct child, so that statistics report it as one layer

    def maps(self, images: Tensor) -> Tensor:
        """Return feature maps ``[batch, width, height / 2**depth, width / 2**depth]``, sizes rounded down."""
        x = images
        for n in range(1, self.depth + 1):
            x = activate_and_pool(self.get_submodule(f"block{n}")(x), self.activation)
        return x


class _HeadedConvnet(_Blocks):
    def __init__(self, model: Convnet, in_shape: tuple[int, int, int], num_outputs: int) -> None:
        super().__init__(model, in_shape)
        _, height, width = in_shape
        count = model.width * (height // 2**model.depth) * (width // 2**model.depth)
        self.dense = nn.Linear(count, model.hidden_dim) if model.hidden_dim else None
        self.head = nn.Linear(model.hidden_dim or count, num_outputs)

    def features(self, images: Tensor) -> Tensor:
        x = self.maps(images).flatten(1)
        if self.dense is not None:
            x = activation(self.activation)(self.dense(x))
        return F.dropout(x, self.dropout, self.training)


class _AveragingConvnet(_Blocks):
    """Network with a global average; it has no ``head``."""

    def __init__(self, model: Convnet, in_shape: tuple[int, int, int], num_outputs: int) -> None:
        super().__init__(model, in_shape)
        self.conv = nn.Conv2d(model.width, num_outputs, 1)

    def features(self, images: Tensor) -> Tensor:
        """Return the mean input of the last convolution, ``[batch, width]``."""
        return self._dropped(images).mean((2, 3))

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = self.conv(self._dropped(images))
        return maps.mean((2, 3))

    def _dropped(self, images: Tensor) -> Tensor:
        return F.dropout(self.maps(images), self.dropout, self.training)
