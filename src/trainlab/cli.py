"""What all stages share at the command line: arguments in, and a user's mistake out as one line."""

import errno
import gc
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from trainlab.errors import UserError

Run = Annotated[str, typer.Argument(help="Name of the run, as in params.yaml.")]
Suite = Annotated[str, typer.Argument(help="Name of the suite, as in params.yaml.")]
DataDirectory = Annotated[Path, typer.Option("--data", help="Directory of the normalized data set.")]


def run_stage(main: Callable[..., Any]) -> None:
    """Call ``main`` with the command line's arguments, typed and documented by its signature (``--help`` answers).

    Exits with code 1 and one line on a :class:`~trainlab.errors.UserError`, a full disk or a missing permission, and with
    130 on Ctrl-C.
    A defect of ours keeps its traceback.
    """
    gc.freeze()  # what the imports made lives as long as the process (see stages/_start.py)
    gc.enable()
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    try:
        if app(standalone_mode=False) == 130:  # typer's answer to Ctrl-C
            _stop("stopped by Ctrl-C; nothing half-written is left", code=130)
    except UserError as error:
        _stop(str(error), code=1)
    except typer.TyperException as error:  # a wrong argument
        _stop(f"{error.format_message()} Try --help.", code=2)
    except OSError as error:
        place = f" ({error.filename})" if error.filename else ""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            _stop(f"the disk is full{place}: free some space, then run the same command again", code=1)
        if isinstance(error, PermissionError):
            _stop(f"permission denied{place}: make it yours, then run the same command again", code=1)
        raise


def _stop(message: str, *, code: int) -> None:
    for line in message.splitlines():
        print(f"trainlab: {line}", file=sys.stderr)
    raise SystemExit(code)
