import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from trainlab.objectives.sampled_softmax import SampledSoftmax

OBJECTIVE = SampledSoftmax(name="sampled_softmax", n_samples=5)
SIZES = (st.integers(1, 12), st.integers(2, 15), st.integers(1, 8), st.integers(0, 2**31))


def inputs(batch: int, classes: int, n_samples: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    outputs = 3 * torch.randn(batch, classes, generator=generator, dtype=torch.float64)
    labels = torch.randint(classes, (batch,), generator=generator)
    return outputs.requires_grad_(), labels, torch.randint(classes, (n_samples,), generator=generator)


def by_hand(outputs: Tensor, labels: Tensor, samples: Tensor) -> Tensor:
    """Row by row, leaving rejected samples out instead of lowering their score."""
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


@given(*SIZES)
def test_only_the_rows_that_are_needed_give_the_same_loss_and_gradients(
    batch: int, classes: int, n_samples: int, seed: int
) -> None:
    _, labels, samples = inputs(batch, classes, n_samples, seed)
    torch.manual_seed(seed)
    head = nn.Linear(6, classes).double()
    features = torch.randn(batch, 6, dtype=torch.float64, requires_grad=True)
    parameters = (features, head.weight, head.bias)
    whole, _ = OBJECTIVE.loss(head(features), labels, {"samples": samples})
    few, _ = OBJECTIVE.loss_from_features(features, head, labels, {"samples": samples})
    assert torch.allclose(whole, few)
    for a, b in zip(torch.autograd.grad(whole, parameters), torch.autograd.grad(few, parameters), strict=True):
        assert torch.allclose(a, b)


def test_a_row_whose_samples_are_all_its_label_has_loss_0() -> None:
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
    draws = SampledSoftmax(name="sampled_softmax", n_samples=100_000).draw(
        1, 10, generator=torch.Generator().manual_seed(0)
    )
    counts = torch.bincount(draws["samples"], minlength=10).double()
    assert draws["samples"].shape == (100_000,)
    assert float(((counts - 10_000) ** 2 / 10_000).sum()) < 27.9  # chi-squared, 9 degrees of freedom, 0.1 %


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_extreme_outputs_and_a_batch_of_one_stay_finite(kind: torch.dtype, scale: float) -> None:
    outputs = (scale * torch.tensor([[1.0, -1.0, 0.5]])).to(kind).requires_grad_()
    for samples in ([1, 1], [0, 0], [0, 2]):
        for label in range(3):
            loss, _ = OBJECTIVE.loss(outputs, torch.tensor([label]), {"samples": torch.tensor(samples)})
            (gradient,) = torch.autograd.grad(loss, outputs)
            assert math.isfinite(float(loss.detach()))
            assert loss.dtype == kind
            assert bool(torch.isfinite(gradient).all())
