"""Activation functions, selected by a model's `activation`."""

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

ActivationName = Literal["relu", "leaky_relu", "tanh", "sigmoid", "gelu"]

_FUNCTIONS: dict[ActivationName, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "gelu": F.gelu,
}


def activation(name: ActivationName) -> Callable[[Tensor], Tensor]:
    """Return the elementwise function of this name, with torch's defaults (slope 0.01 of LeakyReLU, exact GELU).

    References
    ----------
    LeakyReLU: Maas, Hannun and Ng 2013. GELU: Hendrycks and Gimpel 2016.
    """
    return _FUNCTIONS[name]


def activate_and_pool(x: Tensor, name: ActivationName) -> Tensor:
    """Return 2×2 max-pooling of the activation of ``[batch, channels, height, width]``, in the cheapest equivalent order.

    A monotonic function commutes with the maximum, so pooling comes first and leaves it a quarter of the work. GELU is not
    monotonic: it decreases up to −0.75.
    """
    if name == "gelu":
        return F.max_pool2d(F.gelu(x), 2)
    return activation(name)(F.max_pool2d(x, 2))
