import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import lr_scheduler

from trainlab.schedules import Constant, Cosine, Exponential, Step


@pytest.mark.parametrize(
    ("schedule", "theirs"),
    [
        (Constant(name="constant"), lambda o, epochs: lr_scheduler.ConstantLR(o, factor=1)),
        (Exponential(name="exponential", gamma=0.8), lambda o, epochs: lr_scheduler.ExponentialLR(o, 0.8)),
        (Step(name="step", step_size=3, gamma=0.5), lambda o, epochs: lr_scheduler.StepLR(o, 3, 0.5)),
        (Cosine(name="cosine"), lambda o, epochs: lr_scheduler.CosineAnnealingLR(o, epochs)),
    ],
)
def test_rates_are_those_of_torchs_schedulers(schedule, theirs) -> None:
    epochs, lr = 10, 2e-3
    optimizer = torch.optim.SGD([torch.zeros(1)], lr)
    scheduler = theirs(optimizer, epochs)
    for epoch in range(epochs):
        expected = optimizer.param_groups[0]["lr"]
        for fraction in (0, 0.5, 0.999):  # one rate an epoch
            assert lr * schedule.factor(epoch + fraction, epochs) == pytest.approx(expected, rel=1e-12)
        optimizer.step()
        scheduler.step()


@given(st.floats(0.01, 1), st.integers(1, 60))
def test_a_factor_never_grows(gamma: float, epochs: int) -> None:
    for schedule in (Exponential(name="exponential", gamma=gamma), Cosine(name="cosine")):
        factors = [schedule.factor(epoch, epochs) for epoch in range(epochs)]
        assert factors[0] == 1
        assert factors == sorted(factors, reverse=True)
        assert min(factors) >= 0
