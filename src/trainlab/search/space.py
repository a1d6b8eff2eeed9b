"""What a search may vary: the ranges that it draws a parameter's values from, and how they shrink and move."""

import itertools
import math
from collections.abc import Mapping
from typing import Literal, Self

import numpy as np
from numpy.random import Generator
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from trainlab.component import Component, one_of
from trainlab.config.messages import TOGETHER

Value = float | int | str | bool
DIGITS = 4  # significant ones of a drawn value, so that tables and best.yaml hold exactly what was trained


def rounded(value: float) -> float:
    """The number with as many digits as a search writes."""
    return float(f"{value:.{DIGITS}g}")


class Dimension(Component):
    """One parameter's possible values."""

    def distribution(self) -> BaseDistribution:
        """The same as Optuna calls it."""
        raise NotImplementedError

    def value(self, drawn: Value) -> Value:
        """What is trained with where Optuna drew this."""
        return drawn

    def grid(self, points: int) -> list[Value]:
        """At most so many values, evenly spread from end to end."""
        raise NotImplementedError

    def ends(self) -> list[Value]:
        """The values that must be valid parameters, so that all are."""
        raise NotImplementedError

    def around(self, best: Value, factor: float) -> Self:
        """The same with the best value in its middle, ``factor`` times as wide: shrunk below 1, moved at 1."""
        return self

    def edge(self, best: Value, fraction: float) -> Literal["lower", "upper", ""]:
        """Which end of the range the best value is within this fraction of its width from, if it could move there."""
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
        How far the range may move, where there is a limit.
    """

    low: float
    high: float
    min: float | None = None
    max: float | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        least, most = self._limits()
        if not least <= self.low < self.high <= most:
            problem = "it must be min <= low < high <= max"
            raise PydanticCustomError(TOGETHER, "{problem}", {"problem": problem})
        return self

    def ends(self) -> list[Value]:
        return [self.low, self.high]

    def grid(self, points: int) -> list[Value]:
        spread = np.linspace(self._scaled(self.low), self._scaled(self.high), points)
        return list(dict.fromkeys(self.value(self._unscaled(place)) for place in spread))

    def value(self, drawn: Value) -> Value:
        return min(max(rounded(float(drawn)), self.low), self.high)

    def around(self, best: Value, factor: float) -> Self:
        width = factor * self._width()
        least, most = map(self._scaled, self._limits())
        low = self._scaled(float(best)) - width / 2
        low = max(least, min(low, most - width))  # slid back where it would leave the limits
        ends = {"low": self._end(low), "high": self._end(low + width)}
        if ends["low"] == ends["high"]:  # narrower than the digits of a value can tell
            return self
        return type(self).model_validate({**self.model_dump(), **ends})

    def edge(self, best: Value, fraction: float) -> Literal["lower", "upper", ""]:
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
    """Any number between two ends, each as likely."""

    name: Literal["uniform"]

    def distribution(self) -> BaseDistribution:
        return FloatDistribution(self.low, self.high)


class LogUniform(_Range):
    """Any number between two ends above 0, each order of magnitude as likely; its width is that of its logarithm."""

    name: Literal["log_uniform"]
    low: float = Field(gt=0)
    high: float = Field(gt=0)
    min: float | None = Field(default=None, gt=0)

    def distribution(self) -> BaseDistribution:
        return FloatDistribution(self.low, self.high, log=True)

    def _scaled(self, value: float) -> float:
        return math.log(value) if value > 0 else -math.inf

    def _unscaled(self, place: float) -> float:
        return math.exp(place)


class Integer(_Range):
    """Any whole number between two ends, each as likely."""

    name: Literal["integer"]
    low: int
    high: int
    min: int | None = None
    max: int | None = None

    def distribution(self) -> BaseDistribution:
        return IntDistribution(self.low, self.high)

    def value(self, drawn: Value) -> Value:
        return round(float(drawn))

    def around(self, best: Value, factor: float) -> Self:
        # As wide as can be told in whole numbers, and never a single one, which no search could move away from.
        width = max(1, round(factor * self._width()))
        return super().around(best, width / self._width())

    def _end(self, place: float) -> int:
        return math.floor(place + 0.5)


class Choice(Dimension):
    """One of some values, each as likely. They have no order, so nothing shrinks or moves.

    Parameters
    ----------
    values
        Numbers, words or truth values; at least two.
    """

    name: Literal["choice"]
    values: list[Value] = Field(min_length=2)

    def distribution(self) -> BaseDistribution:
        return CategoricalDistribution(self.values)

    def grid(self, points: int) -> list[Value]:
        return self.values

    def ends(self) -> list[Value]:
        return self.values

    def __str__(self) -> str:
        return " or ".join(map(str, self.values))


AnyDimension = one_of(Choice, Integer, LogUniform, Uniform)
Space = Mapping[str, Dimension]


def grid(space: Space, points: int, chance: Generator) -> list[dict[str, Value]]:
    """Every combination of the dimensions' grids, in random order, so that the first few cover the space too."""
    combinations = list(itertools.product(*(dimension.grid(points) for dimension in space.values())))
    return [dict(zip(space, combinations[i], strict=True)) for i in chance.permutation(len(combinations))]
