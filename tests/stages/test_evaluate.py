"""Stage `evaluate`: everything that later stages need to know about a run."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from small import data, run_config
from suite_results import digests, modules, rows, stage
from trainlab.data import stored
from trainlab.data.stored import Split
from trainlab.evaluation.metrics import Predictions
from trainlab.files import write_text
from trainlab.training.model_file import TrainedModel
from trainlab.training.replicas import train

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained() -> TrainedModel:
    return train(run_config(epochs=1, replicas=2, subset=8), data())


@pytest.fixture
def project(tmp_path: Path, trained: TrainedModel) -> Path:
    images = data()
    assert images.test is not None
    train_images, test_images = (Split(part.images, part.labels) for part in (images.train, images.test))
    stored.save(tmp_path / "images", train_images, test_images, images.train.classes)
    trained.save(tmp_path / "models/small.safetensors")
    write_text(tmp_path / "configs/tricks/small.yaml", trained.config.to_yaml())
    return tmp_path


def test_evaluate_writes_metrics_reports_and_predictions_without_drawing_code(
    project: Path, trained: TrainedModel
) -> None:
    assert "matplotlib" not in modules(project, "evaluate", "small", "--data", "images")
    assert {name for name in digests(project) if not name.startswith(("configs/", "images/", "models/"))} == {
        "metrics/tricks/small.json",
        "metrics/tricks/small-classes.csv",
        "plots/confusion/tricks/small.csv",
        "plots/reliability/tricks/small.csv",
        "predictions/tricks/small.safetensors",
    }
    test = data().test
    assert test is not None
    scores = Predictions.load(project / "predictions/tricks/small.safetensors").scores
    assert (scores == trained.scores(test)).all()
    saved = json.loads((project / "metrics/tricks/small.json").read_text())
    assert (saved["replicas"], saved["test_images"]) == (2, 12)
    assert saved["accuracy"]["values"] == [float(mean) for mean in (scores.argmax(2) == test.labels).mean(1)]
    of_bins = rows(project / "plots/reliability/tricks/small.csv")
    assert [sum(int(row["images"]) for row in of_bins if row["replica"] == replica) for replica in "01"] == [12, 12]
    assert len(saved["calibration_error"]["values"]) == len(saved["brier"]["values"]) == 2
    assert saved["training"]["subset"] == 8
    assert saved["training"]["torch"] == torch.__version__
    assert saved["model"]["parameters"] == sum(weights.numel() for weights in trained.weights[0].values())


def test_a_model_that_diverged_is_reported_on_one_line(project: Path, trained: TrainedModel) -> None:
    broken = {name: torch.full_like(tensor, torch.nan) for name, tensor in trained.weights[1].items()}
    replace(trained, weights=[trained.weights[0], broken]).save(project / "models/small.safetensors")
    done = stage(project, "evaluate", "small", "--data", "images")
    assert done.returncode == 1
    assert done.stderr == (
        "trainlab: run small cannot be scored: the score of replica 1, image 0, class 0 is nan; its training diverged: set lr "
        "to a tenth of its value\n"
    )
    assert not (project / "metrics").exists()


def test_the_model_of_another_run_is_refused_and_nothing_is_written(project: Path, trained: TrainedModel) -> None:
    """A file says itself which run it belongs to, so that a changed one could write elsewhere, or change another suite."""
    for own in ({"suite": "elsewhere"}, {"inputs": "raw"}, {"run": "other"}):
        changed = replace(trained, config=trained.config.model_copy(update=own))
        changed.save(project / "models/small.safetensors")
        done = stage(project, "evaluate", "small", "--data", "images")
        assert done.returncode == 1
        [line] = done.stderr.splitlines()
        assert line.startswith(
            "trainlab: models/small.safetensors is not the model of the run small as it is configured now"
        )
        assert {path.name for path in project.iterdir()} == {"configs", "images", "models"}
