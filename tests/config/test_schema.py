import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from small import PARAMS, run_config
from trainlab import config
from trainlab.errors import UserError
from trainlab.models.tf_cnn import TfCnn

ROOT = Path(__file__).parents[2]
TEACHER_STUDENT = {"name": "teacher_student", "alpha": 0.5, "temperature": 1.0}
STUDENT = {"suite": "tricks", "teacher": "small", "objective": TEACHER_STUDENT}
PADDING_0 = {"name": "crop", "padding": 0}


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


def with_run(**own: Any) -> dict[str, Any]:
    return {**PARAMS, "runs": {"small": {"suite": "tricks", **own}}}


def with_suite(**own: Any) -> dict[str, Any]:
    return {**PARAMS, "suites": {"tricks": {**PARAMS["suites"]["tricks"], **own}}}


def with_student(**own: Any) -> dict[str, Any]:
    """Of the run `small`; a key that is None is left out."""
    student = {key: value for key, value in {**STUDENT, **own}.items() if value is not None}
    return {**PARAMS, "students": {"pupil": student}}


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

    def test_the_five_objectives_are_as_issued(self) -> None:
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
            bandit = name in ("value_function", "policy_gradient")
            assert (run.replicas, run.precision) == ((3, "bfloat16") if bandit else (1, "float32"))
            assert run.teacher == ("softmax_cross_entropy" if name == "teacher_student" else "")

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
        ("runs.small.objective", {"alpha": 0.5}, ["runs.small.objective.alpha is not a parameter"]),
        (
            "suites.tricks.model.initializer",
            {"std": 1},
            ["suites.tricks.model.initializer.name is missing; one of: ", "kaiming_uniform"],
        ),
        ("runs.small.suite", ["tricks"], ["runs.small.suite is ['tricks']"]),
        (
            "suites.tricks.model.initializer",
            "kaiming_u",
            ["model.initializer.name is 'kaiming_u'", "did you mean kaiming_uniform?"],
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


def test_students_share_the_list_of_their_suite(tmp_path: Path) -> None:
    config.save_all(config.resolve(with_student()), tmp_path / "configs")
    assert yaml.safe_load((tmp_path / "configs/tricks/_runs.yaml").read_text()) == ["small", "pupil"]
    assert config.load(config.find(tmp_path / "configs", "pupil")).teacher == "small"


PLACE = "put the run under `students`, with `teacher: RUN`"
STUDENTS_MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "no teacher": (with_student(teacher=None), "students.pupil.teacher is missing; one of: small"),
    "an empty teacher": (with_student(teacher=""), "students.pupil.teacher is ''"),
    "an unknown teacher": (
        with_student(teacher="smal"),
        "students.pupil.teacher is 'smal' (did you mean small?); one of: small",
    ),
    "a number": (with_student(teacher=3), "students.pupil.teacher is 3; one of: small"),
    "a list": (with_student(teacher=["small"]), "students.pupil.teacher is ['small']"),
    "its own teacher": (
        with_student(teacher="pupil"),
        "students.pupil.teacher leads back to itself (pupil <- pupil): name a run, or another student",
    ),
    "the name of a run": (
        {**PARAMS, "students": {"small": STUDENT}},
        "students.small has the name of a run: give it another",
    ),
    "no students": (
        {key: value for key, value in PARAMS.items() if key != "students"},
        "students is missing: write `students: {}`",
    ),
    "nothing written": ({**PARAMS, "students": None}, "students is missing: write `students: {}`"),
    "a list of students": ({**PARAMS, "students": ["pupil"]}, "students is ['pupil']: write `students: {}`"),
    "a student that is no block": (
        {**PARAMS, "students": {"pupil": None}},
        "students.pupil is None: it must be a block",
    ),
    "a misspelt suite": (with_student(suite="trick"), "students.pupil.suite is 'trick' (did you mean tricks?)"),
    "a misspelt key": (with_student(lrr=1), "students.pupil.lrr is not a parameter (did you mean lr?)"),
    "a name that is none": ({**PARAMS, "students": {"Pupil": STUDENT}}, "students.Pupil is not a name"),
    "a number for a name": ({**PARAMS, "students": {3: {**STUDENT, "teacher": "small"}}}, "students.3 is not a name"),
    "a student under runs": (
        with_run(objective=TEACHER_STUDENT),
        f"runs.small: objective teacher_student learns from another run's model: {PLACE}",
    ),
    "a run that learns by its suite": (
        with_suite(objective=TEACHER_STUDENT),
        "runs.small: objective teacher_student learns from",
    ),
    "a student under runs, with a teacher": (
        with_run(objective=TEACHER_STUDENT, teacher="small"),
        "runs.small.teacher is for students alone: move small to `students`, or remove it",
    ),
    "a suite with a teacher": (
        with_suite(objective=TEACHER_STUDENT, teacher="small"),
        "suites.tricks.teacher is for students alone",
    ),
    "a teacher that is not used": (
        with_student(objective="softmax_cross_entropy"),
        "students.pupil: objective softmax_cross_entropy has no use for a teacher: name an objective that has",
    ),
    "a teacher of a run": (
        with_run(teacher="small"),
        "runs.small: objective softmax_cross_entropy has no use for a teacher: name an objective that has",
    ),
    "augmentation": (with_student(augmentation=["flip"]), "students.pupil: augmentation would change the images"),
    "augmentation at the top": (
        {**with_student(), "augmentation": ["flip"]},
        "students.pupil: augmentation would change the images",
    ),
}


@pytest.mark.parametrize(("params", "says"), STUDENTS_MISTAKES.values(), ids=STUDENTS_MISTAKES)
def test_a_mistake_with_students_is_one_line(params: dict[str, Any], says: str) -> None:
    (line,) = mistakes(params)
    assert line.startswith(f"params.yaml: {says}")
    assert len(line) < 300  # no dump of a block


def test_students_who_teach_each_other() -> None:
    params = with_student()
    params["students"] = {
        "one": {**STUDENT, "teacher": "two"},
        "two": {**STUDENT, "teacher": "one"},
        "three": {**STUDENT, "teacher": "one"},  # could be trained if these two could
    }
    hint = "name a run, or another student, in its place"
    assert mistakes(params) == [
        f"params.yaml: students.one.teacher leads back to itself (one <- two <- one): {hint}",
        f"params.yaml: students.two.teacher leads back to itself (two <- one <- two): {hint}",
    ]


HEADLESS = {"name": "convnet", "width": 4, "depth": 1, "filter_size": 3, "hidden_dim": 0, "global_average": True}


@pytest.mark.parametrize("model", ["tf_cnn", HEADLESS])
def test_sampled_softmax_wants_a_linear_head(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sampled = {"objective": {"name": "sampled_softmax", "n_samples": 2}, "model": model}
    if model == "tf_cnn":
        assert run_config(**sampled).model.has_head
        monkeypatch.setattr(TfCnn, "has_head", False)
    name = model if isinstance(model, str) else model["name"]
    assert mistakes(with_run(**sampled)) == [
        "params.yaml: runs.small: objective sampled_softmax computes only part of the last linear layer, and this"
        f" {name} ends in none: name another model, or another objective"
    ]
    assert run_config(model=model).model.name == name


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("augmentation", [PADDING_0], "augmentation[0].padding is 0: it should be greater than or equal to 1"),
        ("augmentation", ["flip", PADDING_0], "augmentation[1].padding is 0: it should be greater than or equal to 1"),
        (
            "augmentation",
            [{"name": "flop"}],
            "augmentation[0].name is 'flop' (did you mean flip?); one of: flip, crop, cutout",
        ),
        ("augmentation", ["flip", "flop"], "augmentation[1].name is 'flop' (did you mean flip?); one of: flip"),
        ("augmentation", ["crop"], "augmentation[0].padding is missing: give it a value (int)"),
        ("augmentation", [{"size": 3}], "augmentation[0].name is missing; one of: flip, crop, cutout"),
        ("augmentation", [{"name": "flip", "p": 1}], "augmentation[0].p is not a parameter; known here: none"),
        (
            "augmentation",
            [{"name": "cutout", "size": 3, "sise": 3}],
            "augmentation[0].sise is not a parameter (did you mean size?); known here: size",
        ),
        ("augmentation", [3], "augmentation[0] is 3: it must be a name or a block of keys"),
        ("augmentation", "flip", "augmentation is 'flip': it must be a list of names or blocks of keys"),
        ("augmentation", None, "augmentation is None: it must be a list of names or blocks of keys"),
        (
            "regularizers",
            [{"name": "l1", "strength": "0"}],
            "regularizers[0].strength is '0': it should be a valid number",
        ),
        (
            "regularizers",
            [{"name": "l1", "strength": -1}],
            "regularizers[0].strength is -1: it should be greater than 0",
        ),
        ("regularizers", [{"name": "l3"}], "regularizers[0].name is 'l3'"),
        (
            "schedule",
            {"name": "milestones", "after": [2, 0], "factors": [0.1, 0.2]},
            "schedule.after[1] is 0: it should be greater than or equal to 1",
        ),
        ("schedule", {"name": "milestones", "after": 2, "factors": [0.1]}, "schedule.after is 2: it must be a list"),
        (
            "schedule",
            {"name": "milestones", "after": [2, 1], "factors": [0.1, 0.2]},
            "schedule: the epochs in after must increase",
        ),
        (
            "objective",
            {"name": "value_function", "epsilon": 0.2, "n_samples": 5},
            "objective.n_samples is not a parameter; known here: epsilon, consistent",
        ),
        ("subset", -1, "subset is -1: it should be greater than or equal to 0"),
        ("validation", 1, "validation is 1: it should be less than 1"),
        ("layer_statistics", 1, "layer_statistics is 1: it should be a valid boolean"),
        ("inputs", "standardised", "inputs is 'standardised' (did you mean standardized?)"),
    ],
)
@pytest.mark.parametrize("place", ["runs.small.", "suites.tricks.", ""])
def test_the_place_of_a_mistake_is_where_it_was_written(place: str, key: str, value: Any, says: str) -> None:
    params = copy.deepcopy(PARAMS)
    blocks = {"runs.small.": params["runs"]["small"], "suites.tricks.": params["suites"]["tricks"], "": params}
    blocks[place][key] = value
    (line,) = mistakes(params)
    assert line.startswith(f"params.yaml: {place}{says}")


def test_a_list_is_replaced_as_a_whole_and_its_mistakes_have_its_place() -> None:
    params = with_suite(augmentation=[{"name": "crop", "padding": 4}, "flip"])
    assert [change.name for change in config.resolve(params)["small"].augmentation] == ["crop", "flip"]
    params["runs"] = {"small": {"suite": "tricks", "augmentation": ["crop"]}}
    assert mistakes(params) == ["params.yaml: runs.small.augmentation[0].padding is missing: give it a value (int)"]
    params["runs"] = {"small": {"suite": "tricks", "augmentation": []}}
    assert config.resolve(params)["small"].augmentation == []

    longer = {**with_suite(augmentation=["flip", PADDING_0]), "augmentation": ["flip"]}
    assert mistakes(longer)[0].startswith("params.yaml: suites.tricks.augmentation[1].padding is 0")


def test_what_a_block_begun_afresh_lacks_is_missing_there() -> None:
    lines = mistakes(with_run(optimizer="adamw"))
    assert lines == [
        f"params.yaml: runs.small.optimizer.{key} is missing: give it a value (float)"
        for key in ("beta1", "beta2", "eps")
    ]


def test_lists_survive_their_file_and_empty_ones_are_left_out(tmp_path: Path) -> None:
    crop, l1 = {"name": "crop", "padding": 2}, {"name": "l1", "strength": "1e-4"}
    run = run_config(augmentation=["flip", crop], regularizers=[l1], subset=20, validation=0.25)
    path = tmp_path / "small.yaml"
    path.write_text(run.to_yaml())
    assert config.load(path) == run
    written = yaml.safe_load(path.read_text())
    assert written["augmentation"] == [{"name": "flip"}, crop]
    assert written["regularizers"] == [{"name": "l1", "strength": 1e-4}]
    assert [part.name for part in run.components()] == [
        *("tf_cnn", "softmax_cross_entropy", "adam", "constant"),
        "flip",
        "crop",
        "l1",
    ]

    plain = run_config(augmentation=[], regularizers=[], subset=0, validation=0, layer_statistics=False)
    assert plain.to_yaml() == run_config().to_yaml()
    new = ("augmentation", "regularizers", "subset", "validation", "layer_statistics", "teacher")
    assert not set(new) & set(plain.to_dict())


def test_a_file_of_another_name_without_data() -> None:
    params = {key: value for key, value in PARAMS.items() if key != "data"}
    runs = config.resolve(params, where="studies/params.yaml", data=False)
    assert runs == config.resolve(PARAMS)
    with pytest.raises(UserError) as caught:
        config.resolve({**params, "lr": 0}, where="studies/params.yaml", data=False)
    assert str(caught.value) == "studies/params.yaml: lr is 0: it should be greater than 0"
    # Where there is a block after all, it is checked.
    with pytest.raises(UserError, match=r"^studies/params.yaml: data.source is 'digit'"):
        config.resolve(changed("data.source", "digit"), where="studies/params.yaml", data=False)


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
    path.write_text(run_config().to_yaml() + "teacher: another\n")
    with pytest.raises(UserError, match=r"small.yaml: objective softmax_cross_entropy has no use.*dvc repro"):
        config.load(path)
