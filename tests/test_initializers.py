import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from trainlab.initializers import (
    Dirac,
    Gaussian,
    KaimingNormal,
    KaimingUniform,
    LecunNormal,
    XavierNormal,
    XavierUniform,
    _Initializer,
)
from trainlab.models.tf_cnn import TfCnn

LAYERS = [(nn.Linear(200, 300), 200, 300), (nn.Conv2d(16, 64, 5), 16 * 25, 64 * 25)]
UNIFORM = [
    (KaimingUniform(name="kaiming_uniform"), lambda fan_in, fan_out: 2 / fan_in),
    (XavierUniform(name="xavier_uniform"), lambda fan_in, fan_out: 2 / (fan_in + fan_out)),
]
NORMAL = [
    (KaimingNormal(name="kaiming_normal"), lambda fan_in, fan_out: 2 / fan_in),
    (XavierNormal(name="xavier_normal"), lambda fan_in, fan_out: 2 / (fan_in + fan_out)),
    (LecunNormal(name="lecun_normal"), lambda fan_in, fan_out: 1 / fan_in),
    (Gaussian(name="gaussian", std=0.3), lambda fan_in, fan_out: 0.3**2),
]
Variance = Callable[[int, int], float]


def filled(initializer: _Initializer, layer: nn.Linear | nn.Conv2d) -> Tensor:
    torch.manual_seed(0)
    initializer.apply(nn.Sequential(layer, nn.ReLU()))
    assert layer.bias is not None
    assert not layer.bias.any()
    return layer.weight.detach().flatten()


@pytest.mark.parametrize(("layer", "fan_in", "fan_out"), LAYERS, ids=["linear", "conv"])
@pytest.mark.parametrize(("initializer", "variance"), UNIFORM, ids=lambda value: getattr(value, "name", ""))
def test_uniform_distributions_have_their_variance_and_bound(
    initializer: _Initializer, variance: Variance, layer: nn.Linear | nn.Conv2d, fan_in: int, fan_out: int
) -> None:
    weight = filled(initializer, layer)
    bound = math.sqrt(3 * variance(fan_in, fan_out))
    assert float(weight.abs().max()) <= bound
    assert float(weight.abs().max()) > 0.99 * bound
    assert float(weight.var()) == pytest.approx(variance(fan_in, fan_out), rel=0.03)


@pytest.mark.parametrize(("layer", "fan_in", "fan_out"), LAYERS, ids=["linear", "conv"])
@pytest.mark.parametrize(("initializer", "variance"), NORMAL, ids=lambda value: getattr(value, "name", ""))
def test_normal_distributions_have_their_variance_and_tails(
    initializer: _Initializer, variance: Variance, layer: nn.Linear | nn.Conv2d, fan_in: int, fan_out: int
) -> None:
    weight = filled(initializer, layer)
    std = math.sqrt(variance(fan_in, fan_out))
    count = len(weight)
    assert abs(float(weight.mean())) < 5 * std / math.sqrt(count)
    assert float(weight.var()) == pytest.approx(std**2, rel=5 * math.sqrt(2 / count))
    for deviations, share in ((1, 0.6827), (2, 0.9545), (3, 0.9973)):
        assert float((weight.abs() < deviations * std).double().mean()) == pytest.approx(share, abs=0.01)


@pytest.mark.parametrize(
    ("ours", "torchs"),
    [
        (Gaussian(name="gaussian", std=0.02), lambda w: nn.init.normal_(w, 0, 0.02)),
        (
            KaimingNormal(name="kaiming_normal"),
            lambda w: nn.init.kaiming_normal_(w, mode="fan_in", nonlinearity="relu"),
        ),
        (KaimingUniform(name="kaiming_uniform"), lambda w: nn.init.kaiming_uniform_(w, nonlinearity="relu")),
        (XavierNormal(name="xavier_normal"), lambda w: nn.init.xavier_normal_(w, gain=1)),
        (XavierUniform(name="xavier_uniform"), lambda w: nn.init.xavier_uniform_(w, gain=1)),
        (LecunNormal(name="lecun_normal"), lambda w: nn.init.normal_(w, 0, 1 / math.sqrt(w[0].numel()))),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_weights_are_torchs_to_the_bit(ours: _Initializer, torchs: Callable[[Tensor], Tensor]) -> None:
    net = TfCnn.model_validate({"name": "tf_cnn", "initializer": ours})
    torch.manual_seed(5)
    drawn = net.network((3, 32, 32), 10)
    ours.apply(drawn)
    torch.manual_seed(5)
    expected = net.network((3, 32, 32), 10)
    with torch.no_grad():
        weights = [torchs(p) for p in expected.parameters() if p.dim() > 1]
    for p, weight in zip((p for p in drawn.parameters() if p.dim() > 1), weights, strict=True):
        assert torch.equal(p, weight)
    assert not any(p.any() for p in drawn.parameters() if p.dim() == 1)


@pytest.mark.parametrize("std", [0, -1.0, math.inf, "wide", True])
def test_a_standard_deviation_is_above_zero(std: Any) -> None:
    with pytest.raises(ValueError, match="std"):
        Gaussian.model_validate({"name": "gaussian", "std": std})


def test_dirac_copies_each_input_once_and_leaves_the_rest_to_torch() -> None:
    wide, narrow, linear = nn.Conv2d(3, 5, 3, padding=1), nn.Conv2d(5, 3, 3, padding=1), nn.Linear(7, 9)
    torch.manual_seed(0)
    Dirac(name="dirac").apply(nn.Sequential(wide, narrow, linear))
    images = torch.randn(2, 5, 6, 6)
    assert torch.equal(wide(images[:, :3])[:, :3], images[:, :3])
    assert torch.equal(narrow(images), images[:, :3])
    torch.manual_seed(0)
    first, _, last = nn.Conv2d(3, 5, 3, bias=False), nn.Conv2d(5, 3, 3, bias=False), nn.Linear(7, 9, bias=False)
    assert torch.equal(wide.weight[3:], first.weight[3:])
    assert torch.equal(linear.weight, last.weight)
