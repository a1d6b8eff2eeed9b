"""Commands of stages in processes of their own, which end with this process."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

GUARD = Path(__file__).with_name("guard.py")
GRACE = 15.0  # seconds that a command has to end after a signal


class Command:
    """A running command, whose output goes to a file.

    Parameters
    ----------
    arguments
        The command.
    directory, environment
        Where it runs, and its environment variables.
    log
        The file for its standard output and standard error, which is appended to.
    """

    def __init__(
        self, arguments: str | Sequence[str], directory: str, environment: Mapping[str, str], log: Path
    ) -> None:
        words = [arguments] if isinstance(arguments, str) else arguments
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-IS", str(GUARD), *words],
                cwd=directory,
                env=dict(environment),
                stdin=subprocess.PIPE,  # its end tells the guard that this process has ended
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait(self) -> int:
        """Wait for its end, and return its exit code."""
        code = self._process.wait()
        self.signal(signal.SIGKILL)  # what is left of its group, in case that the guard was killed
        assert self._process.stdin
        self._process.stdin.close()
        return code

    def signal(self, number: int) -> None:
        """Send a signal to all processes of the command."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None


def end(commands: Sequence[Command], number: int) -> None:
    """Send a signal to commands, wait for their end, and kill those that are still there after :data:`GRACE`."""
    for command in commands:
        command.signal(number)
    deadline = time.monotonic() + GRACE
    while time.monotonic() < deadline and any(command.running for command in commands):
        time.sleep(0.05)
    for command in commands:
        command.signal(signal.SIGKILL)  # what is left of its group, too
