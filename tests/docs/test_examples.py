"""Python and YAML examples of the pages work as they are, and docs/params.md names every parameter."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from pydantic import BaseModel
from ruamel.yaml import YAML

from pages import PAGES, PROJECT, Block, blocks, read
from small import data, run_config
from trainlab import activations
from trainlab.component import Component
from trainlab.config import CheckConfig, RunConfig, reading
from trainlab.data.sources import DataConfig
from trainlab.prediction import export
from trainlab.training.replicas import train

pytestmark = pytest.mark.slow

BLOCKS = [block for page in PAGES for block in blocks(page)]
RUN = [block for block in BLOCKS if block.info[:2] == ("python", "run")]
FILES = [block for block in BLOCKS if block.info[:1] == ("python",) and block.info[1].startswith("file=")]
PARAMETERS = [block for block in BLOCKS if block.info == ("yaml",)]

# Validates every YAML example of the pages, in a copy of the source with the files that they show, and trains the new classes.
WITH_FILES = """
import json, sys
sys.path[:0] = sys.argv[1:3]
import torch
from pathlib import Path
from small import PARAMS, data, run_config
from trainlab import config
from trainlab.config.inheritance import merge
from trainlab.config.validation import mistakes
from trainlab.training.replicas import train

params = config.load_params(Path(sys.argv[3]))
for example in json.loads(sys.argv[4]):
    assert not (found := list(mistakes(merge(params, example), data=True))), found

objective = run_config(objective={"name": "label_smoothing", "smoothing": 0.1})
outputs, labels = torch.randn(6, 4), torch.arange(6) % 4
loss, _ = objective.objective.loss(outputs, labels, {})
target = 0.9 * torch.eye(4)[labels] + 0.1 / 4
torch.testing.assert_close(loss, -(target * outputs.log_softmax(1)).sum(1).mean())
train(objective, data())
train(run_config(model="linear"), data())
"""


def test_every_python_block_is_executed() -> None:
    assert {block for block in BLOCKS if block.info[:1] == ("python",)} == {*RUN, *FILES}
    assert RUN
    assert FILES


def test_examples_of_new_code_and_parameters(tmp_path: Path) -> None:
    shutil.copytree(PROJECT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    for block in FILES:
        path = tmp_path / block.info[1].removeprefix("file=")
        assert path.parent.is_dir()
        assert not path.exists()
        path.write_text(block.text, encoding="utf-8")
    examples = [YAML(typ="safe", pure=True).load(block.text) for block in PARAMETERS]
    assert len(examples) > 5
    done = subprocess.run(
        [
            *(sys.executable, "-B", "-c", WITH_FILES, str(PROJECT / "tests"), str(tmp_path / "src")),
            *(str(PROJECT / "params.yaml"), json.dumps(examples)),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("block", FILES, ids=lambda block: block.info[1])
def test_example_files_pass_the_linter(block: Block) -> None:
    name = block.info[1].removeprefix("file=")
    for command in (("check", "--quiet"), ("format", "--check", "--quiet")):
        done = subprocess.run(
            ["ruff", *command, "--stdin-filename", name, "-"],
            cwd=PROJECT,
            input=block.text,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("block", RUN, ids=lambda block: block.page)
def test_python_examples_run(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They find a model or an exported file, and the pages' pictures, in the working directory."""
    model = train(run_config(replicas=2), data())
    for run in re.findall(r"models/(\w+)\.safetensors", block.text):
        model.save(tmp_path / "models" / f"{run}.safetensors")
    for run in re.findall(r"(\w+)\.onnx", block.text):
        export.save_onnx(model, tmp_path / f"{run}.onnx")
    (tmp_path / "docs").symlink_to(PROJECT / "docs")
    monkeypatch.chdir(tmp_path)
    variables: dict[str, Any] = {}
    exec(compile(block.text, block.page, "exec"), variables)
    predicted = variables.get("predicted")
    shares = predicted.probabilities if predicted else variables["probabilities"]
    assert shares.shape[1] == 4
    assert shares.sum(1) == pytest.approx(1)


# docs/params.md

COMPONENTS = {
    "models": "model",
    "initializers": "model.initializer",
    "objectives": "objective",
    "optimizers": "optimizer",
    "schedules": "schedule",
    "regularizers": "regularizers",
    "augmentation": "augmentation",
}


def named_components(base: type[Component] = Component) -> list[type[Component]]:
    """Return every class that params.yaml can name."""
    found = [inner for cls in base.__subclasses__() for inner in [cls, *named_components(cls)]]
    return [cls for cls in found if get_origin(cls.model_fields["name"].annotation) is Literal]


def documented(heading: str) -> dict[str, set[str]]:
    """Return the names in code style of each row of the tables below a heading of docs/params.md, by the row's first cell."""
    section = read("docs/params.md").split(f"\n{heading}", 1)[1].split("\n## ", 1)[0]
    rows = [line.split(" | ", 1) for line in section.splitlines() if line.startswith("| `")]
    return {
        name: set(re.findall(r"`([\w.]+)`", cells)) for first, cells in rows for name in re.findall(r"`(\S+)`", first)
    }


@pytest.mark.parametrize("package", COMPONENTS)
def test_params_page_names_every_component_and_field(package: str) -> None:
    classes = [cls for cls in named_components() if package in cls.__module__.split(".")]
    [names] = ({get_args(cls.model_fields["name"].annotation)[0] for cls in classes},)
    fields = {field for cls in classes for field in cls.model_fields if field != "name"}
    annotations = [info.annotation for cls in classes for info in cls.model_fields.values()]
    blocks = [kind for annotation in annotations for kind in get_args(annotation) if isinstance(kind, type)]
    fields |= {field for kind in blocks if issubclass(kind, BaseModel) for field in kind.model_fields}
    known = {"torch.nn"}
    assert documented("## Components")[COMPONENTS[package]] - known == names | fields


def test_params_page_names_every_activation() -> None:
    assert documented("## Components")["model.activation"] == set(get_args(activations.ActivationName))


def test_params_page_names_every_key() -> None:
    blocks_of_runs = documented("## Top-level keys").keys()
    assert blocks_of_runs == RunConfig.model_fields.keys() - {"run", "suite", "teacher", "code"} | {"margin", "against"}
    others = documented("## Blocks").keys()
    assert others == DataConfig.model_fields.keys() | CheckConfig.model_fields.keys()


@pytest.mark.parametrize("key", ["inputs", "device", "precision"])
def test_params_page_names_every_choice(key: str) -> None:
    choices = set(get_args(RunConfig.model_fields[key].annotation))
    assert choices <= documented("## Top-level keys")[key]


def test_yaml_is_read_as_the_params_page_says(tmp_path: Path) -> None:
    expected: dict[str, Any] = {
        "2e-3": 0.002,
        "on": "on",
        "off": "off",
        "yes": "yes",
        "no": "no",
        "010": 10,
        "1:30": "1:30",
    }

    section = read("docs/params.md").split("## YAML 1.2", 1)[1]
    rows = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
    assert re.findall(r"`(\S+)`", " ".join(rows)) == list(expected)
    for written, value in expected.items():
        (tmp_path / "params.yaml").write_text(f"key: {written}\n")
        read_back = reading.load(tmp_path / "params.yaml", "")["key"]
        assert (read_back, type(read_back)) == (value, type(value))


def test_a_key_that_appears_twice_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("lr: 1\nlr: 2\n")
    with pytest.raises(Exception, match=r"params\.yaml: line 2: .*lr"):
        reading.load(tmp_path / "params.yaml", "")
