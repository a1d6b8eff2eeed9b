"""Training waits for a run's checks, and does not depend on what they measured."""

import json

from pipeline.scratch import Scratch


def test_a_failed_check_stops_its_run_before_training_and_no_other(data_repo: Scratch) -> None:
    with data_repo.params() as params:
        params["runs"]["baseline"] |= {
            "model": {"initializer": {"name": "gaussian", "std": 1.0}},
            "checks": {"initial_loss_tolerance": 0.5},
        }
    stopped = data_repo.dvc("repro", "--keep-going", "train@baseline", "train@norm_inputs", check=False)
    assert stopped.code != 0
    assert stopped.ran("train") == {"norm_inputs"}
    [line] = [line for line in stopped.messages() if "failed its check initial_loss" in line]
    assert line.startswith("trainlab: run baseline failed its check initial_loss: the loss starts at ")
    assert "should be within 0.5 of 2.303" in line
    report = json.loads(data_repo.path("metrics/checks/tricks/baseline.json").read_text())  # written all the same
    assert report["checks"]["initial_loss"]["passed"] is False
    assert not data_repo.path("checks/baseline.passed").exists()


def test_a_changed_check_retrains_nothing(repo: Scratch) -> None:
    repo.keep("baseline")
    with repo.params() as params:
        params["checks"]["initial_loss_tolerance"] = 8.0
    again = repo.dvc("repro", "evaluate@baseline")
    assert again.ran_stages() == {"resolve", "check"}
