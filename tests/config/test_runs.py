"""Resolving params.yaml, and the files with one configuration per run."""

import copy
from pathlib import Path
from typing import Any

import pytest

from small import PARAMS, run_config
from trainlab import config
from trainlab.config.reading import dump
from trainlab.errors import UserError

ROOT = Path(__file__).parents[2]
STUDENT = {
    "suite": "tricks",
    "teacher": "small",
    "objective": {"name": "teacher_student", "alpha": 0.5, "temperature": 1.0},
}


def with_student(**own: Any) -> dict[str, Any]:
    return {**PARAMS, "students": {"pupil": {**STUDENT, **own}}}


class TestProjectParams:
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
            assert (run.replicas, run.precision) == (6, "float32")
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

    def test_the_five_objectives_and_their_hyperparameters(self) -> None:
        objectives = {name: run for name, run in self.runs.items() if run.suite == "objectives"}
        parameters = {name: run.objective.model_dump(exclude_defaults=True) for name, run in objectives.items()}
        assert parameters == {
            "softmax_cross_entropy": {"name": "softmax_cross_entropy"},
            "sampled_softmax": {"name": "sampled_softmax", "n_samples": 5},
            "value_function": {"name": "value_function", "epsilon": 0.2},
            "policy_gradient": {"name": "policy_gradient", "entropy_weight": 0.04, "baseline": True},
            "teacher_student": {"name": "teacher_student", "alpha": 0.5, "temperature": 1.0},
        }
        for name, run in objectives.items():
            assert (run.epochs, run.batch_size, run.model.name, run.inputs) == (15, 128, "shallow", "raw")
            assert (run.optimizer.name, run.optimizer.weight_decay, run.lr) == ("adam", 0, 1e-3)
            assert (run.schedule.name, run.seed, run.subset, run.validation) == ("constant", 0, 0, 0)
            assert (run.augmentation, run.regularizers) == ([], [])
            assert (run.replicas, run.precision) == (6, "bfloat16")
            assert run.teacher == ("softmax_cross_entropy" if name == "teacher_student" else "")

    def test_only_two_runs_inherit_the_rate(self) -> None:
        params = config.load_params(ROOT / "params.yaml")
        faster = config.resolve({**params, "lr": 2e-3})
        changed = [name for name in self.runs if faster[name] != self.runs[name] and self.runs[name].suite == "tricks"]
        assert changed == ["baseline", "norm_inputs"]


def test_a_run_wins_over_its_suite_which_wins_over_the_top_level() -> None:
    params = copy.deepcopy(PARAMS)
    params |= {"epochs": 1, "suites": {"tricks": {"epochs": 2, "batch_size": 16, "model": "tf_cnn", "lr": 0.5}}}
    params["runs"] = {"one": {"suite": "tricks"}, "two": {"suite": "tricks", "epochs": 3, "lr": 0.1}}
    runs = config.resolve(params)
    assert (runs["one"].epochs, runs["one"].lr) == (2, 0.5)
    assert (runs["two"].epochs, runs["two"].lr) == (3, 0.1)


@pytest.mark.parametrize("written", ["2e-3", "2E-3", "+2.0e-3", ".2e-2", "0.002", "2.0e-3"])
def test_scientific_notation(tmp_path: Path, written: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(dump(PARAMS).replace("lr: 0.001", f"lr: {written}"))
    assert config.resolve(config.load_params(path))["small"].lr == 0.002


def test_a_student_inherits_like_a_run_and_comes_after_the_runs() -> None:
    params = with_student(lr=0.5, optimizer={"weight_decay": 0.1})
    params["students"] = {"pupils_pupil": {**STUDENT, "teacher": "pupil"}, **params["students"]}
    runs = config.resolve(params)
    assert list(runs) == ["small", "pupils_pupil", "pupil"]
    pupil = runs["pupil"]
    assert (pupil.suite, pupil.epochs, pupil.lr, pupil.model.name) == ("tricks", 2, 0.5, "tf_cnn")
    assert (pupil.optimizer.beta1, pupil.optimizer.weight_decay) == (0.9, 0.1)
    assert [run.teacher for run in runs.values()] == ["", "pupil", "small"]
    assert runs["small"].code != pupil.code == runs["pupils_pupil"].code


def test_a_list_is_replaced_as_a_whole() -> None:
    suite = {**PARAMS["suites"]["tricks"], "augmentation": [{"name": "crop", "padding": 4}, "flip"]}
    params = {**PARAMS, "suites": {"tricks": suite}}
    assert [change.name for change in config.resolve(params)["small"].augmentation] == ["crop", "flip"]
    params["runs"] = {"small": {"suite": "tricks", "augmentation": []}}
    assert config.resolve(params)["small"].augmentation == []


def test_a_file_of_another_name_without_data() -> None:
    params = {key: value for key, value in PARAMS.items() if key != "data"}
    runs = config.resolve(params, where="studies/params.yaml", data=False)
    assert runs == config.resolve(PARAMS)
    with pytest.raises(UserError) as caught:
        config.resolve({**params, "lr": 0}, where="studies/params.yaml", data=False)
    assert str(caught.value) == "studies/params.yaml: lr is 0: it should be greater than 0"
    # A block that is not required is validated all the same.
    with pytest.raises(UserError, match=r"^studies/params.yaml: data.source is 'digit'"):
        config.resolve(
            {**params, "data": {**PARAMS["data"], "source": "digit"}}, where="studies/params.yaml", data=False
        )


def test_checks_are_inherited_and_are_no_part_of_the_run() -> None:
    params = copy.deepcopy(PARAMS)
    params["runs"]["strict"] = {"suite": "tricks", "checks": {"overfit_epochs": 7, "because": "it is slow"}}
    checks = config.resolve_checks(params)
    assert (checks["small"].overfit_epochs, checks["small"].because) == (60, "")
    assert (checks["strict"].overfit_epochs, checks["strict"].overfit_lr, checks["strict"].because) == (
        *(7, 3e-3),
        "it is slow",
    )
    runs = config.resolve(params)
    assert {**runs["strict"].to_dict(), "run": "small"} == runs["small"].to_dict()


# Comparisons


OPEN = "not said"


def compared(suite: dict[str, Any] | None = None, **against: str | None) -> dict[str, str | None]:
    """Return what each run is compared with, if its block says so or leaves it open, and the suite's has these keys."""
    params = copy.deepcopy(PARAMS)
    params["suites"]["tricks"] |= suite or {}
    params["runs"] = {
        run: {"suite": "tricks", **({} if other is OPEN else {"against": other})} for run, other in against.items()
    }
    before = {run: values.to_dict() for run, values in config.resolve(params).items()}
    assert not any({"against", "margin"} & values.keys() for values in before.values())  # they retrain nothing
    return config.resolve_suites(params)["tricks"].runs


def test_a_run_is_compared_with_the_run_that_it_names_or_with_the_first_of_its_suite() -> None:
    assert compared(a=OPEN, b=OPEN, c=OPEN) == {"a": None, "b": "a", "c": "a"}
    assert compared(a=OPEN, b=OPEN, c="b") == {"a": None, "b": "a", "c": "b"}
    assert compared(a="c", b=OPEN, c=OPEN) == {"a": "c", "b": "a", "c": "a"}
    assert compared({"against": "b"}, a=OPEN, b=OPEN, c="a") == {"a": "b", "b": None, "c": "a"}


def test_a_run_is_compared_with_no_other_run_if_it_or_its_suite_says_null() -> None:
    assert compared(a=OPEN, b=None, c=OPEN) == {"a": None, "b": None, "c": "a"}
    assert compared({"against": None}, a=OPEN, b=OPEN, c="b") == {"a": None, "b": None, "c": "b"}


def test_the_margin_of_a_suite() -> None:
    params = copy.deepcopy(PARAMS)
    params["suites"]["large"] = {**params["suites"]["tricks"], "margin": 0.005}
    params["runs"]["other"] = {"suite": "large"}
    assert {name: suite.margin for name, suite in config.resolve_suites(params).items()} == {
        "tricks": 0.01,
        "large": 0.005,
    }


# Files


def test_saving_writes_runs_in_order_and_removes_what_was_there(tmp_path: Path) -> None:
    params = {**PARAMS, "runs": {name: {"suite": "tricks"} for name in ("zebra", "ant")}}
    config.save_all(config.resolve(params), tmp_path / "configs", config.resolve_suites(params))
    assert (tmp_path / "configs/tricks/_suite.yaml").read_text() == "margin: 0.01\nruns:\n  zebra: null\n  ant: zebra\n"
    everything = (config.resolve(PARAMS), tmp_path / "configs", config.resolve_suites(PARAMS))
    config.save_all(*everything, config.resolve_checks(PARAMS))
    written = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.yaml"))
    assert written == ["configs/checks/small.yaml", "configs/tricks/_suite.yaml", "configs/tricks/small.yaml"]
    assert config.find(tmp_path / "configs", "small") == tmp_path / "configs/tricks/small.yaml"
    assert config.load_checks(tmp_path / "configs/checks/small.yaml") == config.resolve_checks(PARAMS)["small"]
    with pytest.raises(UserError, match=r"no run 'smal'.*did you mean small.*dvc repro resolve"):
        config.find(tmp_path / "configs", "smal")


def test_students_are_in_their_suite_after_the_runs(tmp_path: Path) -> None:
    params = with_student()
    config.save_all(config.resolve(params), tmp_path / "configs", config.resolve_suites(params))
    assert list(config.resolve_suites(params)["tricks"].runs) == ["small", "pupil"]
    assert config.load(config.find(tmp_path / "configs", "pupil")).teacher == "small"


def test_a_missing_file_names_the_next_step(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"params.yaml is missing: run this in the root"):
        config.load_params(tmp_path / "params.yaml")
    with pytest.raises(UserError, match="dvc repro resolve"):
        config.load(tmp_path / "baseline.yaml")
    with pytest.raises(UserError, match="dvc repro resolve"):
        config.load_checks(tmp_path / "baseline.yaml")


def test_a_file_of_another_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(run_config().to_yaml() + "unheard_of: 1\n")
    with pytest.raises(UserError, match=r"small.yaml: unheard_of is not a parameter.*dvc repro"):
        config.load(path)
    path.write_text(run_config().to_yaml() + "teacher: another\n")
    with pytest.raises(UserError, match=r"small.yaml: objective softmax_cross_entropy does not use a.*dvc repro"):
        config.load(path)
    path.write_text("overfit_lr: 0.1\n")
    with pytest.raises(UserError, match=r"small.yaml: initial_loss_tolerance is missing.*dvc repro"):
        config.load_checks(path)


def test_the_package_names_what_it_has() -> None:
    for name in config.__all__:
        assert getattr(config, name)
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        getattr(config, "lode")  # noqa: B009 (a type checker would refuse the attribute)
