"""``dvc exp run -S`` rewrites params.yaml: only the line of the changed value may change."""

import difflib
import shutil
from pathlib import Path

import pytest
from dvc.utils.serialize import modify_yaml

from pipeline.scratch import PROJECT


@pytest.mark.parametrize("name", ["params.yaml", "studies/params.yaml", "search/params.yaml"])
def test_a_changed_value_changes_one_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / "params.yaml"
    shutil.copy2(PROJECT / name, path)
    before = path.read_text().splitlines()
    with modify_yaml(path) as params:  # what `-S seed=7` does
        params["seed"] = 7
    after = path.read_text().splitlines()
    changed = [line for line in difflib.ndiff(before, after) if line.startswith(("+", "-"))]
    assert [line.partition(":")[0] for line in changed] == ["- seed", "+ seed"]
