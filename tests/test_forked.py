"""Programs in copies of a process behave as in a new interpreter."""

import os
import subprocess
from pathlib import Path

import psutil
import pytest

import forked

pytestmark = pytest.mark.slow

PROGRAM = """\
import atexit, os, sys, threading
print(sys.argv[1:], os.getcwd(), os.environ["OWN"], os.path.dirname(__file__) == sys.path[0], __name__)
print("to stderr", file=sys.stderr)
threading.Timer(0.2, lambda: print("of a thread")).start()
atexit.register(lambda: print("at the end"))
if sys.argv[1] == "raise":
    raise ValueError("text")
sys.exit({"none": None, "number": 3, "text": "text"}[sys.argv[1]])
"""


@pytest.mark.parametrize(
    ("end", "code", "says"),
    [("none", 0, ""), ("number", 3, ""), ("text", 1, "text\n"), ("raise", 1, "ValueError: text\n")],
)
def test_a_script(tmp_path: Path, end: str, code: int, says: str) -> None:
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts/own.py").write_text(PROGRAM)
    done = subprocess.run(
        [forked.python(), "scripts/own.py", end, "two words"],
        cwd=tmp_path,
        env={"OWN": "value"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == code
    assert done.stdout.splitlines() == [
        f"['{end}', 'two words'] {tmp_path} value True __main__",
        "of a thread",
        "at the end",
    ]
    assert done.stderr.startswith("to stderr\n")
    assert done.stderr.endswith(says)
    assert ("Traceback" in done.stderr) == (end == "raise")


def test_a_program_ends_with_its_client(tmp_path: Path) -> None:
    (tmp_path / "endless.py").write_text("import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(600)\n")
    client = subprocess.Popen([forked.python(), "endless.py"], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert client.stdout
    with client:
        program = psutil.Process(int(client.stdout.readline()))
        assert program.pid != client.pid
        client.kill()
    program.wait(timeout=30)


def test_dvc_parses_a_text_once_and_an_edited_file_anew(tmp_path: Path) -> None:
    (tmp_path / "read.py").write_text("from dvc.utils.serialize import load_yaml\nprint(load_yaml('file.yaml'))\n")
    for number, parsed in (("1.5", 1), ("1.5", 0), ("2.5", 1), ("[", 0)):
        (tmp_path / "file.yaml").write_text(f"{tmp_path}: {number}\n")
        before = len(list(forked.directory().glob("*.yaml")))
        done = subprocess.run([forked.python(), "read.py"], cwd=tmp_path, capture_output=True, text=True)
        assert len(list(forked.directory().glob("*.yaml"))) - before == parsed
        assert done.stdout == ("" if number == "[" else f"{{'{tmp_path}': {number}}}\n")
        assert ("YAML file structure is corrupted" in done.stderr) == (number == "[")


def test_other_options_start_a_new_interpreter() -> None:
    done = subprocess.run([forked.python(), "-c", "import sys; print('torch' in sys.modules)"], capture_output=True)
    assert done.stdout == b"False\n"


def test_the_commands_are_first_on_the_path_of_a_scratch_repository(tmp_path: Path) -> None:
    (tmp_path / "modules.py").write_text("import sys\nprint('torch' in sys.modules, 'trainlab' in sys.modules)\n")
    environment = {**os.environ, "PATH": f"{forked.directory()}:{os.environ['PATH']}"}
    done = subprocess.run("python modules.py", shell=True, cwd=tmp_path, env=environment, capture_output=True)
    assert done.stdout == b"True False\n"
