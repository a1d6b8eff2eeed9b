import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from trainlab.objectives.value_function import ValueFunction

OBJECTIVE = ValueFunction(name="value_function", epsilon=0.2)
CONSISTENT = ValueFunction(name="value_function", epsilon=0.2, consistent=True)


@given(st.integers(1, 12), st.integers(2, 12), st.integers(0, 2**31))
def test_loss_and_gradient_are_the_closed_form(batch: int, classes: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    outputs = (3 * torch.randn(batch, classes, generator=generator, dtype=torch.float64)).requires_grad_()
    labels = torch.randint(classes, (batch,), generator=generator)
    draws = OBJECTIVE.draw(batch, classes, generator=generator)
    loss, logs = OBJECTIVE.loss(outputs, labels, draws)
    (gradient,) = torch.autograd.grad(loss, outputs)

    values = outputs.detach()
    losses, expected = [], torch.zeros_like(values)
    for i in range(batch):
        explores = float(draws["explore"][i]) < 0.2
        action = int(draws["choice"][i]) if explores else int(values[i].argmax())
        reward, value = float(action == labels[i]), 1 / (1 + math.exp(-float(values[i, action])))
        losses.append(-math.log(value if reward else 1 - value))
        expected[i, action] = (value - reward) / batch  # only the value of the chosen class is trained
    assert float(loss.detach()) == pytest.approx(sum(losses) / batch)
    assert torch.allclose(gradient, expected)
    assert 0 <= float(logs["reward"]) <= 1


@given(st.integers(1, 12), st.integers(2, 12), st.integers(0, 2**31))
def test_consistent_values_are_the_softmax_of_the_outputs(batch: int, classes: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    outputs = (3 * torch.randn(batch, classes, generator=generator, dtype=torch.float64)).requires_grad_()
    labels = torch.randint(classes, (batch,), generator=generator)
    draws = CONSISTENT.draw(batch, classes, generator=generator)
    loss, _ = CONSISTENT.loss(outputs, labels, draws)

    values = torch.softmax(outputs, 1)
    actions = torch.where(draws["explore"] < 0.2, draws["choice"], outputs.argmax(1))
    value = values[torch.arange(batch), actions]
    reward = (actions == labels).double()
    expected = F.binary_cross_entropy(value, reward)
    assert torch.allclose(loss, expected)
    gradient, expected_gradient = (torch.autograd.grad(of, outputs, retain_graph=True)[0] for of in (loss, expected))
    assert torch.allclose(gradient, expected_gradient, atol=1e-9)


@pytest.mark.parametrize("epsilon", [0.0, 0.2, 0.7, 1.0])
def test_actions_are_epsilon_greedy(epsilon: float) -> None:
    batch, classes = 200_000, 4
    objective = ValueFunction(name="value_function", epsilon=epsilon)
    outputs = torch.tensor([0.0, 2.0, 1.0, -1.0]).expand(batch, classes)
    draws = objective.draw(batch, classes, generator=torch.Generator().manual_seed(0))
    for label in range(classes):
        probability = epsilon / classes + (1 - epsilon) * (label == 1)
        _, logs = objective.loss(outputs, torch.full((batch,), label), draws)  # the mean reward counts this choice
        assert float(logs["reward"]) == pytest.approx(
            probability, abs=5 * (probability * (1 - probability) / batch) ** 0.5
        )


def test_the_label_affects_the_loss_only_through_the_reward() -> None:
    outputs = torch.tensor([[3.0, 0.0, 0.0]])
    draws = {"explore": torch.tensor([0.9]), "choice": torch.tensor([0])}
    wrong = [float(OBJECTIVE.loss(outputs, torch.tensor([label]), draws)[0]) for label in (1, 2)]
    assert wrong[0] == wrong[1]


def test_with_epsilon_0_every_choice_is_greedy() -> None:
    greedy = ValueFunction(name="value_function", epsilon=0)
    draws = {
        "explore": torch.tensor([0.0]),
        "choice": torch.tensor([1]),
    }  # 0 is the smallest number that `rand` returns
    _, logs = greedy.loss(torch.tensor([[3.0, 0.0, 0.0]]), torch.tensor([0]), draws)
    assert float(logs["reward"]) == 1
