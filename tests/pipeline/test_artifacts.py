"""The artifacts of dvc.yaml: the best model of each suite, which DVC hands out by its name."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.scratch import PROJECT, Scratch

DEFINED: dict[str, Any] = yaml.safe_load((PROJECT / "dvc.yaml").read_text(encoding="utf-8"))
ARTIFACTS: dict[str, dict[str, Any]] = DEFINED["artifacts"]
PARAMS: dict[str, Any] = yaml.safe_load((PROJECT / "params.yaml").read_text(encoding="utf-8"))


def test_each_suite_has_an_artifact() -> None:
    assert ARTIFACTS.keys() == PARAMS["suites"].keys()
    for artifact in ARTIFACTS.values():
        assert artifact.keys() == {"path", "type", "desc", "labels", "meta"}
        assert artifact["type"] == "model"


@pytest.mark.parametrize("suite", ARTIFACTS)
def test_the_artifact_is_the_run_with_the_highest_accuracy(suite: str) -> None:
    metrics = PROJECT / f"metrics/{suite}.json"
    if not metrics.is_file():
        pytest.skip("there are no results yet")
    accuracies: dict[str, float] = json.loads(metrics.read_text())
    best = max(accuracies, key=accuracies.__getitem__)
    artifact = ARTIFACTS[suite]
    assert artifact["path"] == f"models/{best}.safetensors", f"dvc.yaml: the best run of {suite} is {best} now"
    assert (artifact["meta"]["suite"], artifact["meta"]["run"]) == (suite, best)
    assert f"the run {best}," in artifact["desc"]
    model = {**PARAMS["suites"][suite]["model"], **(PARAMS["runs"] | PARAMS["students"])[best].get("model", {})}
    assert artifact["meta"]["model"] == model["name"]


@pytest.mark.slow
def test_dvc_fetches_an_artifact_by_its_name_and_version(tmp_path: Path) -> None:
    published = Scratch(tmp_path / "published")
    published.root.mkdir()
    published.git("init", "--quiet", "--initial-branch", "main")
    published.dvc("init", "--quiet")
    contents = {artifact["path"]: f"the model of {suite}" for suite, artifact in ARTIFACTS.items()}
    stage = {
        "cmd": "mkdir -p models && " + " && ".join(f"printf '{text}' > {path}" for path, text in contents.items()),
        "outs": list(contents),
    }
    content = {"stages": {"train": stage}, "artifacts": ARTIFACTS}
    (published.root / "dvc.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    published.dvc("repro", "--quiet")
    published.commit("models")
    user = Scratch(tmp_path / "user")
    user.root.mkdir()
    for suite, artifact in ARTIFACTS.items():
        published.git("tag", "--annotate", "--message", "the first", f"{suite}@v1.0.0")  # DVC ignores other tags
        user.dvc("artifacts", "get", str(published.root), suite, "--rev", "v1.0.0")
        assert (user.root / artifact["path"]).name in {path.name for path in user.root.iterdir()}
        assert (user.root / Path(artifact["path"]).name).read_text() == f"the model of {suite}"
