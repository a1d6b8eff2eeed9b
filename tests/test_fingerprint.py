"""A copy of the source is edited; the fingerprint must change for the runs that execute the edited code, and only those."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field, create_model

from small import PARAMS
from trainlab import config, fingerprint
from trainlab.component import Component
from trainlab.config.schema import RunConfig

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).parents[1]
RUNS: dict[str, dict[str, Any]] = {
    "adam": {},
    "sgd": {"optimizer": {"name": "sgd"}},
    "step": {"schedule": {"name": "step", "step_size": 1, "gamma": 0.5}},
    "kaiming": {"model": {"initializer": "kaiming_uniform"}},
    "convnet": {"model": {"name": "convnet", "width": 4, "depth": 1, "filter_size": 3, "hidden_dim": 8}},
    "l1": {"regularizers": [{"name": "l1", "strength": 0.1}]},
    "max_norm": {"regularizers": [{"name": "max_norm", "limit": 2.0}]},
    "flip": {"augmentation": ["flip"]},
    "flip_crop_l1": {
        "augmentation": ["flip", {"name": "crop", "padding": 2}],
        "regularizers": [{"name": "l1", "strength": 0.1}],
    },
}
ALL = set(RUNS)


@cache
def parsed(name: str, file_name: str, text: str) -> fingerprint._Module:
    """Return a module that is parsed once, however many copies of the source contain it."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / file_name
        file.write_text(text)
        return PARSE(name, file)


PARSE = fingerprint._parse


class Checkout:
    """A copy of the source and of the stages' scripts.

    Parameters
    ----------
    root
        A directory that does not exist yet.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.moved: dict[str, str] = {}  # classes of components that the edit moved to another module
        for name in ("src", "stages"):
            shutil.copytree(PROJECT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))

    def path(self, name: str) -> Path:
        """Return a path in `src/trainlab`, or in the root if it starts with ``stages/``."""
        return self.root / name if name.startswith("stages/") else self.root / "src/trainlab" / name

    def edit(self, name: str, old: str, new: str) -> None:
        """Replace the first occurrence of a text in a file."""
        text = self.path(name).read_text()
        assert old in text, f"{name} does not contain {old!r}"
        self.path(name).write_text(text.replace(old, new, 1))

    def append(self, name: str, text: str) -> None:
        with self.path(name).open("a") as file:
            file.write(text)

    def replace_everywhere(self, old: str, new: str) -> None:
        for path in self.root.rglob("*.py"):
            path.write_text(path.read_text().replace(old, new))

    def codes(self, schema: type[RunConfig] = RunConfig) -> dict[str, str]:
        """Return the fingerprint of each run."""
        fingerprint._source.cache_clear()
        return {run: self.code(components, schema) for run, components in COMPONENTS.items()}

    def code(self, components: list[Component], schema: type[RunConfig]) -> str:
        classes = [type(component) for component in components]
        here = [placed(cls.__name__, self.moved.get(cls.__name__, cls.__module__)) for cls in classes]
        return fingerprint.of_run(here, [self.root / "stages/train.py"], schema)


def placed(name: str, module: str) -> object:
    """Return an object whose class has this name and is defined in this module, without importing it."""
    return type(name, (), {"__module__": module})()


COMPONENTS = {
    name: list(run.components())
    for name, run in config.resolve(
        {**PARAMS, "runs": {run: {"suite": "tricks", **own} for run, own in RUNS.items()}}
    ).items()
}


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    monkeypatch.setattr(fingerprint, "SOURCE", tmp_path / "checkout/src")
    monkeypatch.setattr(fingerprint, "_parse", lambda name, file: parsed(name, file.name, file.read_text()))
    return Checkout(tmp_path / "checkout")


@pytest.fixture(scope="module")
def before() -> dict[str, str]:
    """Return the fingerprints of the unedited source."""
    runs = config.resolve(
        {**PARAMS, "runs": {run: {"suite": "tricks", **own} for run, own in RUNS.items()}},
        scripts=[PROJECT / "stages/train.py"],
    )
    return {name: run.code for name, run in runs.items()}


def stale(before: Mapping[str, str], after: Mapping[str, str]) -> set[str]:
    return {run for run in RUNS if before[run] != after[run]}


def test_a_copy_has_the_same_fingerprints(checkout: Checkout, before: dict[str, str]) -> None:
    assert checkout.codes() == before
    assert len(set(before.values())) == len(RUNS)


# Edits that change what a run computes.


def add_import_to_one_component(checkout: Checkout) -> None:
    """Only `Step` refers to what is imported."""
    checkout.edit("schedules.py", "import math\n", "import fractions\nimport math\n")
    checkout.edit("schedules.py", "// self.step_size", "// int(fractions.Fraction(self.step_size))")


CHANGES: dict[str, tuple[Callable[[Checkout], None], set[str]]] = {
    "the training loop": (lambda c: c.edit("training/loop.py", "loss.backward()", "(2 * loss).backward()"), ALL),
    "the inference that scores each epoch": (
        lambda c: c.edit("training/inference.py", "return torch.cat(batches)", "return -torch.cat(batches)"),
        ALL,
    ),
    "the batches": (lambda c: c.edit("data/batches.py", "(255 * std)", "(256 * std)"), ALL),
    "a constant of the training loop": (
        lambda c: c.edit("training/loop.py", "GPU_CHECK_INTERVAL = 50", "GPU_CHECK_INTERVAL = 60"),
        ALL,
    ),
    "the script trains on the test images": (
        lambda c: c.edit(
            "stages/train.py",
            "settings,\n            images,",
            "settings,\n            replace(images, train=images.test),",
        ),
        ALL,
    ),
    "a helper of the script": (
        lambda c: c.edit("stages/train.py", "def main(", "def helper() -> None: ...\n\n\ndef main("),
        ALL,
    ),
    "what the script imports first": (lambda c: c.edit("stages/_start.py", "gc.disable()", "gc.enable()"), ALL),
    "a statement that an import executes": (
        lambda c: c.append("data/subsets.py", "\nif np.lib:\n    np.seterr(all='raise')\n"),
        ALL,
    ),
    "a statement that the import of its package executes": (
        lambda c: c.append("data/__init__.py", "\nimport numpy\n\nnumpy.seterr(all='raise')\n"),
        ALL,
    ),
    "a statement that only a type checker skips": (
        lambda c: c.append("data/subsets.py", "\nif not TYPE_CHECKING:\n    np.seterr(all='raise')\n"),
        ALL,
    ),
    "one model": (
        lambda c: c.edit("models/convnet.py", "def features(self, images", "def features(self, batch"),
        {"convnet"},
    ),
    "a network's class": (lambda c: c.edit("models/tf_cnn.py", "32, 3)", "32, 3, bias=False)"), ALL - {"convnet"}),
    "the base class of all networks": (lambda c: c.edit("models/base.py", "self.head(", "-self.head("), ALL),
    "a function of another module": (
        lambda c: c.edit("models/layers.py", "def relu_dropout_pool(", "@torch.no_grad()\ndef relu_dropout_pool("),
        ALL - {"convnet"},
    ),
    "one optimizer in a file of several": (
        lambda c: c.edit("optimizers.py", "dampening=0", "dampening=0.1"),
        {"sgd"},
    ),
    "a base class of an optimizer": (
        lambda c: c.edit("optimizers.py", "amsgrad=False", "amsgrad=True"),
        ALL - {"sgd"},
    ),
    "one schedule": (lambda c: c.edit("schedules.py", "// self.step_size", "// (self.step_size + 1)"), {"step"}),
    "a field of a component": (
        lambda c: c.edit("schedules.py", "step_size: Count", "step_size: Count = 5"),
        {"step"},
    ),
    "an initializer": (
        lambda c: c.edit("initializers.py", 'nonlinearity="relu"', 'nonlinearity="tanh"'),
        {"kaiming"},
    ),
    "a regularizer": (
        lambda c: c.edit("regularizers.py", "alpha=self.strength", "alpha=2"),
        {"l1", "flip_crop_l1"},
    ),
    "a regularizer without parameters in common": (
        lambda c: c.edit("regularizers.py", "renorm_(2", "renorm_(1"),
        {"max_norm"},
    ),
    "a function of all regularizers": (
        lambda c: c.edit("regularizers.py", "if tensor.dim() >= 2]", "if tensor.dim() >= 1]"),
        {"l1", "max_norm", "flip_crop_l1"},
    ),
    "the second of two augmentations": (
        lambda c: c.edit("data/augmentation.py", "2 * self.padding + 1", "2 * self.padding"),
        {"flip_crop_l1"},
    ),
    "the first of two augmentations": (
        lambda c: c.edit("data/augmentation.py", "< 0.5}", "< 0.4}"),
        {"flip", "flip_crop_l1"},
    ),
    "an import that one component uses": (add_import_to_one_component, {"step"}),
    "another function of the same name, imported from elsewhere": (
        lambda c: c.edit("optimizers.py", "from torch.optim.sgd import sgd", "from torch.optim.asgd import sgd"),
        {"sgd"},
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_an_edit_changes_the_runs_that_execute_it_and_no_other(
    checkout: Checkout, before: dict[str, str], what: str
) -> None:
    change, expected = CHANGES[what]
    change(checkout)
    assert stale(before, checkout.codes()) == expected


# References of every form are followed: the edit is in what they refer to.


def derive_from_components_that_no_run_names(checkout: Checkout) -> None:
    old = "class Adam(_AdamFamily)"
    first = 'class First(_AdamFamily):\n    name: Literal["first"]\n\n    DECAY: ClassVar[float] = 1.0\n'
    second = 'class Second(First):\n    name: Literal["second"]  # type: ignore[assignment]\n'
    checkout.edit("optimizers.py", "import Literal", "import ClassVar, Literal")
    checkout.edit("optimizers.py", old, f"{first}\n\n{second}\n\nclass Adam(Second)")


def use_layers(import_statement: str, reference: str) -> Callable[[Checkout], None]:
    """Make `tf_cnn` use a new function of `layers` by this import and reference."""

    def change(checkout: Checkout) -> None:
        checkout.append("models/layers.py", "\n\ndef extra(x: Tensor) -> Tensor:\n    return x * 1.0\n")
        checkout.edit("models/tf_cnn.py", "from trainlab.models.base", f"{import_statement}\nfrom trainlab.models.base")
        checkout.edit("models/tf_cnn.py", "self.conv1(images)", f"{reference}(self.conv1(images))")

    return change


def use_in_training(import_statement: str, reference: str) -> Callable[[Checkout], None]:
    """Make the training loop use something by this import and reference."""

    def change(checkout: Checkout) -> None:
        checkout.edit("training/loop.py", "import math\n", f"import math\n{import_statement}\n")
        start = "    device = images.train.labels.device\n"
        checkout.edit("training/loop.py", start, f"    print({reference})\n{start}")

    return change


def pass_on_a_function(checkout: Checkout) -> None:
    checkout.append("training/history.py", "\nfrom trainlab.models.layers import relu_dropout_pool as passed_on\n")
    use_in_training("from trainlab.training.history import passed_on", "passed_on")(checkout)


REFERENCES: dict[str, tuple[Callable[[Checkout], None], tuple[str, str, str], set[str]]] = {
    "a chain of base classes": (
        derive_from_components_that_no_run_names,
        ("optimizers.py", "DECAY: ClassVar[float] = 1.0", "DECAY: ClassVar[float] = 2.0"),
        ALL - {"sgd"},
    ),
    **{
        f"{import_statement}, {reference}": (
            use_layers(import_statement, reference),
            ("models/layers.py", "return x * 1.0", "return x * 2.0"),
            ALL - {"convnet"},
        )
        for import_statement, reference in (
            ("from .layers import extra", "extra"),
            ("from . import layers as near", "near.extra"),
            ("from ..models.layers import extra as more", "more"),
            ("from trainlab.models import layers", "layers.extra"),
            ("import trainlab.models.layers", "trainlab.models.layers.extra"),
            ("import trainlab.models.layers as far", "far.extra"),
            ("from trainlab import models", "models.layers.extra"),
        )
    },
    "a class reached as an attribute of its module": (
        use_in_training("from trainlab import schedules", "schedules.Milestones"),
        ("schedules.py", "bisect_right(self.after", "bisect_right(self.factors"),
        ALL,
    ),
    "an import inside a function": (
        lambda c: c.edit(
            "schedules.py",
            "        return 1.0\n",
            "        from .activations import activation\n\n        return 1.0 if activation else 0.0\n",
        ),
        ("activations.py", "def activation(name", "def activation(it"),
        ALL - {"step"},
    ),
    "a name that another module only passes on": (
        pass_on_a_function,
        ("models/layers.py", "def relu_dropout_pool(", "@torch.no_grad()\ndef relu_dropout_pool("),
        ALL,
    ),
    "a module that is passed around as a value": (
        use_in_training("from trainlab.training import devices", "devices"),
        ("training/devices.py", "def slow_arithmetic(", "@contextmanager\ndef slow_arithmetic("),
        ALL,
    ),
}


@pytest.mark.parametrize("form", REFERENCES)
def test_a_reference_is_followed(checkout: Checkout, form: str) -> None:
    prepare, edit, expected = REFERENCES[form]
    prepare(checkout)
    with_reference = checkout.codes()
    checkout.edit(*edit)
    assert stale(with_reference, checkout.codes()) == expected


def test_swapping_two_functions_of_one_name_changes_the_fingerprint(checkout: Checkout) -> None:
    bodies = {"schedules.py": "return 2 * x", "optimizers.py": "return x + 1"}
    for name, body in bodies.items():
        checkout.append(name, f"\n\ndef helper(x: float) -> float:\n    {body}\n")
    checkout.edit("schedules.py", "return 1.0", "return helper(1.0)")
    checkout.edit("optimizers.py", "lr=lr", "lr=helper(lr)")  # of sgd
    checkout.edit("optimizers.py", "eps=self.eps", "eps=helper(self.eps)")  # of adam
    with_helpers = checkout.codes()
    for name, body in zip(bodies, reversed(bodies.values()), strict=True):
        checkout.edit(name, bodies[name], body)
    assert stale(with_helpers, checkout.codes()) == ALL


def test_a_default_that_does_not_mean_absent_changes_the_fingerprint(checkout: Checkout) -> None:
    unchanged = checkout.codes()
    for default, expected in ((0, set()), (1000, ALL)):
        changed = create_model("RunConfig", __base__=RunConfig, subset=(int, Field(default=default)))
        assert stale(unchanged, checkout.codes(changed)) == expected


# Edits that change no result.


def comment_and_document(checkout: Checkout) -> None:
    checkout.edit("training/loop.py", "        loss.backward()", "        # A comment.\n\n        loss.backward()")
    checkout.edit("models/tf_cnn.py", '"""Three 3', '"""Another docstring; three 3')
    checkout.edit("models/tf_cnn.py", '"""The small', '"""Another docstring; the small')
    checkout.edit(
        "data/batches.py", '"""Return the images and labels at the given positions.', '"""Return other words.'
    )
    checkout.edit("stages/train.py", '"""Stage', '"""The stage')


def change_type_hints(checkout: Checkout) -> None:
    checkout.edit("schedules.py", "done: float, epochs: int) -> float", "done: int, epochs: float) -> int")
    checkout.edit("training/loop.py", "self._extra: Draws = {}", "self._extra = {}")
    unused = "from typing import TYPE_CHECKING, NamedTuple\n\nif TYPE_CHECKING:\n    from fractions import Fraction\n"
    checkout.edit("training/loop.py", "from typing import Literal, NamedTuple\n", unused)


def edit_what_no_run_uses(checkout: Checkout) -> None:
    checkout.edit("regularizers.py", "alpha=self.l1", "alpha=2")
    checkout.edit("data/augmentation.py", "self.size // 2", "1")
    checkout.edit("schedules.py", "import math", "import math\nimport sys")
    checkout.edit("config/schema.py", "le=1000)", "le=1001)")
    checkout.append("optimizers.py", "\n\nUNUSED = 1\n")
    checkout.append("stages/evaluate.py", "\nprint()\n")


def add_components(checkout: Checkout) -> None:
    for kind, name in (("objectives", "softmax_cross_entropy"), ("models", "tf_cnn")):
        text = checkout.path(f"{kind}/{name}.py").read_text()
        checkout.path(f"{kind}/another.py").write_text(text.replace(f'"{name}"', '"another"'))
    checkout.edit(
        "optimizers.py",
        "Optimizer = one_of(",
        'class New(Sgd):\n    name: Literal["new"]\n\n\nOptimizer = one_of(New, ',
    )


def move_a_function_to_another_module(checkout: Checkout) -> None:
    loop = checkout.path("training/loop.py").read_text()
    start, end = loop.index("def _generator("), loop.index("def _words(")
    imports = "import torch\nfrom torch import Generator\n\nfrom trainlab.training.loop import _words\n\n\n"
    checkout.path("training/streams.py").write_text(imports + loop[start:end])
    checkout.path("training/loop.py").write_text(loop[:start] + loop[end:])
    old = "from trainlab.training import devices\n"
    checkout.edit("training/loop.py", old, f"{old}from trainlab.training.streams import _generator\n")


def rename_a_module(checkout: Checkout) -> None:
    checkout.path("data/batches.py").rename(checkout.path("data/in_memory.py"))
    checkout.path("schedules.py").rename(checkout.path("rates.py"))
    checkout.replace_everywhere("trainlab.data.batches", "trainlab.data.in_memory")
    checkout.replace_everywhere("trainlab.schedules", "trainlab.rates")
    checkout.moved |= {"Constant": "trainlab.rates", "Step": "trainlab.rates"}


def rename_a_module_that_is_imported_as_a_whole(checkout: Checkout) -> None:
    checkout.path("training/devices.py").rename(checkout.path("training/machines.py"))
    checkout.replace_everywhere("from trainlab.training import devices", "from trainlab.training import machines")
    checkout.replace_everywhere("devices.", "machines.")


def import_otherwise(checkout: Checkout) -> None:
    text = checkout.path("models/tf_cnn.py").read_text().replace("F.", "G.")
    checkout.path("models/tf_cnn.py").write_text(text)
    checkout.edit("models/tf_cnn.py", "import torch.nn.functional as F", "from torch.nn import functional as G")


def split_a_module(checkout: Checkout) -> None:
    """Give `Step` and its base class files of their own in a package that was a module."""
    text = checkout.path("schedules.py").read_text()
    base, step, cosine = (text.index(f"\nclass {name}(") for name in ("_Schedule", "Step", "Cosine"))
    constant = text.index("\nclass Constant(")
    header, package = text[:base], checkout.path("schedules")
    header = header.replace('"""How', '"""Split: how', 1)
    package.mkdir()
    near = "from .base import _Schedule\n"
    (package / "base.py").write_text(header + text[base:constant])
    (package / "step.py").write_text(header + near + text[step:cosine])
    (package / "__init__.py").write_text(
        header + near + "from trainlab.schedules.step import Step\n" + text[constant:step] + text[cosine:]
    )
    checkout.path("schedules.py").unlink()
    checkout.moved["Step"] = "trainlab.schedules.step"


def reorder(checkout: Checkout) -> None:
    """Move the first function of a file to its end."""
    text = checkout.path("models/layers.py").read_text()
    start = text.index("\ndef relu_dropout_pool(")
    end = text.find("\n\n\n", start)
    assert start < end
    checkout.path("models/layers.py").write_text(text[:start] + text[end:] + text[start:end] + "\n")


REFACTORINGS: dict[str, Callable[[Checkout], None]] = {
    "comments, docstrings and layout": comment_and_document,
    "type hints": change_type_hints,
    "the message of an error": lambda c: c.edit("training/loop.py", "so training stopped", "and training ends"),
    "what no run uses": edit_what_no_run_uses,
    "a new objective, model and optimizer": add_components,
    "the progress bar": lambda c: c.edit("training/progress.py", "REFRESH = 0.25", "REFRESH = 0.5"),
    "pictures": lambda c: c.append("evaluation/plots.py", "\nprint()\n"),
    "a function in another module": move_a_function_to_another_module,
    "a renamed module": rename_a_module,
    "a renamed module that is imported as a whole": rename_a_module_that_is_imported_as_a_whole,
    "a name imported otherwise": import_otherwise,
    "a module in parts": split_a_module,
    "the order of definitions": reorder,
    "an absolute import made relative": lambda c: c.edit(
        "models/tf_cnn.py", "from trainlab.models.layers import", "from .layers import"
    ),
}


@pytest.mark.parametrize("what", REFACTORINGS)
def test_what_changes_no_result_changes_no_fingerprint(checkout: Checkout, before: dict[str, str], what: str) -> None:
    REFACTORINGS[what](checkout)
    assert stale(before, checkout.codes()) == set()


def test_a_new_version_changes_no_fingerprint(checkout: Checkout) -> None:
    use_in_training("import trainlab", "trainlab.__version__")(checkout)
    with_version = checkout.codes()
    checkout.edit("__init__.py", "__version__ = ", "__version__ = '9' + ")
    assert stale(with_version, checkout.codes()) == set()


# Other interpreters.

# It needs no package: fingerprint.py imports pydantic only for a type.
SCRIPT = """
import sys, types
from pathlib import Path
sys.modules["pydantic"] = types.SimpleNamespace(BaseModel=object)
sys.path.insert(0, sys.argv[1])
from trainlab import fingerprint
classes = (name.rpartition(".") for name in sys.argv[3:])
components = [type(name, (), {"__module__": module})() for module, _, name in classes]
print(fingerprint.of_run(components, [Path(sys.argv[2])]))
"""


def classes_below(cls: type[Component]) -> list[type[Component]]:
    below = [found for subclass in cls.__subclasses__() for found in classes_below(subclass)]
    return [cls, *below]


def interpreter(version: str) -> str | None:
    """Return a Python of this version, if there is one: on the path, or one of pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()
    for found in (shutil.which(f"python{version}"), *pyenv.glob(f"versions/{version}.*/bin/python{version}")):
        # Where pyenv has not selected a version, its command for that version fails.
        if found and subprocess.run([found, "-c", ""], capture_output=True, timeout=60).returncode == 0:
            return str(found)
    return None


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_fingerprints_are_the_same_in_every_python(version: str) -> None:
    python = interpreter(version)
    if python is None:
        pytest.skip(f"there is no Python {version} here")
    components = [cls for cls in classes_below(Component) if cls.__module__.startswith("trainlab.")]
    script = PROJECT / "stages/train.py"
    names = [f"{cls.__module__}.{cls.__name__}" for cls in components]
    command = [python, "-I", "-B", "-c", SCRIPT, str(PROJECT / "src"), str(script), *names]
    printed = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.strip()
    assert printed == fingerprint.of_run([placed(cls.__name__, cls.__module__) for cls in components], [script])
