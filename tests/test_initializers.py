import math

import pytest
import torch
from torch import nn

from trainlab.initializers import KaimingUniform


@pytest.mark.parametrize(("layer", "fan_in"), [(nn.Linear(200, 300), 200), (nn.Conv2d(16, 64, 5), 16 * 25)])
def test_kaiming_uniform_has_variance_two_over_fan_in(layer: nn.Linear | nn.Conv2d, fan_in: int) -> None:
    torch.manual_seed(0)
    KaimingUniform(name="kaiming_uniform").apply(nn.Sequential(layer, nn.ReLU()))
    bound = math.sqrt(6 / fan_in)
    weight = layer.weight.detach()
    assert float(weight.abs().max()) <= bound
    assert float(weight.abs().max()) > 0.99 * bound
    assert float(weight.var()) == pytest.approx(2 / fan_in, rel=0.03)
    assert layer.bias is not None
    assert not layer.bias.any()
