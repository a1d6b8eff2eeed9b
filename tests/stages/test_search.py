"""Stage `search`: interrupted and resumed, and what it writes."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import forked
from search.small_search import PARAMS, changed, data
from small import PARAMS as PIPELINE
from trainlab import config
from trainlab.config import reading
from trainlab.data import stored
from trainlab.data.stored import Split

pytestmark = pytest.mark.slow

STAGES = Path(__file__).parents[2] / "stages"
ARGUMENTS = [str(STAGES / "search.py"), "--data", "../data/normalized"]
COMMAND = [sys.executable, *ARGUMENTS]
UNBUFFERED = {**os.environ, "PYTHONUNBUFFERED": "1"}
WRITTEN = ("best.yaml", "ranges.json", "result.json", "trials.csv")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Return the directory search/ of a project: its parameters, resolved, with the images beside it."""
    train, test = data()
    assert test is not None
    splits = Split(train.images, train.labels), Split(test.images, test.labels)
    stored.save(tmp_path / "data/normalized", *splits, train.classes)
    (tmp_path / "search").mkdir()
    (tmp_path / "search/params.yaml").write_text(reading.dump(changed(moves=0)))
    assert resolve(tmp_path / "search").returncode == 0
    return tmp_path / "search"


def resolve(directory: Path) -> subprocess.CompletedProcess[str]:
    command = [forked.python(), str(STAGES / "resolve_search.py")]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=60, check=False)


def search(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [forked.python(), *ARGUMENTS, *arguments],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def outputs(directory: Path) -> dict[str, bytes]:
    return {name: (directory / name).read_bytes() for name in WRITTEN}


def trials(text: str) -> list[str]:
    return [line.rpartition("  ")[0] for line in text.splitlines() if line.startswith("  ")]


@pytest.mark.faults
def test_a_killed_search_resumes_without_repeating_a_trial_and_writes_the_same(directory: Path) -> None:
    done = search(directory, "--trials", "../whole.db")
    assert (done.returncode, done.stderr) == (0, "")
    whole = outputs(directory)
    assert len(trials(done.stdout)) == 9
    assert not (directory / "trials.db").exists()

    killed = subprocess.Popen(COMMAND, cwd=directory, stdout=subprocess.PIPE, text=True, env=UNBUFFERED)
    assert killed.stdout is not None
    seen: list[str] = []
    while len(trials("\n".join(seen))) < 6:
        seen.append(killed.stdout.readline().rstrip("\n"))
    time.sleep(0.05)  # in the middle of the next trial
    killed.send_signal(signal.SIGKILL)
    seen += killed.communicate()[0].splitlines()

    resumed = search(directory)
    assert resumed.returncode == 0, resumed.stderr
    printed, every = trials("\n".join(seen)) + trials(resumed.stdout), trials(done.stdout)
    assert printed == [line for line in every if line in printed]  # none twice
    assert len(printed) >= len(every) - 1  # the process may be killed after it stores a trial and before it prints it
    assert "4 trials, 4 of them stored" in resumed.stdout
    assert outputs(directory) == whole

    again = search(directory)
    assert trials(again.stdout) == []
    assert outputs(directory) == whole


def test_ctrl_c_names_the_file_of_the_finished_trials(directory: Path) -> None:
    stopped = subprocess.Popen(
        COMMAND,
        cwd=directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**UNBUFFERED, "SEARCH_TRIALS": str(directory.parent / "elsewhere/trials.db")},
        # Background jobs of a shell ignore Ctrl-C, and so do their children.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    assert stopped.stdout is not None
    while not stopped.stdout.readline().startswith("  "):
        pass
    stopped.send_signal(signal.SIGINT)
    output, errors = stopped.communicate(timeout=60)
    assert stopped.returncode == 130
    kept = directory.parent / "elsewhere/trials.db"
    assert f"finished trials are stored in {kept}: the same command resumes the search" in output
    assert errors == "trainlab: stopped by Ctrl-C; no incomplete file is left\n"
    assert sorted(path.name for path in directory.iterdir()) == ["params.yaml", "resolved.yaml"]


def test_what_it_writes(directory: Path) -> None:
    assert search(directory).returncode == 0
    result = json.loads((directory / "result.json").read_text())
    with (directory / "trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 9
    assert "seconds" not in rows[0]
    winner = next(row for row in rows if (row["round"], row["trial"]) == ("2", str(result["trial"])))
    assert float(winner["validation_loss"]) == pytest.approx(result["validation_loss"], rel=1e-5)
    assert float(winner["lr"]) == result["values"]["lr"]
    others: dict[str, Any] = {key: value for key, value in PIPELINE.items() if key != "runs"}
    pasted = directory.parent / "params.yaml"
    pasted.write_text(f"{reading.dump(others)}runs:\n{(directory / 'best.yaml').read_text()}")
    run = config.resolve(config.load_params(pasted))["best"]
    assert (run.suite, run.lr, run.batch_size) == ("tricks", result["values"]["lr"], result["values"]["batch_size"])
    assert json.loads((directory / "timings.json").read_text())["trials"] == 9


def test_pictures_need_neither_trials_nor_images(directory: Path) -> None:
    assert search(directory).returncode == 0
    (directory / "trials.db").unlink()
    shutil.rmtree(directory.parent / "data")
    drawn = draw(directory)
    assert (drawn.returncode, drawn.stderr) == (0, "")
    assert "importance is not drawn: no round varies two parameters in" in drawn.stdout
    assert sorted(path.name for path in (directory / "plots").iterdir()) == ["history.png", "slices.png"]
    (directory / "ranges.json").unlink()
    assert draw(directory).stderr == "trainlab: ranges.json is missing: run `dvc repro search`\n"


def test_importance_is_drawn_without_a_word(directory: Path) -> None:
    rounds = [{**PARAMS["rounds"][1], "trials": 8, "epochs": 1}]
    (directory / "params.yaml").write_text(reading.dump(changed(moves=0, rounds=rounds)))
    assert resolve(directory).returncode == 0
    assert search(directory).returncode == 0
    drawn = draw(directory)
    assert (drawn.returncode, drawn.stdout, drawn.stderr) == (0, "", "")
    assert (directory / "plots/importance.png").is_file()


def draw(directory: Path) -> subprocess.CompletedProcess[str]:
    command = [forked.python(), str(STAGES / "draw_search.py")]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=60, check=False)


def test_a_mistake_is_one_line(directory: Path) -> None:
    wrong = changed(sampler="rndom", base={**PARAMS["base"]})
    (directory / "params.yaml").write_text(reading.dump(wrong))
    before = (directory / "resolved.yaml").read_bytes()
    done = resolve(directory)
    assert done.returncode == 1
    assert done.stderr.startswith("trainlab: params.yaml: sampler.name is 'rndom' (did you mean random?)")
    assert done.stderr.count("\n") == 1
    assert (directory / "resolved.yaml").read_bytes() == before
    (directory / "resolved.yaml").unlink()
    done = search(directory)
    assert (done.returncode, done.stderr) == (1, "trainlab: resolved.yaml is missing: run `dvc repro resolve`\n")
