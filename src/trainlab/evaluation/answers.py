"""What tables, pictures and pages share when they state the answer of a comparison."""

from typing import Literal

LEVEL = 0.05  # of the tests
Verdict = Literal["helps", "hurts", "better model", "worse model", "no difference that matters", "no difference shown"]


def in_points(fraction: float) -> str:
    """Return a difference of fractions in percentage points with its sign, such as "+1.6" or "−0.3"."""
    return f"{100 * fraction:+.1f}".replace("-", "−")
