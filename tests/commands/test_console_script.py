"""The console script: its help, version and completion, and what its start imports."""

import json
import os
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest

from commands.console import Call, Called
from pages import PROJECT
from trainlab import __version__
from trainlab.commands import app

SLOW = {"dvc", "joblib", "matplotlib", "numpy", "optuna", "pandas", "pydantic", "scipy", "sklearn", "torch"}


def script(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the console script as the environment's entry point does, and list what it imported on standard error."""
    code = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); sys.argv[0] = 'trainlab'\n"
        "from trainlab.commands import main\n"
        "try: main()\n"
        "finally: print(*sys.modules, file=sys.stderr)\n"
    )
    command = [sys.executable, "-c", code, str(PROJECT / "src"), *arguments]
    with_wide_terminal = {**os.environ, "COLUMNS": "80", **environment}
    return subprocess.run(command, env=with_wide_terminal, capture_output=True, text=True, check=False, timeout=600)


def test_help_lists_each_command_on_one_line_and_imports_nothing_slow() -> None:
    shown = script("--help")
    assert shown.returncode == 0
    lines = [
        line.strip("│ ").split("  ", 1) for line in shown.stdout.partition(" Commands ")[2].splitlines() if "│" in line
    ]
    assert [line[0] for line in lines] == [
        command.callback.__name__ for command in app.registered_commands if command.callback
    ]
    assert all(len(line) == 2 and line[1].endswith(".") for line in lines)
    assert SLOW & set(shown.stderr.split()) == set()


@pytest.mark.parametrize("command", app.registered_commands, ids=lambda command: command.callback.__name__)
def test_help_shows_the_whole_text_of_a_command(command: Any, call: Call) -> None:
    """Brackets would be read as markup, and vanish."""
    shown = call(command.callback.__name__, "--help").out.partition("Arguments")[0].split()
    assert [word for word in command.callback.__doc__.split() if word not in shown] == []


def test_version(call: Call) -> None:
    assert call("--version") == Called(f"trainlab {__version__}\n", "", 0)


def completed(words: str) -> list[str]:
    """Return what bash completes the last of these words to."""
    position = str(len(words.split(" ")) - 1)
    return script(_TRAINLAB_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=position).stdout.split()


def test_completion_knows_the_commands() -> None:
    assert completed("trainlab com") == ["compare"]
    assert "--show-completion" in script("--help").stdout


@pytest.mark.slow
def test_completion_knows_the_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for file in (
        *("models/plain.safetensors", "models/plain.onnx", "predictions/tricks/planned.safetensors"),
        *(
            "configs/tricks/placed.yaml",
            "configs/tricks/_suite.yaml",
            "configs/checks/plus.yaml",
            "models/other.safetensors",
        ),
    ):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    monkeypatch.chdir(tmp_path)
    runs = ["placed", "plain", "planned"]
    assert completed("trainlab predict a.png --run pl") == runs
    assert completed("trainlab export pl") == runs
    assert completed("trainlab compare pl") == runs
    assert completed("trainlab compare plain o") == ["other"]


def test_without_a_command_the_help_is_shown(call: Call) -> None:
    shown = call()
    assert (shown.code, shown.err) == (2, "")
    assert "Usage: trainlab" in shown.out


def test_an_unknown_command_is_reported_on_one_line(call: Call) -> None:
    assert call("compair") == Called(
        "", "trainlab: No such command 'compair'. Did you mean 'compare'? Try --help.\n", 2
    )


def test_the_library_is_installed_by_a_plain_pth_file() -> None:
    installed = distribution("trainlab")
    assert json.loads(installed.read_text("direct_url.json") or "{}")["dir_info"] == {"editable": True}
    assert [point.value for point in installed.entry_points] == ["trainlab.commands:main"]
    [pth] = [Path(str(file.locate())) for file in installed.files or () if file.suffix == ".pth"]
    assert (Path(pth.read_text().strip()) / "trainlab/__init__.py").is_file()
