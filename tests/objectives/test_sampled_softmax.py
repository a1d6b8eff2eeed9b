import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from trainlab.objectives.sampled_softmax import SampledSoftmax

OBJECTIVE = SampledSoftmax(name="sampled_softmax", n_samples=5)
SIZES = (st.integers(1, 12), st.integers(2, 15), st.integers(1, 8), st.integers(0, 2**31))


def inputs(batch: int, classes: int, n_samples: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    outputs = 3 * torch.randn(batch, classes, generator=generator, dtype=torch.float64)
    labels = torch.randint(classes, (batch,), generator=generator)
    return outputs.requires_grad_(), labels, torch.randint(classes, (n_samples,), generator=generator)


def by_hand(outputs: Tensor, labels: Tensor, samples: Tensor) -> Tensor:
    """Return the loss computed row by row, without the rejected samples."""
    classes, losses = outputs.shape[1], []
    for row, label in zip(outputs, labels.tolist(), strict=True):
        used = [s for s in samples.tolist() if s != label]
        others = sum((row[s].exp() * (classes - 1) / len(used) for s in used), start=torch.zeros((), dtype=row.dtype))
        losses.append(-torch.log(row[label].exp() / (row[label].exp() + others)))
    return torch.stack(losses).mean()


@given(*SIZES)
def test_loss_and_gradient_are_the_definition(batch: int, classes: int, n_samples: int, seed: int) -> None:
    outputs, labels, samples = inputs(batch, classes, n_samples, seed)
    loss, logs = OBJECTIVE.loss(outputs, labels, {"samples": samples})
    (gradient,) = torch.autograd.grad(loss, outputs)
    expected = by_hand(outputs, labels, samples)
    (expected_gradient,) = torch.autograd.grad(expected, outputs)
    assert torch.allclose(loss, expected, atol=1e-10)
    assert torch.allclose(gradient, expected_gradient, atol=1e-10)
    assert logs == {}


def test_an_image_whose_samples_all_equal_its_label_has_loss_0() -> None:
    outputs, _, _ = inputs(3, 4, 1, 0)
    loss, _ = OBJECTIVE.loss(outputs, torch.full((3,), 2), {"samples": torch.tensor([2, 2])})
    (gradient,) = torch.autograd.grad(loss, outputs)
    assert float(loss.detach()) == 0
    assert not gradient.any()


def test_every_class_once_is_the_full_softmax() -> None:
    outputs, labels, _ = inputs(8, 6, 1, 0)
    loss, _ = OBJECTIVE.loss(outputs, labels, {"samples": torch.arange(6)})
    assert torch.allclose(loss, F.cross_entropy(outputs, labels))


def test_the_gradient_approaches_the_full_one_as_samples_grow() -> None:
    outputs, labels, _ = inputs(16, 10, 1, 0)
    (full,) = torch.autograd.grad(F.cross_entropy(outputs, labels), outputs)
    generator = torch.Generator().manual_seed(0)
    errors = []
    for n_samples in (5, 50, 500, 5000):
        objective = SampledSoftmax(name="sampled_softmax", n_samples=n_samples)
        distance = []
        for _ in range(20):
            loss, _ = objective.loss(outputs, labels, objective.draw(16, 10, generator=generator))
            (gradient,) = torch.autograd.grad(loss, outputs)
            distance.append(float((gradient - full).norm()))
        errors.append(sum(distance) / 20)
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < errors[0] / 10


def test_samples_are_uniform() -> None:
    draws = SampledSoftmax(name="sampled_softmax", n_samples=60_000).draw(
        1, 10, generator=torch.Generator().manual_seed(0)
    )
    counts = torch.bincount(draws["samples"], minlength=10).double()
    assert draws["samples"].shape == (60_000,)
    assert float(((counts - 6_000) ** 2 / 6_000).sum()) < 27.9  # chi-squared, 9 degrees of freedom, 0.1 %
