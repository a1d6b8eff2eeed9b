import torch
from hypothesis import given
from hypothesis import strategies as st

from trainlab.objectives.softmax_cross_entropy import SoftmaxCrossEntropy

OBJECTIVE = SoftmaxCrossEntropy(name="softmax_cross_entropy")


@given(st.integers(1, 20), st.integers(2, 30), st.integers(0, 2**31))
def test_loss_and_gradient_are_the_closed_form(batch: int, classes: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    outputs = (5 * torch.randn(batch, classes, generator=generator, dtype=torch.float64)).requires_grad_()
    labels = torch.randint(classes, (batch,), generator=generator)
    loss, logs = OBJECTIVE.loss(outputs, labels, {})
    loss.backward()
    probabilities = outputs.detach().exp() / outputs.detach().exp().sum(1, keepdim=True)
    onehot = torch.eye(classes, dtype=torch.float64)[labels]
    assert torch.allclose(loss, -(probabilities * onehot).sum(1).log().mean())
    assert outputs.grad is not None
    assert torch.allclose(outputs.grad, (probabilities - onehot) / batch, atol=1e-12)
    assert logs == {}


def test_scores_are_the_outputs_and_nothing_is_drawn() -> None:
    outputs = torch.randn(3, 4)
    assert torch.equal(OBJECTIVE.scores(outputs), outputs)
    assert OBJECTIVE.num_outputs(7) == 7
    assert OBJECTIVE.draw(3, 4, generator=torch.Generator()) == {}


@given(st.integers(1, 20), st.integers(2, 30), st.floats(0.01, 0.99), st.integers(0, 2**31))
def test_label_smoothing_spreads_a_share_of_the_target(batch: int, classes: int, share: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    outputs = (5 * torch.randn(batch, classes, generator=generator, dtype=torch.float64)).requires_grad_()
    labels = torch.randint(classes, (batch,), generator=generator)
    loss, _ = SoftmaxCrossEntropy(name="softmax_cross_entropy", label_smoothing=share).loss(outputs, labels, {})
    loss.backward()
    target = (1 - share) * torch.eye(classes, dtype=torch.float64)[labels] + share / classes
    probabilities = outputs.detach().softmax(1)
    assert torch.allclose(loss, -(target * probabilities.log()).sum(1).mean())
    assert outputs.grad is not None
    assert torch.allclose(outputs.grad, (probabilities - target) / batch, atol=1e-12)
