"""Runs a command, and ends it when the process that started this one has ended: `python -IS guard.py COMMAND…`.

The starter holds the other end of standard input open. A file of its own without imports of this project, because it is
started once per stage.
"""

import os
import signal
import subprocess
import sys
import threading
import time

GRACE = 10  # seconds between SIGTERM and SIGKILL


def watch() -> None:
    """Wait for the end of standard input, then end this process group."""
    while os.read(0, 1):
        pass
    os.killpg(0, signal.SIGTERM)
    time.sleep(GRACE)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
    for number in (signal.SIGINT, signal.SIGTERM):  # the command, in the same group, answers them
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=watch, daemon=True).start()
    code = child.wait()
    os._exit(code if code >= 0 else 128 - code)
