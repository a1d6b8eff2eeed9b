"""Axes: round numbers for ticks, and positions in percent of the width or height of a chart."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

STEPS = (1, 2, 2.5, 5, 10)


@dataclass(frozen=True)
class Axis:
    """A linear axis from ``low`` to ``high`` with ticks at round numbers.

    Parameters
    ----------
    low, high
        Its ends.
    ticks
        Values between them.
    digits
        Decimals that the labels of the ticks need.
    """

    low: float
    high: float
    ticks: Sequence[float]
    digits: int

    def at(self, value: float) -> float:
        """Return the position of a value in percent from the low end, rounded to a hundredth."""
        return round(100 * (value - self.low) / (self.high - self.low), 2)

    def label(self, tick: float, *, signed: bool = False) -> str:
        """Return the text of a tick."""
        return number(tick, self.digits, signed=signed and tick != 0)


def axis(values: Iterable[float], *, count: int = 5, pad: float = 0.04, whole: bool = False) -> Axis:
    """Return an axis that contains all finite values.

    Parameters
    ----------
    values
        The values.
    count
        Approximate number of ticks.
    pad
        Space at each end, as a fraction of the range.
    whole
        Whether ticks are integers, such as epochs.
    """
    finite = [value for value in values if math.isfinite(value)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
    if low == high:
        low, high = low - (abs(low) * 0.05 or 0.5), high + (abs(high) * 0.05 or 0.5)
    space = pad * (high - low)
    low, high = low - space, high + space
    step = _step((high - low) / max(count, 1), whole=whole)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    ticks = [round(n * step, 12) for n in range(first, last + 1)]
    return Axis(low, high, ticks, max((_digits(tick) for tick in ticks), default=0))


def _step(least: float, *, whole: bool) -> float:
    """Return the smallest round number that is at least ``least``."""
    power = 10.0 ** math.floor(math.log10(least))
    steps = (factor * power for factor in STEPS if factor != 2.5 or not whole)
    step = next(step for step in steps if step >= least * (1 - 1e-9))
    return max(step, 1.0) if whole else step


def _digits(value: float) -> int:
    """Return the number of decimals of a round number."""
    return len(f"{value:.10f}".rstrip("0").partition(".")[2])


def number(value: float, digits: int, *, signed: bool = False) -> str:
    """Return a number with a true minus sign; a dash if it is missing.

    >>> number(-0.5, 1), number(2, 1, signed=True), number(float("nan"), 2)
    ('−0.5', '+2.0', '–')
    """
    if math.isnan(value):
        return "–"
    return f"{value:{'+' if signed else ''}.{digits}f}".replace("-", "−")
