"""Stage `predicted_classes`: what Git keeps of the predictions of a suite."""

from pathlib import Path

import pytest

from suite_results import ACCURACY, CLASSES, digests, stage, succeed, write_results
from trainlab.evaluation.metrics import Predictions
from trainlab.evaluation.predicted_classes import PredictedClasses

pytestmark = pytest.mark.slow


def test_it_writes_the_classes_of_each_run_and_the_same_bytes_again(tmp_path: Path) -> None:
    write_results(tmp_path)
    kept = tmp_path / "predicted_classes/tricks"
    kept.mkdir(parents=True)
    for directory in ("predictions", "predicted_classes"):
        (tmp_path / directory / "tricks/old.safetensors").write_text("of a run that is gone")
    assert succeed(tmp_path, "predicted_classes", "tricks") == ""
    assert set(written := digests(kept)) == {f"{run}.safetensors" for run in ACCURACY}
    for run in ACCURACY:
        found = PredictedClasses.load(kept / f"{run}.safetensors")
        scored = Predictions.load(tmp_path / f"predictions/tricks/{run}.safetensors")
        assert found.predicted.tolist() == scored.scores.argmax(2).tolist()
        assert (found.labels.tolist(), found.classes) == (scored.labels.tolist(), CLASSES)
    succeed(tmp_path, "predicted_classes", "tricks")
    assert digests(kept) == written


def test_damaged_predictions_leave_what_was_there(tmp_path: Path) -> None:
    write_results(tmp_path)
    succeed(tmp_path, "predicted_classes", "tricks")
    kept = tmp_path / "predicted_classes"
    before = digests(kept)
    (tmp_path / "predictions/tricks/better.safetensors").write_text("no tensors")
    failed = stage(tmp_path, "predicted_classes", "tricks")
    assert (failed.returncode, failed.stderr.count("\n")) == (1, 1)
    assert failed.stderr.startswith("trainlab: predictions/tricks/better.safetensors is damaged (")
    assert digests(kept) == before
