"""What tables, pictures and pages share when they state the answer of a comparison."""

from typing import Literal

LEVEL = 0.05  # of the tests
Verdict = Literal["helps", "hurts", "better model", "worse model", "no difference that matters", "no difference shown"]


def in_points(fraction: float) -> str:
    """Return a difference of fractions in percentage points with its sign, such as "+1.6" or "−0.3"."""
    return f"{100 * fraction:+.1f}".replace("-", "−")


def interval_in_points(low: float, high: float) -> str:
    """Return an interval of a difference of fractions in percentage points, such as "−0.3 to +1.6"."""
    return f"{in_points(low)} to {in_points(high)}"


def p_text(p_value: float) -> str:
    """Return a p-value for the cell of a table: three digits, or that it is below 0.001."""
    return "< 0.001" if p_value < 1e-3 else f"{p_value:.3f}"
