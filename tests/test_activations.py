from typing import get_args

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from trainlab.activations import ActivationName, activate_and_pool, activation

MODULES = {
    "relu": nn.ReLU(),
    "leaky_relu": nn.LeakyReLU(0.01),
    "tanh": nn.Tanh(),
    "sigmoid": nn.Sigmoid(),
    "gelu": nn.GELU(),
}


def test_every_name_is_tested() -> None:
    assert list(MODULES) == list(get_args(ActivationName))


@pytest.mark.parametrize("name", MODULES)
def test_each_name_is_torchs_function(name: ActivationName) -> None:
    x = torch.linspace(-5, 5, 101)
    assert torch.equal(activation(name)(x), MODULES[name](x))


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("size", [6, 7])
def test_pooling_first_gives_the_same_result(name: ActivationName, size: int) -> None:
    torch.manual_seed(0)
    x = (2 * torch.randn(4, 3, size, size, dtype=torch.float64)).requires_grad_()
    quick, plain = activate_and_pool(x, name), F.max_pool2d(MODULES[name](x), 2)
    assert torch.equal(quick, plain)
    weights = torch.randn_like(plain)
    (of_quick,) = torch.autograd.grad(quick, x, weights)
    (of_plain,) = torch.autograd.grad(plain, x, weights)
    torch.testing.assert_close(of_quick, of_plain)


def test_gelu_is_not_monotone() -> None:
    """Show why GELU must not be pooled first."""
    x = torch.tensor([[-3.0, -3.0], [-3.0, -0.75]])[None, None]
    assert not torch.equal(F.max_pool2d(F.gelu(x), 2), F.gelu(F.max_pool2d(x, 2)))
