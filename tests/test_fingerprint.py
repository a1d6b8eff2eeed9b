"""A copy of the package is edited, and its own `fingerprint` says whose results went stale."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "trainlab"
SCRIPT = """
import json, sys
sys.path.insert(0, sys.argv[1])
import small_params
from trainlab import config
print(json.dumps({name: run.code for name, run in config.resolve(small_params.PARAMS).items()}))
"""
RUNS = {
    "adam": {"suite": "tricks"},
    "sgd": {"suite": "tricks", "optimizer": {"name": "sgd"}},
    "step": {"suite": "tricks", "schedule": {"name": "step", "step_size": 1, "gamma": 0.5}},
    "kaiming": {"suite": "tricks", "model": {"initializer": "kaiming_uniform"}},
    "other": {"suite": "tricks", "model": "other_cnn"},
    "l1": {"suite": "tricks", "regularizers": [{"name": "l1", "strength": 0.1}]},
    "max_norm": {"suite": "tricks", "regularizers": [{"name": "max_norm", "limit": 2.0}]},
    "flip": {"suite": "tricks", "augmentation": ["flip"]},
    "flip_crop_l1": {
        "suite": "tricks",
        "augmentation": ["flip", {"name": "crop", "padding": 2}],
        "regularizers": [{"name": "l1", "strength": 0.1}],
    },
}
OTHER = """
from typing import Literal
from trainlab.models.tf_cnn import TfCnn, _TfCnnNetwork
from trainlab.models.base import Model, Network

class OtherCnn(Model):
    name: Literal["other_cnn"]

    def network(self, in_shape: tuple[int, int, int], num_outputs: int) -> Network:
        return _TfCnnNetwork(TfCnn(name="tf_cnn"), in_shape, num_outputs)
"""


def copy_package(directory: Path) -> Path:
    copied = directory / "trainlab"
    shutil.copytree(SOURCE, copied, ignore=shutil.ignore_patterns("__pycache__"))
    (copied / "models" / "other_cnn.py").write_text(OTHER)
    small = Path(__file__).with_name("small.py").read_text().split("\n\n\ndef ")[0]
    values = small[small.index("PARAMS") :].replace(": dict[str, Any]", "")
    (directory / "small_params.py").write_text(f"{values}\nPARAMS['runs'] = {RUNS!r}\n")
    return copied


def codes(package: Path) -> dict[str, str]:
    done = subprocess.run(
        [sys.executable, "-B", "-c", SCRIPT, str(package.parent)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return json.loads(done.stdout)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return copy_package(tmp_path)


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return codes(copy_package(tmp_path_factory.mktemp("unedited")))


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def add_objective(package: Path) -> None:
    text = (package / "objectives" / "softmax_cross_entropy.py").read_text()
    new = text.replace("SoftmaxCrossEntropy", "Another").replace('"softmax_cross_entropy"', '"another"')
    (package / "objectives" / "another.py").write_text(new)


def comment(package: Path) -> None:
    edit(package / "training" / "loop.py", "    net.train()\n", "    # A comment.\n    net.train()  # and one more\n\n")
    edit(package / "models" / "tf_cnn.py", '"""The small', '"""Another docstring; the small')


def import_for_one_part(package: Path) -> None:
    """`Step` alone needs what it imports."""
    edit(
        package / "schedules.py",
        "import math\n",
        "import fractions\nimport math\nfrom trainlab import errors as oops\n",
    )
    edit(package / "schedules.py", "// self.step_size", "// int(fractions.Fraction(self.step_size, bool(oops)))")


def import_for_all_parts(package: Path) -> None:
    edit(package / "schedules.py", "import math\n", "import fractions\nimport math\n")
    edit(package / "schedules.py", "class Constant(", "NOTHING = fractions.Fraction(0)\n\n\nclass Constant(")


def edit_what_no_run_uses(package: Path) -> None:
    edit(package / "regularizers.py", "alpha=self.l1", "alpha=2")
    edit(package / "data" / "augmentation.py", "self.size // 2", "1")
    edit(package / "schedules.py", "import math", "import math\nimport sys")
    edit(package / "config" / "schema.py", "le=1000)", "le=1001)")  # the schema of params.yaml


def derive(package: Path) -> None:
    """`Adam` from a part that is derived from another one, neither of which any run names."""
    old = "class Adam(_AdamFamily)"
    first = 'class First(_AdamFamily):\n    name: Literal["first"]\n\n    DECAY: ClassVar[float] = 1.0\n'
    second = 'class Second(First):\n    name: Literal["second"]  # type: ignore[assignment]\n'
    edit(package / "optimizers.py", "import Literal", "import ClassVar, Literal")
    edit(package / "optimizers.py", old, f"{first}\n\n{second}\n\nclass Adam(Second)")


EDITS: list[tuple[str, Callable[[Path], None], set[str]]] = [
    ("a comment and a docstring", comment, set()),
    ("a new objective", add_objective, set()),
    (
        "the training loop",
        lambda p: edit(p / "training" / "loop.py", "epoch - 1 + step / steps", "epoch - 1"),
        set(RUNS),
    ),
    ("the batches", lambda p: edit(p / "data" / "batches.py", "255 * std", "256 * std"), set(RUNS)),
    (
        "one model",
        lambda p: edit(p / "models" / "other_cnn.py", "TfCnn(name=", "TfCnn(dropout_conv=0.1, name="),
        {"other"},
    ),
    (
        "a model that another imports",
        lambda p: edit(p / "models" / "tf_cnn.py", "32, 3)", "32, 3, bias=False)"),
        set(RUNS),
    ),
    (
        "one optimizer in a file of several",
        lambda p: edit(p / "optimizers.py", "dampening=0", "dampening=0.1"),
        {"sgd"},
    ),
    ("a base class of an optimizer", lambda p: edit(p / "optimizers.py", "amsgrad=False", "amsgrad=True"), set(RUNS)),
    ("one schedule", lambda p: edit(p / "schedules.py", "// self.step_size", "// (self.step_size + 1)"), {"step"}),
    (
        "an initializer",
        lambda p: edit(p / "initializers.py", 'nonlinearity="relu"', 'nonlinearity="tanh"'),
        {"kaiming"},
    ),
    ("a regularizer", lambda p: edit(p / "regularizers.py", "alpha=self.strength", "alpha=2"), {"l1", "flip_crop_l1"}),
    ("a regularizer that stands alone", lambda p: edit(p / "regularizers.py", "renorm_(2", "renorm_(1"), {"max_norm"}),
    (
        "what all regularizers use",
        lambda p: edit(
            p / "regularizers.py", "for p in parameters if p.dim() >= 2]\n\n\nReg", "for p in parameters]\n\n\nReg"
        ),
        {"l1", "max_norm", "flip_crop_l1"},
    ),
    (
        "the second of two augmentations",
        lambda p: edit(p / "data" / "augmentation.py", "2 * self.padding + 1", "2 * self.padding"),
        {"flip_crop_l1"},
    ),
    (
        "the first of two augmentations",
        lambda p: edit(p / "data" / "augmentation.py", "< 0.5}", "< 0.4}"),
        {"flip", "flip_crop_l1"},
    ),
    ("an import that one part needs", import_for_one_part, {"step"}),
    ("an import that all parts need", import_for_all_parts, set(RUNS)),
    ("what no run uses", edit_what_no_run_uses, set()),
    ("pictures", lambda p: edit(p / "evaluation" / "plots.py", "import", "import sys\nimport"), set()),
    ("the progress bar", lambda p: edit(p / "training" / "progress.py", "REFRESH = 0.25", "REFRESH = 0.5"), set()),
]


def test_a_part_derived_from_parts_is_followed_to_the_last_of_them(package: Path) -> None:
    derive(package)
    before = codes(package)
    edit(package / "optimizers.py", "DECAY: ClassVar[float] = 1.0", "DECAY: ClassVar[float] = 2.0")
    after = codes(package)
    assert {run for run in RUNS if before[run] == after[run]} == {"sgd"}


@pytest.mark.parametrize(("what", "change", "stale"), EDITS, ids=[what for what, _, _ in EDITS])
def test_an_edit_makes_stale_what_uses_it_and_nothing_else(
    package: Path, before: dict[str, str], what: str, change: Callable[[Path], None], stale: set[str]
) -> None:
    change(package)
    after = codes(package)
    assert {run for run in RUNS if before[run] != after[run]} == stale
