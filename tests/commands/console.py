"""What a call of the console script shows."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Called:
    """What a command printed, and its exit code."""

    out: str
    err: str
    code: int


Call = Callable[..., Called]
