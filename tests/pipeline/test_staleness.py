"""Which runs become stale when code changes, as DVC sees it. tests/test_fingerprint.py has the details."""

import json

from pipeline.scratch import RUNS, Scratch

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


def stale(repo: Scratch) -> set[str]:
    """Return the runs that `dvc repro` would train again, after `resolve` has run."""
    repo.dvc("repro", "resolve")
    changed = json.loads(repo.dvc("status", "--json").stdout)
    return {stage.removeprefix("train@") for stage in changed if stage.startswith("train@")}


def test_comments_and_a_moved_function_retrain_nothing(repo: Scratch) -> None:
    for name in ("src/trainlab/training/loop.py", "src/trainlab/optimizers.py", "stages/train.py", "stages/_start.py"):
        repo.append(name, "\n# A comment.\n")
    loop = repo.path("src/trainlab/training/loop.py")
    text = loop.read_text()
    start = text.index("def _words(")
    loop.write_text(
        text[:start].replace("import math\n", "import math\nfrom trainlab.training.words import _words\n", 1)
    )
    repo.path("src/trainlab/training/words.py").write_text(f"import numpy as np\n\n\n{text[start:]}")
    repo.edit("src/trainlab/__init__.py", '__version__ = "', '__version__ = "9')
    assert stale(repo) == set()
    assert repo.stage("train", "baseline").code == 0  # the edited code works


def test_training_on_the_test_images_makes_all_runs_stale(repo: Scratch) -> None:
    loaded = "images = stored.load_data(data)"
    repo.edit("stages/train.py", loaded, f"{loaded}\n    images = images._replace(train=images.test)")
    assert stale(repo) == set(RUNS)


def test_a_new_model_is_a_file_and_its_code_concerns_its_runs(repo: Scratch) -> None:
    repo.path("src/trainlab/models/linear.py").write_text(LINEAR)
    assert stale(repo) == set()
    with repo.params() as params:
        params["runs"]["linear"] = {"suite": "tricks", "model": {"name": "linear"}}
    assert repo.dvc("repro", "train@linear").ran("train") == {"linear"}
    assert stale(repo) == set()
    repo.edit("src/trainlab/models/linear.py", "images.flatten(1)", "2 * images.flatten(1)")
    assert stale(repo) == {"linear"}
    repo.edit("src/trainlab/models/linear.py", "2 * images.flatten(1)", "images.flatten(1)")
    repo.edit("src/trainlab/schedules.py", "self.gamma ** int(done)", "self.gamma ** done")
    assert stale(repo) == {"dropout_both"}
