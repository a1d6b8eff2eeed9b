"""The block `data` of params.yaml."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from trainlab import config
from trainlab.data import sources
from trainlab.data.sources import DataConfig
from trainlab.data.sources.cifar10 import Cifar10
from trainlab.data.sources.digits import Digits
from trainlab.data.sources.folder import Folder
from trainlab.errors import UserError

GOOD: dict[str, object] = {"source": "digits", "path": "data/folder", "image_size": 32}
SRC = Path(__file__).parents[3] / "src"


def load(tmp_path: Path, text: str) -> DataConfig:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    return config.load_data(path)


def test_each_source_can_be_selected(tmp_path: Path) -> None:
    made = [
        type(sources.get(load(tmp_path, f"data: {{source: {name}, path: a/b, image_size: 48}}")))
        for name in sources.SOURCES
    ]
    assert made == [Cifar10, Digits, Folder]
    folder = sources.get(load(tmp_path, "data: {source: folder, path: a/b, image_size: 48}"))
    assert folder == Folder(Path("a/b"), 48)


def test_one_line_in_the_table_adds_a_source(tmp_path: Path) -> None:
    shutil.copytree(SRC, tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    table = tmp_path / "src/trainlab/data/sources/__init__.py"
    code = table.read_text(encoding="utf-8")
    line = '    "digits": lambda config: Digits(),\n'
    assert line in code
    table.write_text(code.replace(line, line + line.replace('"digits"', '"other"')), encoding="utf-8")
    script = (
        "from trainlab.data import sources\n"
        "config = sources.DataConfig(source='other', path='a/b', image_size=32)\n"
        "print(type(sources.get(config)).__name__)\n"
    )
    command = [sys.executable, "-c", script]
    result = subprocess.run(command, cwd=tmp_path / "src", capture_output=True, text=True, timeout=60)
    assert (result.stdout, result.stderr) == ("Digits\n", "")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("source", "mnist", "data.source is 'mnist'; one of: cifar10, digits, folder"),
        ("source", None, "data.source is None; one of: cifar10"),
        ("path", "", "data.path is '': it should have at least 1 character"),
        ("path", 3, "data.path is 3: it should be a valid string"),
        ("image_size", 7, "data.image_size is 7: it should be greater than or equal to 8"),
        ("image_size", 513, "data.image_size is 513: it should be less than or equal to 512"),
        ("image_size", "32", "data.image_size is '32': it should be a valid integer"),
        ("image_size", True, "data.image_size is True: it should be a valid integer"),
        ("image_size", 32.0, "data.image_size is 32.0: it should be a valid integer"),
        ("sauce", "x", "data.sauce is not a parameter (did you mean source?); known here: source, path, image_size"),
    ],
)
def test_a_wrong_value_is_reported_with_the_allowed_values(
    tmp_path: Path, key: str, value: object, message: str
) -> None:
    with pytest.raises(UserError) as caught:
        load(tmp_path, f"data: {GOOD | {key: value}!r}".replace("True", "true").replace("None", "null"))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_key_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.path is missing: give it a value.*\n.*data\.image_size is missing"):
        load(tmp_path, "data: {source: digits}")


@pytest.mark.parametrize("text", ["seed: 0", "data: digits", "data:\n"])
def test_a_missing_block_is_reported(tmp_path: Path, text: str) -> None:
    with pytest.raises(UserError, match=r"params\.yaml has no block `data`"):
        load(tmp_path, text)


def test_a_file_that_is_not_yaml_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^[^\n]*params\.yaml: line 3: [^\n]*correct the YAML there$"):
        load(tmp_path, "data:\n  a: [\n")
    with pytest.raises(UserError, match=r"other\.yaml is missing: run the stage in the root"):
        config.load_data(tmp_path / "other.yaml")
