import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from trainlab.objectives.policy_gradient import PolicyGradient

OBJECTIVE = PolicyGradient(name="policy_gradient", entropy_weight=0.04, baseline=True)
WITHOUT_ENTROPY = PolicyGradient(name="policy_gradient", entropy_weight=0, baseline=True)


def forced(batch: int, classes: int, action: int) -> dict[str, Tensor]:
    """Return draws with which this action is sampled for every image."""
    noise = torch.full((batch, classes), -1e9, dtype=torch.float64)
    noise[:, action] = 1e9
    return {"gumbel": noise}


def policy_gradients(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the gradient in the policy's logits for each action, ``[classes, batch, classes]``."""
    classes = outputs.shape[1] - 1
    gradients = []
    for action in range(classes):
        loss, _ = WITHOUT_ENTROPY.loss(outputs, labels, forced(len(labels), classes, action))
        gradients.append(torch.autograd.grad(loss, outputs)[0][:, :-1])
    return torch.stack(gradients)


def inputs(batch: int, classes: int, seed: int) -> tuple[Tensor, Tensor, torch.Generator]:
    generator = torch.Generator().manual_seed(seed)
    outputs = torch.randn(batch, classes + 1, generator=generator, dtype=torch.float64)
    return outputs.requires_grad_(), torch.randint(classes, (batch,), generator=generator), generator


@given(st.integers(1, 10), st.integers(2, 10), st.integers(0, 2**31))
def test_loss_and_gradient_are_the_closed_form(batch: int, classes: int, seed: int) -> None:
    outputs, labels, generator = inputs(batch, classes, seed)
    draws = OBJECTIVE.draw(batch, classes, generator=generator)
    loss, logs = OBJECTIVE.loss(outputs, labels, draws)
    (gradient,) = torch.autograd.grad(loss, outputs)

    policy = torch.softmax(outputs.detach()[:, :-1], 1)
    value = torch.sigmoid(outputs.detach()[:, -1])
    action = (policy.log() + draws["gumbel"]).argmax(1)
    reward = (action == labels).double()
    onehot = torch.eye(classes, dtype=torch.float64)[action]
    entropy = -(policy * policy.log()).sum(1)
    of_policy = (value - reward)[:, None] * (onehot - policy) + 0.04 * policy * (policy.log() + entropy[:, None])
    expected = torch.cat([of_policy, (value - reward)[:, None]], 1) / batch
    assert torch.allclose(gradient, expected)
    assert torch.allclose(OBJECTIVE.closed_form_gradient(outputs, labels, draws), expected)
    baseline_loss = -(reward * value.log() + (1 - reward) * (1 - value).log()).mean()
    surrogate = ((value - reward) * policy.gather(1, action[:, None])[:, 0].log()).mean()
    assert torch.allclose(loss, surrogate + baseline_loss - 0.04 * entropy.mean())
    for name, number in (
        ("reward", reward.mean()),
        ("baseline", value.mean()),
        ("baseline_loss", baseline_loss),
        ("entropy", entropy.mean()),
    ):
        assert torch.allclose(logs[name], number), name


@given(st.integers(1, 6), st.integers(2, 8), st.integers(0, 2**31))
def test_over_all_actions_the_estimate_is_the_gradient_of_the_expected_reward(
    batch: int, classes: int, seed: int
) -> None:
    outputs, labels, _ = inputs(batch, classes, seed)
    policy = torch.softmax(outputs[:, :-1], 1)
    expected_reward = policy.gather(1, labels[:, None]).mean()
    (of_reward,) = torch.autograd.grad(expected_reward, outputs)
    estimate = (policy.detach().T[:, :, None] * policy_gradients(outputs, labels)).sum(0)
    assert torch.allclose(estimate, -of_reward[:, :-1], atol=1e-12)


def test_the_baseline_leaves_the_mean_and_lowers_the_variance() -> None:
    classes = 5
    logits = torch.zeros(1, classes, dtype=torch.float64)
    labels = torch.tensor([2])
    policy = torch.softmax(logits, 1)[0]
    means, variances = [], []
    for baseline in (-50.0, math.log(0.2 / 0.8)):  # none, and the expected reward
        outputs = torch.cat([logits, torch.tensor([[baseline]])], 1).requires_grad_()
        gradients = policy_gradients(outputs, labels)[:, 0]
        mean = (policy[:, None] * gradients).sum(0)
        means.append(mean)
        variances.append(float((policy[:, None] * (gradients - mean) ** 2).sum()))
    assert torch.allclose(means[0], means[1])
    assert variances[1] < 0.8 * variances[0]


@given(st.integers(1, 6), st.integers(2, 8), st.integers(0, 2**31))
def test_without_a_baseline_the_reward_weights_the_gradient_of_the_policy(batch: int, classes: int, seed: int) -> None:
    plain = PolicyGradient(name="policy_gradient", entropy_weight=0.04)
    outputs, labels, generator = inputs(batch, classes - 1, seed)
    labels = labels.clamp(max=classes - 1)
    assert plain.num_outputs(classes) == classes
    assert torch.equal(plain.scores(outputs), outputs)
    draws = plain.draw(batch, classes, generator=generator)
    loss, logs = plain.loss(outputs, labels, draws)
    (gradient,) = torch.autograd.grad(loss, outputs)

    policy = torch.softmax(outputs.detach(), 1)
    action = (policy.log() + draws["gumbel"]).argmax(1)
    reward = (action == labels).double()
    onehot = torch.eye(classes, dtype=torch.float64)[action]
    entropy = -(policy * policy.log()).sum(1)
    expected = -reward[:, None] * (onehot - policy) + 0.04 * policy * (policy.log() + entropy[:, None])
    assert torch.allclose(gradient, expected / batch)
    assert torch.allclose(plain.closed_form_gradient(outputs, labels, draws), expected / batch)
    assert sorted(logs) == ["entropy", "reward"]


def test_actions_have_the_policys_probabilities() -> None:
    batch = 200_000
    logits = torch.tensor([1.0, 0.0, -1.0, 2.0])
    policy = torch.softmax(logits, 0)
    outputs = torch.cat([logits, torch.zeros(1)]).expand(batch, 5)
    draws = OBJECTIVE.draw(batch, 4, generator=torch.Generator().manual_seed(0))
    for label, probability in enumerate(policy.tolist()):
        _, logs = OBJECTIVE.loss(outputs, torch.full((batch,), label), draws)  # the mean reward counts this action
        assert float(logs["reward"]) == pytest.approx(
            probability, abs=5 * (probability * (1 - probability) / batch) ** 0.5
        )


def test_at_zero_outputs_the_expected_loss_is_the_known_value() -> None:
    classes = 10
    outputs = torch.zeros(1, classes + 1, dtype=torch.float64)
    losses = [float(OBJECTIVE.loss(outputs, torch.tensor([0]), forced(1, classes, a))[0]) for a in range(classes)]
    entropy = math.log(classes)
    assert sum(losses) / classes == pytest.approx(-(0.5 - 1 / classes) * entropy + math.log(2) - 0.04 * entropy)


def test_the_last_output_is_the_baseline() -> None:
    assert OBJECTIVE.num_outputs(10) == 11
    outputs = torch.tensor([[1.0, 2.0, 9.0]])
    assert OBJECTIVE.scores(outputs).tolist() == [[1.0, 2.0]]


def test_a_uniform_number_of_zero_still_gives_finite_noise() -> None:
    draws = OBJECTIVE.draw(100_000, 10, generator=torch.Generator().manual_seed(0))
    assert bool(torch.isfinite(draws["gumbel"]).all())
    assert float(draws["gumbel"].mean()) == pytest.approx(0.5772, abs=0.01)  # Euler's constant
    assert F.relu(draws["gumbel"]).max() < 20
