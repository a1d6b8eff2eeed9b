import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from trainlab.objectives.teacher_student import TeacherStudent

SIZES = (st.integers(1, 12), st.integers(2, 12), st.integers(0, 2**31), st.floats(0, 1))


def objective(alpha: float, temperature: float = 1.0) -> TeacherStudent:
    return TeacherStudent(name="teacher_student", alpha=alpha, temperature=temperature)


def inputs(batch: int, classes: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    outputs, teacher = 3 * torch.randn(2, batch, classes, generator=generator, dtype=torch.float64)
    return outputs.requires_grad_(), torch.randint(classes, (batch,), generator=generator), teacher


@given(*SIZES)
def test_at_temperature_1_it_is_the_divergence_from_the_target(
    batch: int, classes: int, seed: int, alpha: float
) -> None:
    outputs, labels, teacher = inputs(batch, classes, seed)
    loss, logs = objective(alpha).loss(outputs, labels, {"teacher_outputs": teacher})
    (gradient,) = torch.autograd.grad(loss, outputs)
    target = alpha * torch.softmax(teacher, 1) + (1 - alpha) * torch.eye(classes, dtype=torch.float64)[labels]
    divergence = F.kl_div(F.log_softmax(outputs, 1), target, reduction="batchmean")
    assert torch.allclose(loss, divergence, atol=1e-9)
    assert torch.allclose(gradient, (torch.softmax(outputs, 1) - target).detach() / batch, atol=1e-9)
    predicted = outputs.argmax(1)
    assert float(logs["teacher_agreement"]) == pytest.approx(float((predicted == teacher.argmax(1)).double().mean()))
    assert float(logs["label_agreement"]) == pytest.approx(float((predicted == labels).double().mean()))


@given(*SIZES[:3], st.floats(0.25, 8))
def test_alpha_0_is_plain_cross_entropy_at_any_temperature(
    batch: int, classes: int, seed: int, temperature: float
) -> None:
    outputs, labels, teacher = inputs(batch, classes, seed)
    loss, _ = objective(0, temperature).loss(outputs, labels, {"teacher_outputs": teacher})
    plain = F.cross_entropy(outputs, labels)
    assert torch.allclose(loss, plain)
    assert torch.allclose(torch.autograd.grad(loss, outputs)[0], torch.autograd.grad(plain, outputs)[0])


@given(*SIZES[:3], st.floats(0.25, 8))
def test_alpha_1_is_the_softened_divergence_times_the_squared_temperature(
    batch: int, classes: int, seed: int, temperature: float
) -> None:
    outputs, labels, teacher = inputs(batch, classes, seed)
    loss, _ = objective(1, temperature).loss(outputs, labels, {"teacher_outputs": teacher})
    soft = torch.softmax(teacher / temperature, 1)
    divergence = F.kl_div(F.log_softmax(outputs / temperature, 1), soft, reduction="batchmean")
    assert torch.allclose(loss, temperature**2 * divergence, atol=1e-9)
    (gradient,) = torch.autograd.grad(loss, outputs)
    expected = temperature * (torch.softmax(outputs / temperature, 1) - soft) / batch
    assert torch.allclose(gradient, expected.detach(), atol=1e-9)


def test_a_student_with_its_teachers_outputs_has_loss_0() -> None:
    _, labels, teacher = inputs(5, 4, 0)
    loss, logs = objective(1, 2.0).loss(teacher, labels, {"teacher_outputs": teacher})
    assert float(loss.detach()) == pytest.approx(0, abs=1e-12)
    assert float(logs["teacher_agreement"]) == 1


def test_at_zero_outputs_the_loss_is_the_known_value() -> None:
    _, labels, teacher = inputs(6, 10, 1)
    loss, _ = objective(0.5).loss(torch.zeros(6, 10, dtype=torch.float64), labels, {"teacher_outputs": teacher})
    target = 0.5 * torch.softmax(teacher, 1) + 0.5 * torch.eye(10, dtype=torch.float64)[labels]
    entropy = float(-(target * target.log()).sum(1).mean())
    assert float(loss) == pytest.approx(math.log(10) - entropy)
