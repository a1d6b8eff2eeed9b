import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from small import PARAMS, run_config
from trainlab import config
from trainlab.errors import UserError

ROOT = Path(__file__).parents[1]


def changed(path: str, value: Any) -> dict[str, Any]:
    params = copy.deepcopy(PARAMS)
    block = params
    *keys, last = path.split(".")
    for key in keys:
        if isinstance(block[key], str):
            block[key] = {"name": block[key]}
        block = block[key]
    block[last] = value
    return params


def mistakes(params: dict[str, Any]) -> list[str]:
    with pytest.raises(UserError) as caught:
        config.resolve(params)
    return str(caught.value).splitlines()


class TestTheProjectsOwnParams:
    runs = config.resolve(config.load_params(ROOT / "params.yaml"))

    def test_the_eight_tricks_are_what_they_are_called(self) -> None:
        tricks = {name: run for name, run in self.runs.items() if run.suite == "tricks"}
        assert list(tricks) == [
            "baseline",
            "norm_inputs",
            "lr_schedule",
            "weight_decay",
            "init_weights",
            "dropout_dense",
            "dropout_conv",
            "dropout_both",
        ]
        for name, run in tricks.items():
            assert (run.epochs, run.batch_size, run.model.name, run.optimizer.name) == (10, 64, "tf_cnn", "adam")
            assert run.inputs == ("raw" if name == "baseline" else "standardized")
            if name in ("baseline", "norm_inputs"):
                assert (run.lr, run.schedule.name) == (1e-3, "constant")
            else:
                assert (run.lr, run.schedule.name, run.schedule.gamma) == (2e-3, "exponential", 0.8)
            assert run.optimizer.weight_decay == (1e-3 if name == "weight_decay" else 0)
            initializer = run.model.initializer.name if run.model.initializer else None
            assert initializer == ("kaiming_uniform" if name.startswith(("init", "dropout")) else None)
            assert run.model.dropout_dense == (0.2 if name in ("dropout_dense", "dropout_both") else 0)
            assert run.model.dropout_conv == (0.2 if name in ("dropout_conv", "dropout_both") else 0)

    def test_only_two_runs_inherit_the_rate(self) -> None:
        params = config.load_params(ROOT / "params.yaml")
        faster = config.resolve({**params, "lr": 2e-3})
        changed = [name for name in self.runs if faster[name] != self.runs[name] and self.runs[name].suite == "tricks"]
        assert changed == ["baseline", "norm_inputs"]


def test_a_run_wins_over_its_suite_which_wins_over_the_top_level() -> None:
    params = copy.deepcopy(PARAMS)
    params |= {"epochs": 1, "suites": {"tricks": {"epochs": 2, "batch_size": 16, "model": "tf_cnn", "lr": 0.5}}}
    params["runs"] = {"one": {"suite": "tricks"}, "two": {"suite": "tricks", "epochs": 3, "lr": "1e-1"}}
    runs = config.resolve(params)
    assert (runs["one"].epochs, runs["one"].lr) == (2, 0.5)
    assert (runs["two"].epochs, runs["two"].lr) == (3, 0.1)


@pytest.mark.parametrize("written", ["2e-3", "2E-3", "+2.0e-3", ".2e-2", "0.002", "2.0e-3"])
def test_scientific_notation_by_hand(tmp_path: Path, written: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(PARAMS).replace("lr: 0.001", f"lr: {written}"))
    assert config.resolve(config.load_params(path))["small"].lr == 0.002


def test_the_configuration_survives_its_file_and_leaves_out_what_is_absent(tmp_path: Path) -> None:
    run = run_config(model={"dropout_conv": 0.2, "initializer": "kaiming_uniform"})
    path = tmp_path / "small.yaml"
    path.write_text(run.to_yaml())
    assert config.load(path) == run
    assert "dropout_dense" not in path.read_text()
    assert "weight_decay" not in path.read_text()


def test_saving_writes_runs_in_order_and_removes_what_was_there(tmp_path: Path) -> None:
    params = {**PARAMS, "runs": {name: {"suite": "tricks"} for name in ("zebra", "ant")}}
    config.save_all(config.resolve(params), tmp_path / "configs")
    assert yaml.safe_load((tmp_path / "configs/tricks/_runs.yaml").read_text()) == ["zebra", "ant"]
    config.save_all(config.resolve(PARAMS), tmp_path / "configs")
    assert sorted(path.name for path in (tmp_path / "configs/tricks").iterdir()) == ["_runs.yaml", "small.yaml"]
    assert config.find(tmp_path / "configs", "small") == tmp_path / "configs/tricks/small.yaml"
    with pytest.raises(UserError, match=r"no run 'smal'.*did you mean small.*dvc repro resolve"):
        config.find(tmp_path / "configs", "smal")


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("epocs", 3, ["epocs is not a parameter", "did you mean epochs?"]),
        ("runs.small.modle", {}, ["runs.small.modle", "did you mean model?"]),
        ("suites.tricks.model.dropot_conv", 0.2, ["suites.tricks.model.dropot_conv", "did you mean dropout_conv?"]),
        ("lr", "fast", ["lr is 'fast'", "number"]),
        ("lr", True, ["lr is True", "number"]),
        ("lr", float("inf"), ["lr is inf", "finite"]),
        ("lr", float("nan"), ["lr is nan", "finite"]),
        ("lr", 0, ["lr is 0", "greater than 0"]),
        ("suites.tricks.epochs", 0, ["suites.tricks.epochs is 0", "greater than or equal to 1"]),
        ("runs.small.epochs", 2.5, ["runs.small.epochs is 2.5", "integer"]),
        ("threads", True, ["threads is True", "integer"]),
        ("seed", -1, ["seed is -1", "greater than or equal to 0"]),
        ("precision", "float16", ["precision is 'float16'", "one of: float32, bfloat16"]),
        ("suites.tricks.model.name", "tf_cn", ["suites.tricks.model.name is 'tf_cn'", "did you mean tf_cnn?"]),
        (
            "schedule",
            "exp",
            ["schedule.name is 'exp'", "did you mean exponential?", "constant, exponential, step, cosine"],
        ),
        ("schedule", "exponential", ["schedule.gamma is missing"]),
        ("runs.small.schedule", {"gamma": 0.5}, ["runs.small.schedule.gamma is not a parameter"]),
        ("optimizer.beta1", 1.5, ["optimizer.beta1 is 1.5", "less than 1"]),
        ("optimizer", {"name": "sgd", "beta1": 0.9}, ["optimizer.beta1 is not a parameter", "momentum"]),
        ("objective", "softmax", ["objective.name is 'softmax'", "softmax_cross_entropy"]),
        (
            "suites.tricks.model.initializer",
            "kaiming",
            ["model.initializer.name is 'kaiming'", "did you mean kaiming_uniform?"],
        ),
        ("data.source", "cifar", ["data.source is 'cifar'", "did you mean cifar10?", "cifar10, digits, folder"]),
        ("data.image_size", 4, ["data.image_size is 4", "8"]),
        ("data.sorce", "digits", ["data.sorce is not a parameter", "did you mean source?"]),
        ("runs.small.suite", "trick", ["runs.small.suite is 'trick'", "did you mean tricks?"]),
        ("runs.small", {}, ["runs.small.suite is missing", "one of: tricks"]),
        ("runs.small", None, ["runs.small is None", "a block of keys"]),
        ("runs", {}, ["runs must name at least one"]),
        ("suites", {}, ["suites must name at least one"]),
        ("suites.empty", {}, ["suites.empty has no run"]),
        ("runs.Bad-Name", {"suite": "tricks"}, ["runs.Bad-Name is not a name", "small letters"]),
        ("runs.checks", {"suite": "tricks"}, ["runs.checks is not a name", "taken"]),
        ("runs.small.code", "0", ["runs.small.code cannot be set"]),
        ("run", "small", ["run cannot be set"]),
    ],
)
def test_a_mistake_is_one_line_with_path_value_and_what_would_be_right(path: str, value: Any, says: list[str]) -> None:
    lines = mistakes(changed(path, value))
    told = [line for line in lines if all(words in line for words in says)]
    assert told, lines
    assert all(line.startswith("params.yaml: ") for line in lines)
    assert len(lines) <= 2  # a mistake at the top level is told once, not once a run


def test_a_mistake_at_the_top_level_is_told_once_for_many_runs() -> None:
    params = changed("lr", "fast")
    params["runs"] = {name: {"suite": "tricks"} for name in ("one", "two", "three")}
    assert mistakes(params) == ["params.yaml: lr is 'fast': it should be a valid number"]


def test_missing_data_block() -> None:
    params = {key: value for key, value in PARAMS.items() if key != "data"}
    assert mistakes(params)[0].startswith("params.yaml: data is missing")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("lr: 1\nlr: 2\n", "line 2: the key 'lr' stands twice"),
        ("runs:\n  a: {}\n  a: {}\n", "line 3: the key 'a' stands twice"),
        ("runs: {a\n", "correct the YAML there"),
        ("- a list\n", "must hold keys and values"),
        ("", "must hold keys and values"),
        ("lr: !!python/object/apply:os.getcwd []\n", "could not determine a constructor"),
    ],
)
def test_a_file_that_is_no_params_yaml(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=r"params.yaml") as caught:
        config.load_params(path)
    assert says in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"params.yaml is missing: run this in the root"):
        config.load_params(tmp_path / "params.yaml")
    with pytest.raises(UserError, match="dvc repro resolve"):
        config.load(tmp_path / "baseline.yaml")


def test_a_configuration_of_another_version_says_so(tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(run_config().to_yaml() + "unheard_of: 1\n")
    with pytest.raises(UserError, match=r"small.yaml: unheard_of is not a parameter.*dvc repro"):
        config.load(path)
