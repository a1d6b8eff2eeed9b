"""What is ended from outside runs again: a stage on this machine, and a stage or a trial on a node of a cluster.

A failure of its own, such as exit code 1, is no reason: it would fail again.
"""

import signal
from collections.abc import Callable
from typing import TypeVar

from trainlab.errors import UserError

Result = TypeVar("Result")
RETRIES = 1  # times that something runs again after its process was killed, unless the user says otherwise
MAX_LOSSES = 20  # nodes that may die under it; a lost node says nothing about what ran there
OUTSIDE = (signal.SIGKILL, signal.SIGTERM)  # sent by others; a process ends itself by SIGSEGV or SIGABRT


class Killed(UserError):
    """A process was ended from outside."""


class Lost(UserError):
    """The node of a process died."""


def check(code: int, memory: bool | None, advice: str) -> None:
    """Raise an error if an exit code says that the process was ended from outside.

    Parameters
    ----------
    code
        The exit code; 128 + N stands for signal N, as in a shell.
    memory
        Whether the system has ended processes meanwhile because the memory was full; None: not known.
    advice
        What needs less memory.

    Raises
    ------
    Killed
        With the name of the signal.
    """
    for number in OUTSIDE:
        if code == 128 + number:
            full = number == signal.SIGKILL and memory is not False
            why = f", {'because' if memory else 'perhaps because'} the memory was full ({advice})" if full else ""
            raise Killed(f"ended by {number.name}{why}")


def run_again(call: Callable[[], Result], retries: int, tell: Callable[[str], None]) -> Result:
    """Return the result of a call, which is repeated if it is ended from outside.

    Parameters
    ----------
    call
        What to call.
    retries
        How often to repeat it if it raises :class:`Killed`, ≥ 0. After :class:`Lost` it is repeated anyway, up to
        :data:`MAX_LOSSES` times.
    tell
        Called with what happened, before each repetition.

    Raises
    ------
    Killed, UserError
        If it was ended more often.
    """
    kills = losses = 0
    while True:
        try:
            return call()
        except Killed as error:
            kills += 1
            if kills > retries:
                raise Killed(f"{error} (attempt {kills} of {retries + 1})") from None
            tell(f"{error}: runs again, attempt {kills + 1} of {retries + 1}")
        except Lost as error:
            losses += 1
            if losses > MAX_LOSSES:
                raise UserError(f"{error} {losses} times: `ray status` shows the nodes that are left") from None
            tell(f"{error}: runs again on another node")
