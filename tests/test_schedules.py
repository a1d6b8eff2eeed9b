import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch.optim import lr_scheduler

from trainlab.schedules import Constant, Cosine, Exponential, Milestones, OneCycle, Step, Triangular


@pytest.mark.parametrize(
    ("schedule", "theirs"),
    [
        (Constant(name="constant"), lambda o, epochs: lr_scheduler.ConstantLR(o, factor=1)),
        (Exponential(name="exponential", gamma=0.8), lambda o, epochs: lr_scheduler.ExponentialLR(o, 0.8)),
        (Step(name="step", step_size=3, gamma=0.5), lambda o, epochs: lr_scheduler.StepLR(o, 3, 0.5)),
        (Cosine(name="cosine"), lambda o, epochs: lr_scheduler.CosineAnnealingLR(o, epochs)),
    ],
)
def test_rates_are_those_of_torchs_schedulers(schedule: Any, theirs: Callable[..., Any]) -> None:
    epochs, lr = 10, 2e-3
    optimizer = torch.optim.SGD([torch.zeros(1)], lr)
    scheduler = theirs(optimizer, epochs)
    for epoch in range(epochs):
        expected = optimizer.param_groups[0]["lr"]
        for fraction in (0, 0.5, 0.999):  # one rate per epoch
            assert lr * schedule.factor(epoch + fraction, epochs) == pytest.approx(expected, rel=1e-12)
        optimizer.step()
        scheduler.step()


@given(st.floats(0.01, 1), st.integers(1, 60))
def test_factors_never_increase(gamma: float, epochs: int) -> None:
    for schedule in (Exponential(name="exponential", gamma=gamma), Cosine(name="cosine")):
        factors = [schedule.factor(epoch, epochs) for epoch in range(epochs)]
        assert factors[0] == 1
        assert factors == sorted(factors, reverse=True)
        assert min(factors) >= 0


@pytest.mark.parametrize(
    ("epochs", "steps", "warmup", "start", "end"),
    [(10, 7, 0.3, 0.04, 4e-6), (2, 50, 0.23, 0.5, 0.1), (1, 9, 0.5, 1, 1), (3, 1, 0.9, 0.1, 0.01)],
)
def test_one_cycle_has_torchs_rates_at_every_step(
    epochs: int, steps: int, warmup: float, start: float, end: float
) -> None:
    lr, total = 0.4, epochs * steps
    optimizer = torch.optim.SGD([torch.zeros(1)], lr)
    # In torch the last of `total_steps` steps is the end and the peak comes at step `pct_start · total_steps − 1`: one step
    # more, and a peak one step later, put both where the fractions of training say.
    scheduler = lr_scheduler.OneCycleLR(
        optimizer,
        lr,
        total_steps=total + 1,
        pct_start=(total * warmup + 1) / (total + 1),
        div_factor=1 / start,
        final_div_factor=start / end,
        cycle_momentum=False,
    )
    schedule = OneCycle(name="one_cycle", warmup=warmup, start=start, end=end)
    for step in range(total):
        done = step // steps + step % steps / steps  # as the training loop counts
        assert lr * schedule.factor(done, epochs) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        optimizer.step()
        scheduler.step()


@given(st.floats(0.01, 0.99), st.floats(0.01, 1), st.floats(0, 1), st.integers(1, 60))
def test_one_cycle_rises_and_falls_once(warmup: float, start: float, end: float, epochs: int) -> None:
    schedule = OneCycle(name="one_cycle", warmup=warmup, start=start, end=end)
    assert schedule.factor(0, epochs) == pytest.approx(start)
    assert schedule.factor(warmup * epochs, epochs) == pytest.approx(1)
    assert schedule.factor(epochs, epochs) == pytest.approx(end)
    up = [schedule.factor(warmup * epochs * i / 20, epochs) for i in range(20)]
    down = [schedule.factor(epochs * (warmup + (1 - warmup) * i / 20), epochs) for i in range(1, 21)]
    assert all(a <= b + 1e-12 for a, b in pairwise(up))
    assert all(a >= b - 1e-12 for a, b in pairwise(down))


def test_milestones_give_the_listed_rates() -> None:
    schedule = Milestones(name="milestones", after=[25, 40], factors=[0.7, 0.5])
    rates = [0.1 * schedule.factor(done, 50) for done in (0, 24.999, 25, 39.9, 40, 49)]
    assert rates == pytest.approx([0.1, 0.1, 0.07, 0.07, 0.05, 0.05])


def test_equal_milestones_are_torchs_multi_step() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1)], 0.1)
    scheduler = lr_scheduler.MultiStepLR(optimizer, [3, 4, 8], 0.5)
    schedule = Milestones(name="milestones", after=[3, 4, 8], factors=[0.5, 0.25, 0.125])
    for epoch in range(10):
        assert 0.1 * schedule.factor(epoch + 0.5, 10) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
        optimizer.step()
        scheduler.step()


@pytest.mark.parametrize(
    ("after", "factors", "message"),
    [
        ([25, 40], [0.7], "same length"),
        ([40, 25], [0.7, 0.5], "must increase"),
        ([25, 25], [0.7, 0.5], "must increase"),
        ([0], [0.7], "greater than or equal to 1"),
        ([25], [0.0], "greater than 0"),
        ([25], [math.inf], "finite"),
        ([25.5], [0.7], "integer"),
        ([], [], "at least 1"),
    ],
)
def test_wrong_milestones_are_refused(after: list[int], factors: list[float], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Milestones(name="milestones", after=after, factors=factors)


def test_factors_of_milestones_can_be_integers() -> None:
    assert Milestones(name="milestones", after=[1], factors=[2]).factor(1, 2) == 2


@given(st.floats(0.01, 1), st.floats(0, 0.99), st.floats(0, 1), st.integers(1, 60))
def test_a_triangle_is_two_straight_lines(start: float, peak: float, end: float, epochs: int) -> None:
    schedule = Triangular(name="triangular", start=start, peak=peak, end=end)
    corners = ([0, peak, 1], [start, 1, end]) if peak else ([0, 1], [1, end])
    for step in range(50):
        assert schedule.factor(step / 50 * epochs, epochs) == pytest.approx(np.interp(step / 50, *corners), abs=1e-9)


def test_a_triangle_is_torchs_pair_of_linear_schedules() -> None:
    lr, total, rising = 0.5, 40, 10
    optimizer = torch.optim.SGD([torch.zeros(1)], lr)
    up = lr_scheduler.LinearLR(optimizer, 0.2, 1, rising)
    down = lr_scheduler.LinearLR(optimizer, 1, 0.07, total - rising)
    scheduler = lr_scheduler.SequentialLR(optimizer, [up, down], [rising])
    schedule = Triangular(name="triangular", start=0.2, peak=rising / total, end=0.07)
    for step in range(total):
        assert lr * schedule.factor(step / 10, total // 10) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
