"""How a model's weights start: one small class each, named under `model: {initializer: …}`.

A model that names none keeps torch's own initial weights.
"""

from typing import Literal

from torch import Tensor, nn

from trainlab.part import Part, one_of


class _Initializer(Part):
    def apply(self, net: nn.Module) -> None:
        """Draw the weights of every convolution and linear layer from torch's global generator; set biases to zero."""
        for layer in net.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                self.fill(layer.weight)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def fill(self, weight: Tensor) -> None:
        raise NotImplementedError


class KaimingUniform(_Initializer):
    """Uniform with variance 2 / fan_in, which keeps the scale of activations through ReLU.

    References
    ----------
    He et al. 2015, *Delving Deep into Rectifiers*, section 2.2.
    """

    name: Literal["kaiming_uniform"]

    def fill(self, weight: Tensor) -> None:
        """Fill a weight of shape ``[outputs, inputs, ...]`` in place."""
        nn.init.kaiming_uniform_(weight, nonlinearity="relu")


Initializer = one_of(KaimingUniform)
