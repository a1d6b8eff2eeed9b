"""Command lines: arguments, exit codes, and one line per mistake."""

import errno
import sys
from collections.abc import Callable
from typing import Any

import pytest
import typer

from trainlab.cli import run_stage
from trainlab.errors import UserError


def exit_code(main: Callable[..., Any], *arguments: str) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["stage.py", *arguments])
        try:
            run_stage(main)
        except SystemExit as stopped:
            return int(stopped.code or 0)
    return 0


def test_arguments_arrive_typed(capsys: pytest.CaptureFixture[str]) -> None:
    def main(run: str, times: int = 1) -> None:
        print([run] * times)

    assert exit_code(main, "baseline", "--times", "2") == 0
    assert capsys.readouterr().out == "['baseline', 'baseline']\n"


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (UserError("models/a is missing: train it"), 1, "trainlab: models/a is missing: train it\n"),
        (UserError("one\ntwo"), 1, "trainlab: one\ntrainlab: two\n"),
        (KeyboardInterrupt(), 130, "trainlab: stopped by Ctrl-C; no incomplete file is left\n"),
        (
            OSError(errno.ENOSPC, "No space left", "models/a"),
            1,
            "trainlab: the disk is full (models/a): free some space, then run the same command again\n",
        ),
        (
            PermissionError(errno.EACCES, "Permission denied", "models/a"),
            1,
            "trainlab: permission denied (models/a): change its owner or its permissions, then run",
        ),
    ],
)
def test_an_error_that_the_user_can_correct_is_one_line(
    error: BaseException, code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def main() -> None:
        raise error

    assert exit_code(main) == code
    assert capsys.readouterr().err.startswith(says)


@pytest.mark.parametrize("error", [ZeroDivisionError(), OSError(errno.EIO, "Input/output error")])
def test_any_other_error_keeps_its_traceback(error: BaseException) -> None:
    def main() -> None:
        raise error

    with pytest.raises(type(error)):
        exit_code(main)


def test_a_function_chooses_its_exit_code() -> None:
    def main() -> None:
        raise typer.Exit(3)

    assert exit_code(main) == 3


def test_a_killed_process_gives_the_exit_code_of_a_kill() -> None:
    def main() -> None:
        raise UserError("ended") from RuntimeError("The exit codes of the workers are {SIGKILL(-9), EXIT(0)}")

    def other() -> None:
        raise UserError("ended") from RuntimeError("The exit codes of the workers are {SIGSEGV(-11)}")

    assert exit_code(main) == 137
    assert exit_code(other) == 1


def test_wrong_arguments_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    def main(run: str) -> None:
        """Train a model."""

    assert exit_code(main) == 2
    assert capsys.readouterr().err == "trainlab: Missing argument 'run'. Try --help.\n"
    assert exit_code(main, "--help") == 0
    assert "Train a model." in capsys.readouterr().out
