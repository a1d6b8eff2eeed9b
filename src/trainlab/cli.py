"""The command line of all stages: parse the arguments, and report a user's mistake on one line."""

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
    """Call a stage's main function with the arguments of the command line.

    Exits with code 1 and one line per mistake on a :class:`~trainlab.errors.UserError`, a full disk or a missing
    permission; with code 2 on a wrong argument; with code 130 on Ctrl-C. Any other error keeps its traceback.

    Parameters
    ----------
    main
        The function. Its signature defines the arguments, and its docstring is the text of ``--help``.
    """
    gc.freeze()  # objects of imported modules live as long as the process (see stages/_start.py)
    gc.enable()
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    try:
        if app(standalone_mode=False) == 130:  # typer's exit code on Ctrl-C
            _stop("stopped by Ctrl-C; no incomplete file is left", code=130)
    except UserError as error:
        _stop(str(error), code=1)
    except typer.TyperException as error:  # a wrong argument
        _stop(f"{error.format_message()} Try --help.", code=2)
    except OSError as error:
        place = f" ({error.filename})" if error.filename else ""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            _stop(f"the disk is full{place}: free some space, then run the same command again", code=1)
        if isinstance(error, PermissionError):
            _stop(
                f"permission denied{place}: change its owner or its permissions, then run the same command again",
                code=1,
            )
        raise


def _stop(message: str, *, code: int) -> None:
    for line in message.splitlines():
        print(f"trainlab: {line}", file=sys.stderr)
    raise SystemExit(code)
