"""One convolution, one hidden layer and the last layer."""

from typing import Literal

from torch import Tensor, nn

from trainlab.activations import ActivationName, activate_and_pool, activation
from trainlab.component import Size
from trainlab.models.base import FilterSize, Model, Network, check_filter


class ThreeLayer(Model):
    """Size-preserving convolution, activation, 2×2 max-pooling; hidden layer, activation; last layer.

    Parameters
    ----------
    num_filters
        Number of filters of the convolution, 1 to 65,536.
    filter_size
        Height and width of a filter in pixels: odd, 1 to 1023, and less than twice the images' height or width.
    hidden_dim
        Units of the hidden layer, 1 to 65,536.
    activation
        Activation after the convolution and after the hidden layer; none for ReLU.

    References
    ----------
    Stanford CS231n, assignment 2, ``ThreeLayerConvNet``.
    """

    name: Literal["three_layer"]
    num_filters: Size
    filter_size: FilterSize
    hidden_dim: Size
    activation: Literal[ActivationName, None] = None

    def network(self, in_shape: tuple[int, int, int], num_outputs: int) -> Network:
        """Return the network with torch's own initial weights."""
        return _ThreeLayerNetwork(self, in_shape, num_outputs)


class _ThreeLayerNetwork(Network):
    def __init__(self, model: ThreeLayer, in_shape: tuple[int, int, int], num_outputs: int) -> None:
        super().__init__()
        channels, height, width = in_shape
        if min(height, width) < 2:
            raise ValueError(f"three_layer needs images of at least 2×2 pixels, and these are {height}×{width}")
        check_filter(model.filter_size, height, width)
        self.activation: ActivationName = model.activation or "relu"
        self.conv = nn.Conv2d(channels, model.num_filters, model.filter_size, padding=model.filter_size // 2)
        self.dense = nn.Linear(model.num_filters * (height // 2) * (width // 2), model.hidden_dim)
        self.head = nn.Linear(model.hidden_dim, num_outputs)

    def features(self, images: Tensor) -> Tensor:
        x = activate_and_pool(self.conv(images), self.activation)
        return activation(self.activation)(self.dense(x.flatten(1)))
