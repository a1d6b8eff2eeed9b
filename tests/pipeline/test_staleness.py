"""Which runs go stale when code changes: those that use it, and no other."""

import json

import pytest

from pipeline.scratch import TRICKS

LINEAR = '''"""Linear regression onto the classes."""

from typing import Literal

from torch import Tensor, nn

from trainlab.models.base import Model, Network


class Linear(Model):
    name: Literal["linear"]

    def network(self, in_shape: tuple[int, int, int], num_outputs: int) -> Network:
        return _LinearNetwork(in_shape, num_outputs)


class _LinearNetwork(Network):
    def __init__(self, in_shape: tuple[int, int, int], num_outputs: int) -> None:
        super().__init__()
        channels, height, width = in_shape
        self.head = nn.Linear(channels * height * width, num_outputs)

    def features(self, images: Tensor) -> Tensor:
        return images.flatten(1)
'''

OBJECTIVE = '''"""Another objective."""

from typing import Literal

from trainlab.objectives.base import Objective


class Another(Objective):
    name: Literal["another"]
'''


def stale(repo):
    """The runs that `dvc repro` would train again, after `resolve` has run."""
    repo.dvc("repro", "resolve")
    changed = json.loads(repo.dvc("status", "--json").stdout)
    return {stage.removeprefix("train@") for stage in changed if stage.startswith("train@")}


def test_a_comment_retrains_nothing(repo):
    for name in ("training/loop.py", "models/tf_cnn.py", "optimizers.py", "data/batches.py"):
        repo.append(f"src/trainlab/{name}", "\n# A comment.\n")
    again = repo.dvc("repro")
    assert again.ran("resolve")
    assert not again.ran("train") | again.ran("evaluate") | again.ran("compare")


def test_a_new_objective_makes_nothing_stale(repo):
    repo.path("src/trainlab/objectives/another.py").write_text(OBJECTIVE)
    assert stale(repo) == set()


@pytest.mark.parametrize(
    ("file", "old", "new", "runs"),
    [
        pytest.param("optimizers.py", "dampening=0,", "dampening=0.5,", set(), id="an optimizer that no run uses"),
        pytest.param("optimizers.py", "amsgrad=False,", "amsgrad=True,", set(TRICKS), id="the optimizer of all runs"),
        pytest.param(
            "training/loop.py", "loss.backward()", "(2 * loss).backward()", set(TRICKS), id="the training loop"
        ),
        pytest.param(
            "schedules.py",
            "self.gamma ** int(done)",
            "self.gamma ** done",
            set(TRICKS) - {"baseline", "norm_inputs"},
            id="the schedule of some runs",
        ),
    ],
)
def test_code_makes_stale_the_runs_that_use_it(repo, file, old, new, runs):
    repo.edit(f"src/trainlab/{file}", old, new)
    assert stale(repo) == runs


def test_a_models_code_makes_stale_the_runs_that_use_it(repo):
    repo.path("src/trainlab/models/linear.py").write_text(LINEAR)
    with repo.params() as params:
        params["runs"]["linear"] = {"suite": "tricks", "model": {"name": "linear"}}
    added = repo.dvc("repro", "train@linear")  # a new model and a new run: a file and a line
    assert added.ran("train") == {"linear"}
    assert stale(repo) == set()

    repo.edit("src/trainlab/models/linear.py", "images.flatten(1)", "2 * images.flatten(1)")
    assert stale(repo) == {"linear"}
    repo.edit("src/trainlab/models/linear.py", "2 * images.flatten(1)", "images.flatten(1)")
    repo.edit("src/trainlab/models/tf_cnn.py", "F.relu(self.dense", "F.silu(self.dense")
    assert stale(repo) == set(TRICKS)
