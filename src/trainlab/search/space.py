"""The values that a search may give to a parameter: how they are drawn, and how their range shrinks and moves."""

import itertools
import math
from collections.abc import Mapping
from typing import Annotated, Literal, Self

import numpy as np
from numpy.random import Generator
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from trainlab.component import Component, one_of
from trainlab.config.messages import TOGETHER

Value = float | int | str | bool
# Beyond them the width of a range is infinite, or an integer has more than 64 bits.
End = Annotated[float, Field(ge=-1e30, le=1e30)]
PositiveEnd = Annotated[float, Field(gt=0, le=1e30)]
WholeEnd = Annotated[int, Field(ge=-(2**53), le=2**53)]
DIGITS = 4  # significant digits of a drawn value: tables and best.yaml contain exactly what was trained


def rounded(value: float) -> float:
    """Return a number rounded to :data:`DIGITS` significant digits."""
    return float(f"{value:.{DIGITS}g}")


class Dimension(Component):
    """The possible values of one parameter."""

    def distribution(self) -> BaseDistribution:
        """Return Optuna's distribution of the same values."""
        raise NotImplementedError

    def value(self, drawn: Value) -> Value:
        """Return the value to train with for a value that Optuna drew."""
        return drawn

    def grid(self, points: int) -> list[Value]:
        """Return at most so many values, evenly spaced, both ends included."""
        raise NotImplementedError

    def ends(self) -> list[Value]:
        """Return the values that represent all others: if these are valid parameters, all are."""
        raise NotImplementedError

    def around(self, best: Value, factor: float) -> Self:
        """Return a dimension with the best value in its middle.

        Parameters
        ----------
        best
            One of the possible values.
        factor
            Width of the new dimension as a fraction of this one's, in (0, 1]; 1 moves the range without shrinking it.
        """
        return self

    def edge(self, best: Value, fraction: float) -> Literal["lower", "upper", ""]:
        """Return the end of the range that the best value is close to, if the range can move beyond it.

        Parameters
        ----------
        best
            One of the possible values.
        fraction
            What counts as close: a fraction of the width, in [0, 0.5).
        """
        return ""

    def __str__(self) -> str:
        raise NotImplementedError


class _Range(Dimension):
    """Values between two ends.

    Parameters
    ----------
    low, high
        The ends; both can be drawn.
    min, max
        Limits that a moving range never exceeds; none: no limit.
    """

    low: End
    high: End
    min: End | None = None
    max: End | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        least, most = self._limits()
        if not least <= self.low < self.high <= most:
            problem = "it must be min <= low < high <= max"
            raise PydanticCustomError(TOGETHER, "{problem}", {"problem": problem})
        return self

    def ends(self) -> list[Value]:
        """Return the lower and the upper end."""
        return [self.low, self.high]

    def grid(self, points: int) -> list[Value]:
        """Return at most so many values, evenly spaced on the scale of the range, both ends included."""
        spread = np.linspace(self._scaled(self.low), self._scaled(self.high), points)
        return list(dict.fromkeys(self.value(self._unscaled(place)) for place in spread))

    def value(self, drawn: Value) -> Value:
        """Return the drawn value, rounded, within the range."""
        return min(max(rounded(float(drawn)), self.low), self.high)

    def around(self, best: Value, factor: float) -> Self:
        """Return a range ``factor`` times as wide with the best value in its middle, shifted to stay within the limits."""
        width = factor * self._width()
        least, most = map(self._scaled, self._limits())
        low = self._scaled(float(best)) - width / 2
        low = max(least, min(low, most - width))
        ends = {"low": self._end(low), "high": self._end(low + width)}
        if ends["low"] == ends["high"]:  # too narrow for the digits of a value
            return self
        return type(self).model_validate({**self.model_dump(), **ends})

    def edge(self, best: Value, fraction: float) -> Literal["lower", "upper", ""]:
        """Return the end that the best value is close to, unless it is a limit."""
        least, most = self._limits()
        place = (self._scaled(float(best)) - self._scaled(self.low)) / self._width()
        if place <= fraction and self.low > least:
            return "lower"
        if place >= 1 - fraction and self.high < most:
            return "upper"
        return ""

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}"

    def _limits(self) -> tuple[float, float]:
        return -math.inf if self.min is None else self.min, math.inf if self.max is None else self.max

    def _width(self) -> float:
        return self._scaled(self.high) - self._scaled(self.low)

    def _end(self, place: float) -> float:
        least, most = self._limits()
        return min(max(rounded(self._unscaled(place)), least), most)

    def _scaled(self, value: float) -> float:
        return value

    def _unscaled(self, place: float) -> float:
        return place


class Uniform(_Range):
    """A number between two ends, uniformly distributed."""

    name: Literal["uniform"]

    def distribution(self) -> BaseDistribution:
        """Return Optuna's uniform distribution."""
        return FloatDistribution(self.low, self.high)


class LogUniform(_Range):
    """A number between two ends above 0 whose logarithm is uniformly distributed; its width is that of the logarithm."""

    name: Literal["log_uniform"]
    low: PositiveEnd
    high: PositiveEnd
    min: PositiveEnd | None = None

    def distribution(self) -> BaseDistribution:
        """Return Optuna's log-uniform distribution."""
        return FloatDistribution(self.low, self.high, log=True)

    def _scaled(self, value: float) -> float:
        return math.log(value) if value > 0 else -math.inf

    def _unscaled(self, place: float) -> float:
        return math.exp(place)


class Integer(_Range):
    """An integer between two ends, uniformly distributed."""

    name: Literal["integer"]
    low: WholeEnd
    high: WholeEnd
    min: WholeEnd | None = None
    max: WholeEnd | None = None

    def distribution(self) -> BaseDistribution:
        """Return Optuna's distribution of integers."""
        return IntDistribution(self.low, self.high)

    def value(self, drawn: Value) -> Value:
        """Return the nearest integer."""
        return round(float(drawn))

    def around(self, best: Value, factor: float) -> Self:
        """Return a range whose width is the nearest integer to ``factor`` times this one's, and at least 1.

        A single value would be a range that no search could move away from.
        """
        # In integers: rounding the two ends separately gives a width of 22 for 0.28125 × 75 = 21.09.
        width = max(1, round(factor * (self.high - self.low)))
        least, most = self._limits()
        low = max(least, min(math.floor(float(best) - width / 2 + 0.5), most - width))
        return type(self).model_validate({**self.model_dump(), "low": int(low), "high": int(low) + width})


class Choice(Dimension):
    """One of several values, uniformly distributed. They have no order, so a choice neither shrinks nor moves.

    Parameters
    ----------
    values
        At least two numbers, strings or truth values.
    """

    name: Literal["choice"]
    values: list[Value] = Field(min_length=2)

    def distribution(self) -> BaseDistribution:
        """Return Optuna's categorical distribution."""
        return CategoricalDistribution(self.values)

    def grid(self, points: int) -> list[Value]:
        """Return all values, however many points are asked for."""
        return self.values

    def ends(self) -> list[Value]:
        """Return all values."""
        return self.values

    def __str__(self) -> str:
        return " or ".join(map(str, self.values))


AnyDimension = one_of(Choice, Integer, LogUniform, Uniform)
Space = Mapping[str, Dimension]


def grid(space: Space, points: int, generator: Generator) -> list[dict[str, Value]]:
    """Return every combination of the dimensions' grids, in random order: the first few already cover the space."""
    combinations = list(itertools.product(*(dimension.grid(points) for dimension in space.values())))
    return [dict(zip(space, combinations[i], strict=True)) for i in generator.permutation(len(combinations))]
