"""Training waits for a run's checks, and for nothing that they measured."""

import json


def test_a_failed_check_stops_its_run_before_training_and_no_other(data_repo):
    data_repo.keep("baseline", "norm_inputs")
    with data_repo.params() as params:
        params["runs"]["baseline"] |= {
            "model": {"initializer": {"name": "gaussian", "std": 1.0}},
            "checks": {"initial_loss_tolerance": 0.5},
        }
    stopped = data_repo.dvc("repro", "--keep-going", check=False)
    assert stopped.code != 0
    assert stopped.ran("train") == {"norm_inputs"}
    [line] = [line for line in stopped.said() if line.startswith("trainlab: ")]
    assert line.startswith("trainlab: run baseline failed its check initial_loss: the loss starts at ")
    assert "should be within 0.5 of 2.303" in line
    assert "usual causes: an initializer with too large weights" in line
    report = json.loads(data_repo.path("metrics/checks/baseline.json").read_text())  # to look at
    assert report["checks"]["initial_loss"]["passed"] is False
    assert not data_repo.path("checks/baseline.passed").exists()


def test_a_failure_that_is_meant_is_no_obstacle(data_repo):
    data_repo.keep("baseline")
    with data_repo.params() as params:
        params["runs"]["baseline"] |= {
            "model": {"initializer": {"name": "gaussian", "std": 1.0}},
            "checks": {
                "initial_loss_tolerance": 0.5,
                "expected_to_fail": ["initial_loss", "overfit", "objective"],
            },
        }
    assert data_repo.dvc("repro", "train@baseline").ran("train") == {"baseline"}


def test_a_changed_check_retrains_nothing(repo):
    with repo.params() as params:
        params["checks"]["initial_loss_tolerance"] = 8.0
    again = repo.dvc("repro")
    assert again.ran("check") == set(params["runs"])
    assert again.ran("train") == again.ran("evaluate") == set()
