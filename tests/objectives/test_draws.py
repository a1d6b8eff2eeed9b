"""The random numbers of all objectives."""

import pytest
import torch

from trainlab.objectives.base import Objective
from trainlab.objectives.policy_gradient import PolicyGradient
from trainlab.objectives.sampled_softmax import SampledSoftmax
from trainlab.objectives.value_function import ValueFunction

OBJECTIVES: list[Objective] = [
    PolicyGradient(name="policy_gradient", entropy_weight=0.04),
    SampledSoftmax(name="sampled_softmax", n_samples=5),
    ValueFunction(name="value_function", epsilon=0.1),
]
parametrize = pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda objective: objective.name)


@parametrize
def test_draws_depend_on_their_generator_only(objective: Objective) -> None:
    torch.manual_seed(0)
    first = objective.draw(16, 10, generator=torch.Generator().manual_seed(7))
    torch.manual_seed(1)
    again = objective.draw(16, 10, generator=torch.Generator().manual_seed(7))
    other = objective.draw(16, 10, generator=torch.Generator().manual_seed(8))
    assert first
    for name, numbers in first.items():
        assert torch.equal(numbers, again[name]), name
        assert not torch.equal(numbers, other[name]), name


@parametrize
def test_draws_are_on_the_device_of_their_generator(objective: Objective) -> None:
    generator = torch.Generator("cpu")
    with torch.device("meta"):  # any other default device
        draws = objective.draw(16, 10, generator=generator)
    assert {numbers.device.type for numbers in draws.values()} == {"cpu"}
