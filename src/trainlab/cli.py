"""Command lines of the stages and of `trainlab`: parse the arguments, and report a user's mistake on one line."""

import errno
import gc
import io
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from trainlab.errors import UserError

Run = Annotated[str, typer.Argument(help="Name of the run, as in params.yaml.")]
Suite = Annotated[str, typer.Argument(help="Name of the suite, as in params.yaml.")]
KILLED = "SIGKILL(-9)"  # in loky's error about a process that was ended, of those that train replicas
DataDirectory = Annotated[Path, typer.Option("--data", help="Directory of the normalized data set.")]


def run_stage(main: Callable[..., Any]) -> None:
    """Call a stage's main function with the arguments of the command line.

    Parameters
    ----------
    main
        The function. Its signature defines the arguments, and its docstring is the text of ``--help``.

    Raises
    ------
    SystemExit
        See :func:`run_app`.
    """
    gc.freeze()  # objects of imported modules live as long as the process (see stages/_start.py)
    gc.enable()
    _say_what_remains()
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    run_app(app)


def run_app(app: typer.Typer) -> None:
    """Run a command-line application with the arguments of the command line.

    Parameters
    ----------
    app
        The application, created with ``pretty_exceptions_enable=False``.

    Raises
    ------
    SystemExit
        With code 1 and one line per mistake on a :class:`~trainlab.errors.UserError`, a full disk or a missing
        permission; with code 137 if a process that it had started was killed, as if it had been killed itself; with code 2
        on a wrong argument; with code 130 on Ctrl-C; with the code of a :class:`typer.Exit`.
        Any other error keeps its traceback.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # a locale without UTF-8 cannot write a minus sign: as on stderr
        sys.stdout.reconfigure(errors="backslashreplace")
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        code = app(standalone_mode=False)
    except UserError as error:
        _stop(str(error), code=128 + signal.SIGKILL if KILLED in str(error.__cause__) else error.code)
    except typer.TyperException as error:  # a wrong argument
        message = error.format_message()  # empty where the help was shown, because a command is missing
        end = "" if message.endswith((".", "?")) else "."
        _stop(f"{message}{end} Try --help." if message else "", code=2)
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
    if code == 130:  # typer's exit code on Ctrl-C
        _stop("stopped by Ctrl-C; no incomplete file is left", code=130)
    if code:
        raise SystemExit(code)


def _say_what_remains() -> None:
    """Print where a training that DVC has started is; `trainlab repro` says it itself, and knows more."""
    if "TRAINLAB_REPRO" in os.environ:
        return
    with suppress(Exception):  # a line like this is not worth an error
        from trainlab import remaining

        if line := remaining.line(os.environ.get("DVC_STAGE", "")):
            print(line, flush=True)


def _stop(message: str, *, code: int) -> NoReturn:
    for line in message.splitlines():
        print(f"trainlab: {line}", file=sys.stderr)
    raise SystemExit(code)
