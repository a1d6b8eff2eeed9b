"""`trainlab compare` where Git has the predicted classes of a run, and its predictions are not there."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import yaml

from commands.console import Call
from commands.test_compare import RUNS, compared, configure, refused
from trainlab.evaluation.metrics import Predictions
from trainlab.evaluation.predicted_classes import PredictedClasses

KEPT = Path("predicted_classes/tricks/plain.safetensors")
PREDICTIONS = Path("predictions/tricks/plain.safetensors")
CONFIGURATION = Path("configs/tricks/plain.yaml")


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a clone in which `plain` is as it was committed, and all other runs were trained since."""
    monkeypatch.chdir(tmp_path)
    for run, of_run in RUNS.items():
        of_run.save(Path(f"predictions/tricks/{run}.safetensors"))
    configure(tmp_path, plain=None, better="plain", same="plain", single="plain")
    PredictedClasses.of(PREDICTIONS).save(KEPT)
    record()
    return tmp_path


def record(stage: str = "evaluate@plain") -> None:
    """Write what dvc.lock has of `plain`."""

    def entry(path: Path) -> dict[str, str]:
        return {"path": str(path), "md5": hashlib.md5(path.read_bytes()).hexdigest()}

    of_stage = {"cmd": "", "deps": [{"path": "data"}, entry(CONFIGURATION)], "outs": [entry(PREDICTIONS)]}
    Path("dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": {stage: of_stage}}))


@pytest.mark.parametrize("pair", [("better", "plain"), ("plain", "better"), ("same", "plain"), ("single", "plain")])
@pytest.mark.usefixtures("clone")
def test_the_answer_is_that_of_the_predictions_without_loss_and_calibration(pair: tuple[str, str], call: Call) -> None:
    expected = compared(call, *pair)
    PREDICTIONS.unlink()
    found = compared(call, *pair)
    side = "run" if pair[0] == "plain" else "against"
    assert (found[side]["loss"], found[side]["calibration_error"]) == (None, None)
    for value in ("loss", "calibration_error"):
        assert expected[side].pop(value) > 0
        del found[side][value]
    assert found == expected


@pytest.mark.usefixtures("clone")
def test_it_says_that_scores_are_missing(call: Call) -> None:
    assert "Git has" not in call("compare", "better").out
    PREDICTIONS.unlink()
    lines = call("compare", "better").out.splitlines()
    assert (
        "for this comparison alone. Of `plain`, Git has the predicted classes: loss and ECE need the predictions."
        in lines[-1]
    )
    [row] = [line.split() for line in lines if line.strip().startswith("plain")]
    assert (row[0], row[1], row[-2:]) == ("plain", "3", ["-", "-"])
    assert "| plain | 3 | 61.00 | 1.00 | " in call("compare", "better", "--markdown").out


@pytest.mark.usefixtures("clone")
def test_a_student(call: Call) -> None:
    record("evaluate_student@plain")
    PREDICTIONS.unlink()
    assert compared(call, "better")["against"]["accuracy"] == pytest.approx(0.61)


@pytest.mark.usefixtures("clone")
def test_another_configuration_is_refused(call: Call) -> None:
    """A run with fewer epochs must not be compared with the committed results of all epochs."""
    PREDICTIONS.unlink()
    before = CONFIGURATION.read_text()
    CONFIGURATION.write_text(f"{before}epochs: 2\n")
    assert refused(call, "better") == (
        f"{KEPT} was trained with other parameters or code than plain has now: `dvc repro {PREDICTIONS}` trains it again; "
        "name the file to compare with it anyway"
    )
    assert compared(call, "better", str(KEPT))["against"]["accuracy"] == pytest.approx(0.61)
    CONFIGURATION.write_text(before)
    assert compared(call, "better")["against"]["accuracy"] == pytest.approx(0.61)


@pytest.mark.usefixtures("clone")
def test_classes_of_other_predictions_than_those_in_dvc_lock_are_refused(call: Call) -> None:
    RUNS["same"].save(PREDICTIONS)
    record()
    PREDICTIONS.unlink()
    assert refused(call, "better").startswith(f"{KEPT} was trained with other parameters or code")
    for lock in ("schema: '2.0'\n", "schema: '2.0'\nstages:\n"):
        Path("dvc.lock").write_text(lock)
        assert refused(call, "better").startswith(f"{KEPT} was trained with other parameters or code")
    for stages in (
        "[a]",
        "{evaluate@plain: text}",
        "{evaluate@plain: {deps: []}}",
        "{evaluate@plain: {deps: 1, outs: []}}",
    ):
        Path("dvc.lock").write_text(f"schema: '2.0'\nstages: {stages}\n")
        assert refused(call, "better") == "dvc.lock is damaged: restore it with `git checkout dvc.lock`"
    Path("dvc.lock").unlink()
    assert refused(call, "better").startswith("dvc.lock is missing: restore it with `git checkout dvc.lock`")


@pytest.mark.usefixtures("clone")
def test_without_configurations_nothing_was_changed(call: Call) -> None:
    PREDICTIONS.unlink()
    CONFIGURATION.unlink()
    assert compared(call, "better", "plain", "--margin", "0.1")["against"]["accuracy"] == pytest.approx(0.61)


@pytest.mark.usefixtures("clone")
def test_predictions_that_are_there_are_used(call: Call) -> None:
    KEPT.write_text("damaged")
    assert compared(call, "better")["against"]["loss"] > 0
    PREDICTIONS.unlink()
    assert refused(call, "better").startswith(f"{KEPT} is damaged (")


@pytest.mark.usefixtures("clone")
def test_the_same_classes_with_other_scores_are_identical_predictions(call: Call) -> None:
    plain = RUNS["plain"]
    Predictions(2 * plain.scores, plain.labels, plain.classes).save(Path("predictions/tricks/better.safetensors"))
    assert call("compare", "better").out.startswith("`better` and `plain` have identical predictions.")
    other = np.roll(plain.labels, 1)
    Predictions(plain.scores, other, plain.classes).save(Path("predictions/tricks/better.safetensors"))
    assert "different test images or classes" in refused(call, "better")
