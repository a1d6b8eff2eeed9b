"""The console script, called in this process."""

import sys

import pytest

from commands.console import Call, Called
from trainlab.commands import main


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Return ``call(*arguments)``, which runs `trainlab` with these arguments."""

    def called(*arguments: str) -> Called:
        monkeypatch.setattr(sys, "argv", ["trainlab", *arguments])
        code = 0
        try:
            main()
        except SystemExit as stopped:
            code = int(stopped.code or 0)
        return Called(*capsys.readouterr(), code)

    return called
