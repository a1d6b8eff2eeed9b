"""Ranges: what they draw, how they shrink and move, and when a value is at their edge."""

import math
from collections import Counter
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from trainlab.search.space import DIGITS, Choice, Dimension, Integer, LogUniform, Uniform, Value, grid, rounded

PRECISION = 10.0 ** (1 - DIGITS)
Range = Uniform | LogUniform | Integer


def drawn(dimension: Dimension, count: int = 2000) -> list[Value]:
    """Return values that Optuna draws at random."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    distribution = dimension.distribution()
    sampler = optuna.samplers.RandomSampler(0)
    study = optuna.create_study(sampler=sampler)
    study.ask()
    [trial] = study.trials
    return [dimension.value(sampler.sample_independent(study, trial, "x", distribution)) for _ in range(count)]


# Drawing


def test_log_uniform_draws_every_order_of_magnitude_equally_often() -> None:
    values = np.array(drawn(LogUniform(name="log_uniform", low=1e-5, high=1e-1)))
    assert values.min() >= 1e-5
    assert values.max() <= 1e-1
    counts, _ = np.histogram(np.log10(values), bins=[-5, -4, -3, -2, -1])
    assert counts == pytest.approx([500] * 4, rel=0.15)


def test_uniform_and_integer_draw_every_part_equally_often_with_both_ends() -> None:
    counts, _ = np.histogram(drawn(Uniform(name="uniform", low=-1, high=3)), bins=[-1, 0, 1, 2, 3])
    assert counts == pytest.approx([500] * 4, rel=0.15)
    integers: Counter[Value] = Counter(drawn(Integer(name="integer", low=2, high=5)))
    assert sorted(integers) == [2, 3, 4, 5]
    assert list(integers.values()) == pytest.approx([500] * 4, rel=0.15)
    assert all(type(value) is int for value in integers)


def test_choice_draws_its_values_with_their_types() -> None:
    counts = Counter(map(repr, drawn(Choice(name="choice", values=[True, 32, 0.5, "adam"]))))
    assert sorted(counts) == ["'adam'", "0.5", "32", "True"]
    assert list(counts.values()) == pytest.approx([500] * 4, rel=0.15)


def test_a_value_has_few_digits_and_stays_in_its_range() -> None:
    dimension = LogUniform(name="log_uniform", low=1.2344e-4, high=1e-1)
    assert dimension.value(0.00123456789) == 0.001235
    assert dimension.value(1.2344e-4) == 1.2344e-4
    assert Uniform(name="uniform", low=0, high=0.99999).value(0.999985) == 0.99999


# Shrinking and moving


def floats(low: float, high: float) -> st.SearchStrategy[float]:
    # Training sets the process to flush subnormal numbers, and Hypothesis refuses to draw them then.
    return st.floats(low, high, allow_subnormal=False)


@st.composite
def ranges(draw: st.DrawFn) -> tuple[Range, Any]:
    """Return a range of any kind, perhaps with limits, and a value in it."""
    cls: Any
    low: Any
    high: Any
    value: Any
    least: Any
    most: Any
    cls, kind = draw(st.sampled_from([(Uniform, "uniform"), (LogUniform, "log_uniform"), (Integer, "integer")]))
    if cls is Integer:
        low = draw(st.integers(-100, 100))
        high = low + draw(st.integers(1, 100))
        value = draw(st.integers(low, high))
        least, most = draw(st.integers(low - 50, low)), draw(st.integers(high, high + 50))
    elif cls is Uniform:
        low = rounded(draw(floats(-10, 10)))
        high = rounded(low + draw(floats(1, 20)))
        value = rounded(low + draw(floats(0, 1)) * (high - low))
        least, most = low - draw(floats(0, 10)), high + draw(floats(0, 10))
    else:
        low = rounded(10 ** draw(floats(-6, 0)))
        high = rounded(low * 10 ** draw(floats(0.5, 4)))
        value = rounded(low * (high / low) ** draw(floats(0, 1)))
        least, most = low / draw(floats(1, 100)), high * draw(floats(1, 100))
    limits = {"min": least, "max": most} if draw(st.booleans()) else {}
    assume(low <= value <= high)
    return cls(name=kind, low=low, high=high, **limits), value


def place(dimension: Range, value: float) -> float:
    return math.log(value) if isinstance(dimension, LogUniform) else value


def width(dimension: Range) -> float:
    return place(dimension, dimension.high) - place(dimension, dimension.low)


@given(ranges(), floats(0.1, 1))
@example((Integer(name="integer", low=0, high=75), 0), 0.28125)
def test_a_range_around_the_best_value_has_the_width_the_value_and_the_limits(
    found: tuple[Range, Any], factor: float
) -> None:
    dimension, best = found
    around = dimension.around(best, factor)
    slack = 2 * PRECISION * max(1, abs(dimension.low), abs(dimension.high), abs(best))
    if isinstance(dimension, Integer):
        assert width(around) == max(1, round(factor * width(dimension)))
        slack = 1
    else:
        assert width(around) == pytest.approx(factor * width(dimension), abs=2 * slack)
    assert place(dimension, around.low) - slack <= place(dimension, best) <= place(dimension, around.high) + slack
    if dimension.min is not None and dimension.max is not None:
        assert dimension.min <= around.low
        assert around.high <= dimension.max
    else:
        middle = (place(dimension, around.low) + place(dimension, around.high)) / 2
        assert middle == pytest.approx(place(dimension, best), abs=slack)


@given(st.integers(-100, 100), st.integers(1, 100), st.data())
def test_an_integer_range_can_have_every_smaller_width(low: int, size: int, data: st.DataObject) -> None:
    whole = Integer(name="integer", low=low, high=low + size)
    best = data.draw(st.integers(low, low + size))
    for wanted in range(1, size + 1):
        around = whole.around(best, wanted / size)
        assert around.high - around.low == wanted
        assert abs(around.low + around.high - 2 * best) <= 1  # the best value is in the middle


def test_the_width_of_an_integer_range_is_rounded_once() -> None:
    """0.28125 × 75 = 21.09; the two ends, rounded separately, were -11 and 11."""
    around = Integer(name="integer", low=0, high=75).around(0, 0.28125)
    assert (around.low, around.high) == (-10, 11)


@given(ranges(), floats(0.01, 0.4))
def test_a_value_is_at_an_edge_within_the_fraction_of_the_width_if_the_range_can_move(
    found: tuple[Range, Any], fraction: float
) -> None:
    dimension, best = found
    share = (place(dimension, best) - place(dimension, dimension.low)) / width(dimension)
    assume(abs(share - fraction) > 1e-9 and abs(1 - share - fraction) > 1e-9)
    edge = dimension.edge(best, fraction)
    limited = {"lower": dimension.min == dimension.low, "upper": dimension.max == dimension.high}
    expected = "lower" if share < fraction else "upper" if share > 1 - fraction else ""
    assert edge == ("" if expected and limited[expected] else expected)
    if edge:
        moved = dimension.around(best, 1)
        assert moved.low <= dimension.low if edge == "lower" else moved.high >= dimension.high


def test_a_range_moves_by_half_its_width_on_its_own_scale() -> None:
    rate = LogUniform(name="log_uniform", low=1e-4, high=1e-2)
    assert rate.edge(9e-3, 0.1) == "upper"
    assert rate.edge(5e-3, 0.1) == ""  # at 85 % of the logarithmic scale, and 50 % of the linear one
    moved = rate.around(1e-2, 1)
    assert (moved.low, moved.high) == (1e-3, 1e-1)


def test_a_limit_stops_a_range() -> None:
    dropout = Uniform(name="uniform", low=0.1, high=0.5, min=0)
    assert dropout.edge(0.12, 0.1) == "lower"
    moved = dropout.around(0.12, 1)
    assert (moved.low, moved.high) == (0, 0.4)
    assert moved.edge(0.01, 0.1) == ""


def test_a_range_of_the_smallest_width_stays() -> None:
    narrow = Uniform(name="uniform", low=0.9998, high=0.9999)
    assert narrow.around(0.9999, 0.1) == narrow
    assert Integer(name="integer", low=3, high=4).around(3, 0.1) == Integer(name="integer", low=3, high=4)


def test_a_choice_neither_shrinks_nor_moves() -> None:
    choice = Choice(name="choice", values=[32, 64])
    assert choice.around(64, 0.1) == choice
    assert choice.edge(64, 0.4) == ""


@pytest.mark.parametrize(
    "wrong",
    [
        {"low": 1, "high": 1},
        {"low": 2, "high": 1},
        {"low": 0, "high": 1, "min": 0.5},
        {"low": 0, "high": 1, "max": 0.5},
    ],
)
def test_ends_and_limits_must_be_in_order(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match="min <= low < high <= max"):
        Uniform.model_validate({"name": "uniform", **wrong})


# The grid


def test_the_grid_has_every_combination_once_in_an_order_that_depends_on_the_seed() -> None:
    space = {
        "lr": LogUniform(name="log_uniform", low=1e-4, high=1e-2),
        "units": Integer(name="integer", low=1, high=3),
        "batch_size": Choice(name="choice", values=[32, 64]),
    }
    points = grid(space, 5, np.random.default_rng(0))
    assert {(p["lr"], p["units"], p["batch_size"]) for p in points} == {
        (lr, units, size) for lr in (1e-4, 3.162e-4, 1e-3, 3.162e-3, 1e-2) for units in (1, 2, 3) for size in (32, 64)
    }
    assert len(points) == 30
    assert points == grid(space, 5, np.random.default_rng(0))
    assert points != grid(space, 5, np.random.default_rng(1))
