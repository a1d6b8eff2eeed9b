"""The small convolutional network of TensorFlow's CNN tutorial."""

from typing import Literal

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from trainlab.models.base import Model, Network
from trainlab.models.layers import relu_dropout_pool


class TfCnn(Model):
    """Three 3×3 convolutions without padding, two of them max-pooled, and one hidden layer: 122,570 parameters on CIFAR-10.

    Parameters
    ----------
    dropout_conv
        Probability in [0, 1) of dropping an activation after each convolution.
    dropout_dense
        Probability in [0, 1) of dropping an activation after the hidden layer.

    References
    ----------
    TensorFlow tutorials, *Convolutional Neural Network (CNN)*. Dropout: Srivastava et al. 2014.
    """

    name: Literal["tf_cnn"]
    dropout_conv: float = Field(default=0, ge=0, lt=1)
    dropout_dense: float = Field(default=0, ge=0, lt=1)

    def network(self, in_shape: tuple[int, int, int], num_outputs: int) -> Network:
        """Return the network with torch's own initial weights."""
        return _TfCnnNetwork(self, in_shape, num_outputs)


class _TfCnnNetwork(Network):
    def __init__(self, model: TfCnn, in_shape: tuple[int, int, int], num_outputs: int) -> None:
        super().__init__()
        channels, height, width = in_shape
        if min(height, width) < 18:
            raise ValueError(f"tf_cnn needs images of at least 18×18 pixels, and these are {height}×{width}")
        self.dropout_conv, self.dropout_dense = model.dropout_conv, model.dropout_dense
        self.conv1 = nn.Conv2d(channels, 32, 3)
        self.conv2 = nn.Conv2d(32, 64, 3)
        self.conv3 = nn.Conv2d(64, 64, 3)
        self.dense = nn.Linear(64 * _after_convolutions(height) * _after_convolutions(width), 64)
        self.head = nn.Linear(64, num_outputs)

    def features(self, images: Tensor) -> Tensor:
        x = relu_dropout_pool(self.conv1(images), dropout=self.dropout_conv, pool=True, training=self.training)
        x = relu_dropout_pool(self.conv2(x), dropout=self.dropout_conv, pool=True, training=self.training)
        x = relu_dropout_pool(self.conv3(x), dropout=self.dropout_conv, training=self.training)
        x = F.relu(self.dense(x.flatten(1)))
        return F.dropout(x, self.dropout_dense, self.training)


def _after_convolutions(size: int) -> int:
    """Return the height or width after the convolutions: each subtracts 2, each pooling halves."""
    return ((size - 2) // 2 - 2) // 2 - 2
