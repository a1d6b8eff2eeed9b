"""Initial weights of a model, selected under `model: {initializer: …}`.

A model without an initializer keeps torch's own initial weights.
"""

import math
from typing import Literal

from torch import Tensor, nn

from trainlab.component import Component, Positive, one_of


class _Initializer(Component):
    """Base class of initializers."""

    def apply(self, net: nn.Module) -> None:
        """Draw the weights of all convolutions and linear layers from torch's global generator, and set biases to zero."""
        for layer in net.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                self.fill(layer.weight)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def fill(self, weight: Tensor) -> None:
        """Fill a weight of shape ``[outputs, inputs, ...]`` in place."""
        raise NotImplementedError


class KaimingUniform(_Initializer):
    """Uniform distribution with variance 2 / fan_in, which preserves the scale of activations through ReLU.

    References
    ----------
    He et al. 2015, *Delving Deep into Rectifiers*, section 2.2.
    """

    name: Literal["kaiming_uniform"]

    def fill(self, weight: Tensor) -> None:
        """Fill a weight of shape ``[outputs, inputs, ...]`` in place."""
        nn.init.kaiming_uniform_(weight, nonlinearity="relu")


class KaimingNormal(_Initializer):
    """Normal distribution with variance 2 / fan_in, which preserves the scale of activations through ReLU.

    References
    ----------
    He et al. 2015, *Delving Deep into Rectifiers*, section 2.2.
    """

    name: Literal["kaiming_normal"]

    def fill(self, weight: Tensor) -> None:
        """Fill a weight of shape ``[outputs, inputs, ...]`` in place."""
        nn.init.kaiming_normal_(weight, nonlinearity="relu")


class XavierUniform(_Initializer):
    """Uniform distribution with variance 2 / (fan_in + fan_out), a compromise for the scales of activations and gradients.

    References
    ----------
    Glorot and Bengio 2010, *Understanding the Difficulty of Training Deep Feedforward Neural Networks*, section 4.2.1.
    """

    name: Literal["xavier_uniform"]

    def fill(self, weight: Tensor) -> None:
        """Fill a weight of shape ``[outputs, inputs, ...]`` in place."""
        nn.init.xavier_uniform_(weight)


class XavierNormal(_Initializer):
    """Normal distribution with variance 2 / (fan_in + fan_out), a compromise for the scales of activations and gradients.

    References
    ----------
    Glorot and Bengio 2010, *Understanding the Difficulty of Training Deep Feedforward Neural Networks*, section 4.2.1.
    """

    name: Literal["xavier_normal"]

    def fill(self, weight: Tensor) -> None:
        """Fill a weight of shape ``[outputs, inputs, ...]`` in place."""
        nn.init.xavier_normal_(weight)


class LecunNormal(_Initializer):
    """Normal distribution with variance 1 / fan_in, which preserves the scale of activations through tanh near zero.

    References
    ----------
    LeCun et al. 1998, *Efficient BackProp*, section 4.6.
    """

    name: Literal["lecun_normal"]

    def fill(self, weight: Tensor) -> None:
        """Fill a weight of shape ``[outputs, inputs, ...]`` in place."""
        nn.init.kaiming_normal_(weight, nonlinearity="linear")  # torch's gain for "linear" is 1


class Gaussian(_Initializer):
    """Normal distribution with the same standard deviation in every layer, whatever its size.

    Parameters
    ----------
    std
        Standard deviation, > 0.
    """

    name: Literal["gaussian"]
    std: Positive

    def fill(self, weight: Tensor) -> None:
        """Fill a weight of any shape in place."""
        nn.init.normal_(weight, std=self.std)


class Dirac(_Initializer):
    """Filters that copy their input, as far as there are inputs, and torch's own initial weights for everything else.

    In a convolution with i inputs, filter n < i is 1 at the centre of channel n and 0 elsewhere. A stack of such layers
    passes its input on, as the skip connections of a residual network do.

    References
    ----------
    Zagoruyko and Komodakis 2017, *DiracNets*; for part of the filters: Jordan 2024, *94% on CIFAR-10 in 3.29 Seconds on a
    Single GPU*, section 3.3.
    """

    name: Literal["dirac"]

    def fill(self, weight: Tensor) -> None:
        """Fill a weight of shape ``[outputs, inputs, ...]`` in place."""
        nn.init.kaiming_uniform_(weight, a=math.sqrt(5))  # what torch's own layers do
        if weight.dim() > 2:
            nn.init.dirac_(weight[: weight.shape[1]])


Initializer = one_of(Dirac, Gaussian, KaimingNormal, KaimingUniform, LecunNormal, XavierNormal, XavierUniform)
