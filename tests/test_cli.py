import errno
import sys
from collections.abc import Callable

import pytest

from trainlab.cli import run_stage
from trainlab.errors import UserError


def outcome(main: Callable, *arguments: str) -> int:
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

    assert outcome(main, "baseline", "--times", "2") == 0
    assert capsys.readouterr().out == "['baseline', 'baseline']\n"


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (UserError("models/a is missing: train it"), 1, "trainlab: models/a is missing: train it\n"),
        (UserError("one\ntwo"), 1, "trainlab: one\ntrainlab: two\n"),
        (KeyboardInterrupt(), 130, "trainlab: stopped by Ctrl-C"),
        (
            OSError(errno.ENOSPC, "No space left", "models/a"),
            1,
            "trainlab: the disk is full (models/a): free some space",
        ),
    ],
)
def test_a_users_trouble_is_one_line(
    error: BaseException, code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def main() -> None:
        raise error

    assert outcome(main) == code
    assert capsys.readouterr().err.startswith(says)


def test_a_defect_of_ours_keeps_its_traceback() -> None:
    def main() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        outcome(main)


def test_wrong_arguments_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    def main(run: str) -> None:
        """Do a thing."""

    assert outcome(main) == 2
    assert capsys.readouterr().err == "trainlab: Missing argument 'run'. Try --help.\n"
    assert outcome(main, "--help") == 0
    assert "Do a thing." in capsys.readouterr().out
