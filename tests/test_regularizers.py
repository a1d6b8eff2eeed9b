from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from trainlab.optimizers import Sgd
from trainlab.regularizers import L1, ElasticNet, FilterNorm, MaxNorm

PENALTIES = [
    (L1(name="l1", strength=0.3), lambda w: 0.3 * w.abs().sum()),
    (ElasticNet(name="elastic_net", l1=0.3, l2=0.7), lambda w: 0.3 * w.abs().sum() + 0.7 / 2 * w.square().sum()),
]


def some(*shapes: tuple[int, ...], seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in shapes]


LAYERS = [(5, 3, 2, 2), (5,), (4, 6), (4,)]  # a convolution and a linear layer with their biases


@pytest.mark.parametrize(("regularizer", "penalty"), PENALTIES)
def test_the_added_gradient_is_that_of_the_penalty(
    regularizer: Any, penalty: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    parameters = [p.requires_grad_() for p in some(*LAYERS)]
    with torch.no_grad():
        parameters[2][0, 0] = 0  # where |w| has no derivative
    gradients = some(*LAYERS, seed=1)
    before = [g.clone() for g in gradients]
    regularizer.add_gradient(parameters, gradients)
    weights = [parameters[0], parameters[2]]
    expected = torch.autograd.grad(penalty(weights[0]) + penalty(weights[1]), weights)
    torch.testing.assert_close([gradients[0] - before[0], gradients[2] - before[2]], list(expected), rtol=0, atol=1e-6)
    assert torch.equal(gradients[1], before[1])
    assert torch.equal(gradients[3], before[3])


def test_the_gradient_of_a_channels_last_convolution() -> None:
    (weight,) = some((5, 3, 2, 2))
    gradients = [torch.zeros(5, 3, 2, 2)]
    L1(name="l1", strength=2).add_gradient([weight.to(memory_format=torch.channels_last)], gradients)
    assert torch.equal(gradients[0], 2 * weight.sign())


@pytest.mark.parametrize(("regularizer", "penalty"), PENALTIES)
def test_a_penalty_constrains_nothing(regularizer: Any, penalty: Callable[[torch.Tensor], torch.Tensor]) -> None:
    parameters = some(*LAYERS)
    before = [p.clone() for p in parameters]
    regularizer.constrain(parameters)
    assert all(map(torch.equal, parameters, before))


def test_l2_is_sgds_weight_decay() -> None:
    mine, reference = some((4, 6)), some((4, 6))
    elastic, plain = ElasticNet(name="elastic_net", l1=1e-12, l2=0.1), Sgd(name="sgd", momentum=0.9)
    decaying = Sgd(name="sgd", momentum=0.9, weight_decay=0.1)
    state, state_of_reference = plain.start(mine), decaying.start(reference)
    for step in range(10):
        gradients = some((4, 6), seed=step)
        decaying.step(reference, [g.clone() for g in gradients], state_of_reference, 0.1)
        elastic.add_gradient(mine, gradients)
        plain.step(mine, gradients, state, 0.1)
    torch.testing.assert_close(mine, reference, rtol=0, atol=1e-6)


@given(
    st.lists(st.integers(1, 4), min_size=2, max_size=4), st.floats(1e-3, 100), st.floats(0, 100), st.integers(0, 2**31)
)
def test_no_unit_exceeds_the_limit_and_directions_are_unchanged(
    shape: tuple[int, ...], limit: float, scale: float, seed: int
) -> None:
    (before,) = some(tuple(shape), seed=seed)
    before *= scale
    weight = before.clone().requires_grad_()
    MaxNorm(name="max_norm", limit=limit).constrain([weight])
    for unit, old in zip(weight.detach().double(), before.double(), strict=True):
        norm = old.norm()
        assert unit.norm() <= limit * (1 + 1e-6)
        if norm <= limit * (1 - 1e-6):
            assert torch.equal(unit, old)
        elif norm > limit:
            torch.testing.assert_close(unit, old * (limit / norm), rtol=1e-3, atol=1e-6)


def test_max_norm_is_torchs_renorm_of_rows_and_filters_in_any_memory_format() -> None:
    convolution, bias, linear = some((5, 3, 2, 2), (5,), (4, 6))
    parameters = [convolution.to(memory_format=torch.channels_last), bias.clone(), linear.clone()]
    regularizer = MaxNorm(name="max_norm", limit=0.5)
    regularizer.constrain(parameters)
    rows = torch.renorm(convolution.flatten(1), 2, 0, 0.5).view(5, 3, 2, 2)
    torch.testing.assert_close(parameters, [rows, bias, torch.renorm(linear, 2, 0, 0.5)], rtol=1e-6, atol=0)
    assert parameters[0].is_contiguous(memory_format=torch.channels_last)


def test_max_norm_adds_no_gradient() -> None:
    gradients = some(*LAYERS)
    MaxNorm(name="max_norm", limit=0.1).add_gradient(some(*LAYERS, seed=1), gradients)
    assert all(map(torch.equal, gradients, some(*LAYERS)))


@pytest.mark.parametrize(
    ("regularizer", "fields"),
    [
        (L1, {"name": "l1", "strength": 0}),
        (ElasticNet, {"name": "elastic_net", "l1": 0, "l2": 1}),
        (ElasticNet, {"name": "elastic_net", "l1": 1, "l2": -1}),
        (MaxNorm, {"name": "max_norm", "limit": 0}),
    ],
)
def test_parameters_must_be_above_zero(regularizer: Any, fields: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match="greater than 0"):
        regularizer(**fields)


def test_filter_norm_sets_the_norm_of_convolutions_alone() -> None:
    parameters = some((6, 3, 2, 2), (5, 4), (7,))
    before = [p.clone() for p in parameters]
    FilterNorm(name="filter_norm").constrain(parameters)
    assert float(parameters[0].norm()) == pytest.approx(6**0.5)
    torch.testing.assert_close(parameters[0] / before[0], torch.full_like(before[0], 6**0.5) / before[0].norm())
    assert torch.equal(parameters[1], before[1])
    assert torch.equal(parameters[2], before[2])
