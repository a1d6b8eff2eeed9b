"""The stage `search`: killed and started again, and what it writes."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import yaml

from search.small_search import PARAMS, changed, data
from small import PARAMS as PIPELINE
from trainlab import config
from trainlab.data import stored
from trainlab.data.stored import Split

STAGE = Path(__file__).parents[2] / "stages/search.py"
WRITTEN = ("best.yaml", "result.json", "trials.csv", "plots/history.png", "plots/slices.png")


@pytest.fixture
def project(tmp_path):
    """What the stages before `search` leave, and its parameters."""
    train, test = data()
    splits = (Split(images.images, images.labels) for images in (train, test))
    stored.save(tmp_path / "data/normalized", *splits, train.classes)
    (tmp_path / "search").mkdir()
    (tmp_path / "search/params.yaml").write_text(yaml.safe_dump(changed(moves=0), sort_keys=False))
    return tmp_path


def search(project, *arguments):
    return subprocess.run(
        [sys.executable, STAGE, *arguments], cwd=project, capture_output=True, text=True, timeout=300, check=False
    )


def outputs(project):
    return {name: (project / "search" / name).read_bytes() for name in WRITTEN}


def trials(text):
    return [line.rpartition("  ")[0] for line in text.splitlines() if line.startswith("  ")]


def test_killed_and_started_again_it_repeats_no_trial_and_writes_the_same(project):
    done = search(project, "--trials", project / "whole.db")
    assert (done.returncode, done.stderr) == (0, "")
    whole = outputs(project)
    assert len(trials(done.stdout)) == 9
    assert not (project / "search/trials.db").exists()

    killed = subprocess.Popen([sys.executable, "-u", STAGE], cwd=project, stdout=subprocess.PIPE, text=True)
    assert killed.stdout is not None
    seen = []
    while len(trials("\n".join(seen))) < 6:
        seen.append(killed.stdout.readline().rstrip("\n"))
    time.sleep(0.05)  # in the middle of the next trial
    killed.send_signal(signal.SIGKILL)
    seen += killed.communicate()[0].splitlines()

    resumed = search(project)
    assert resumed.returncode == 0, resumed.stderr
    told, every = trials("\n".join(seen)) + trials(resumed.stdout), trials(done.stdout)
    assert told == [line for line in every if line in told]  # none twice, …
    assert len(told) >= len(every) - 1  # … and one may have been stored, and killed before it was told
    assert "4 trials, 4 of them stored" in resumed.stdout
    assert outputs(project) == whole

    again = search(project)
    assert trials(again.stdout) == []
    assert outputs(project) == whole


def test_ctrl_c_says_where_the_finished_trials_are(project):
    stopped = subprocess.Popen(
        [sys.executable, "-u", STAGE],
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "SEARCH_TRIALS": str(project / "elsewhere/trials.db")},
        # A shell's background jobs ignore Ctrl-C, and what they start does too.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    assert stopped.stdout is not None
    while not stopped.stdout.readline().startswith("  "):
        pass
    stopped.send_signal(signal.SIGINT)
    said, told = stopped.communicate(timeout=60)
    assert stopped.returncode == 130
    assert f"finished trials are kept in {project}/elsewhere/trials.db: the same command goes on" in said
    assert told == "trainlab: stopped by Ctrl-C; nothing half-written is left\n"
    assert sorted(path.name for path in (project / "search").iterdir()) == ["params.yaml"]


def test_what_it_writes(project):
    done = search(project)
    assert "importance is not drawn: no round varies two parameters in" in done.stdout
    folder = project / "search"
    result = json.loads((folder / "result.json").read_text())
    with (folder / "trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 9
    assert "seconds" not in rows[0]
    winner = next(row for row in rows if (row["round"], row["trial"]) == ("2", str(result["trial"])))
    assert float(winner["validation_loss"]) == pytest.approx(result["validation_loss"], rel=1e-5)
    assert float(winner["lr"]) == result["values"]["lr"]
    pasted = yaml.safe_load(
        yaml.safe_dump({key: value for key, value in PIPELINE.items() if key != "runs"})
        + "runs:\n"
        + (folder / "best.yaml").read_text()
    )
    run = config.resolve(pasted)["best"]
    assert (run.suite, run.lr, run.batch_size) == ("tricks", result["values"]["lr"], result["values"]["batch_size"])
    assert json.loads((folder / "timings.json").read_text())["trials"] == 9


def test_a_mistake_is_one_line(project):
    wrong = changed(sampler="rndom", base={**PARAMS["base"]})
    (project / "search/params.yaml").write_text(yaml.safe_dump(wrong))
    done = search(project)
    assert done.returncode == 1
    assert done.stderr.startswith("trainlab: search/params.yaml: sampler.name is 'rndom' (did you mean random?)")
    assert done.stderr.count("\n") == 1
