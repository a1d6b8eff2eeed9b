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
COUNTERS = Path("/proc/vmstat")  # Linux: of the whole machine, containers included


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
        self._kills = _kills_for_memory()
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
        """Wait for its end, and return its exit code, which is 128 + N after signal N."""
        code = self._process.wait()
        self.signal(signal.SIGKILL)  # what is left of its group, in case that the guard was killed
        assert self._process.stdin
        self._process.stdin.close()
        return code if code >= 0 else 128 - code

    @property
    def memory_was_full(self) -> bool | None:
        """Whether the system has ended processes since the start of the command, because the memory was full."""
        now = _kills_for_memory()
        return None if now is None or self._kills is None else now > self._kills

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


def _kills_for_memory() -> int | None:
    """Return how many processes the system has ended so far because the memory was full; None if it does not say."""
    try:
        counters = dict(line.split() for line in COUNTERS.read_text().splitlines())
        return int(counters["oom_kill"])
    except (OSError, ValueError, LookupError):
        return None
