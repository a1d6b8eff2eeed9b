"""Errors that a user can correct."""

from collections.abc import Sequence


class UserError(Exception):
    """A mistake that the user can correct: the message says what is wrong, where, and what to do next.

    :func:`trainlab.cli.run_app` prints it without a traceback and exits with the code :attr:`code`.
    """

    code = 1


class Stopped(UserError):
    """A training was asked to stop from outside, by SIGTERM; its state is in checkpoints."""

    code = 128 + 15


def shortened(text: str, limit: int = 300) -> str:
    """Return a text on one line and with at most ``limit`` characters, because it may repeat a value of any length."""
    line = " ".join(text[: 20 * limit].split()) + " " + " ".join(text[20 * limit :][-limit:].split())
    line = line.strip()
    return line if len(line) <= limit else f"{line[: limit * 2 // 3]} … {line[-(limit - limit * 2 // 3 - 3) :]}"


def listed(lines: Sequence[str], limit: int = 1800) -> str:
    """Return mistakes one per line, the first of them where all would have more than ``limit`` characters."""
    kept: list[str] = []
    for line in map(shortened, lines):
        if sum(map(len, kept)) + len(line) > limit:
            return "\n".join([*kept, f"… and {len(lines) - len(kept)} more mistakes"])
        kept.append(line)
    return "\n".join(kept)
