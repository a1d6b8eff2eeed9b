"""Every mistake in params.yaml is one line: the key's path, its value, what is allowed."""

import copy
from datetime import date
from typing import Any

import pytest

from small import PARAMS, run_config
from trainlab import config
from trainlab.errors import UserError
from trainlab.models.tf_cnn import TfCnn

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
        ("precision", "float16", ["precision is 'float16'", "one of: float32, tf32, bfloat16"]),
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
        ("runs", {}, ["runs is {}: it must contain at least one run"]),
        ("suites", {}, ["suites is {}: it must contain at least one suite"]),
        ("suites.empty", {}, ["suites.empty has no run"]),
        ("runs.Bad-Name", {"suite": "tricks"}, ["runs.Bad-Name is not a valid name", "small letters"]),
        ("runs.checks", {"suite": "tricks"}, ["runs.checks is not a valid name", "reserved"]),
        ("runs.small.code", "0", ["runs.small.code cannot be set"]),
        ("run", "small", ["run cannot be set"]),
    ],
)
def test_a_mistake_is_one_line_with_path_value_and_what_is_allowed(path: str, value: Any, says: list[str]) -> None:
    lines = mistakes(changed(path, value))
    found = [line for line in lines if all(words in line for words in says)]
    assert found, lines
    assert all(line.startswith("params.yaml: ") for line in lines)
    assert len(lines) <= 2  # a mistake at the top level is reported once, not once per run


MOVE = "move the run to `students` and set `teacher: RUN`"
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
        "students.pupil.teacher is circular (pupil <- pupil): name a run, or a student outside the circle",
    ),
    "the name of a run": (
        {**PARAMS, "students": {"small": STUDENT}},
        "students.small has the name of a run: choose another name",
    ),
    "no block": (
        {key: value for key, value in PARAMS.items() if key != "students"},
        "students is missing: write `students: {}`",
    ),
    "an empty block": ({**PARAMS, "students": None}, "students is missing: write `students: {}`"),
    "a list of students": ({**PARAMS, "students": ["pupil"]}, "students is ['pupil']: write `students: {}`"),
    "a student that is no block": (
        {**PARAMS, "students": {"pupil": None}},
        "students.pupil is None: it must be a block",
    ),
    "a misspelled suite": (with_student(suite="trick"), "students.pupil.suite is 'trick' (did you mean tricks?)"),
    "a misspelled key": (with_student(lrr=1), "students.pupil.lrr is not a parameter (did you mean lr?)"),
    "an invalid name": ({**PARAMS, "students": {"Pupil": STUDENT}}, "students.Pupil is not a valid name"),
    "a number as a name": (
        {**PARAMS, "students": {3: {**STUDENT, "teacher": "small"}}},
        "students.3 is not a valid name",
    ),
    "a student under runs": (
        with_run(objective=TEACHER_STUDENT),
        f"runs.small: objective teacher_student needs a teacher: {MOVE}",
    ),
    "an objective of the suite": (
        with_suite(objective=TEACHER_STUDENT),
        "runs.small: objective teacher_student needs a teacher",
    ),
    "a student with its teacher under runs": (
        with_run(objective=TEACHER_STUDENT, teacher="small"),
        "runs.small.teacher is only allowed for students: move small to `students`, or remove it",
    ),
    "a suite with a teacher": (
        with_suite(objective=TEACHER_STUDENT, teacher="small"),
        "suites.tricks.teacher is only allowed for students",
    ),
    "a teacher that is not used": (
        with_student(objective="softmax_cross_entropy"),
        "students.pupil: objective softmax_cross_entropy does not use a teacher: choose one that does",
    ),
    "a teacher of a run": (
        with_run(teacher="small"),
        "runs.small: objective softmax_cross_entropy does not use a teacher: choose one that does",
    ),
    "augmentation": (
        with_student(augmentation=["flip"]),
        "students.pupil: augmentation cannot be combined with a teacher",
    ),
    "augmentation at the top level": (
        {**with_student(), "augmentation": ["flip"]},
        "students.pupil: augmentation cannot be combined with a teacher",
    ),
}


@pytest.mark.parametrize(("params", "says"), STUDENTS_MISTAKES.values(), ids=STUDENTS_MISTAKES)
def test_a_mistake_with_students_is_one_line(params: dict[str, Any], says: str) -> None:
    (line,) = mistakes(params)
    assert line.startswith(f"params.yaml: {says}")
    assert len(line) < 300  # no dump of a block


def test_circular_teachers() -> None:
    params = with_student()
    params["students"] = {
        "one": {**STUDENT, "teacher": "two"},
        "two": {**STUDENT, "teacher": "one"},
        "three": {**STUDENT, "teacher": "one"},  # not part of the circle
    }
    hint = "name a run, or a student outside the circle"
    assert mistakes(params) == [
        f"params.yaml: students.one.teacher is circular (one <- two <- one): {hint}",
        f"params.yaml: students.two.teacher is circular (two <- one <- two): {hint}",
    ]


HEADLESS = {"name": "convnet", "width": 4, "depth": 1, "filter_size": 3, "hidden_dim": 0, "global_average": True}


@pytest.mark.parametrize("model", ["tf_cnn", HEADLESS])
def test_sampled_softmax_needs_a_linear_head(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sampled = {"objective": {"name": "sampled_softmax", "n_samples": 2}, "model": model}
    if model == "tf_cnn":
        assert run_config(**sampled).model.has_head
        monkeypatch.setattr(TfCnn, "has_head", False)
    name = model if isinstance(model, str) else model["name"]
    assert mistakes(with_run(**sampled)) == [
        "params.yaml: runs.small: objective sampled_softmax computes only part of the last linear layer, and this"
        f" {name} has none: choose another model or another objective"
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
        ("layer_statistics", 1, "layer_statistics is 1: it should be a valid boolean; write true or false"),
        ("layer_statistics", "on", "layer_statistics is 'on': it should be a valid boolean; write true or false"),
        ("teacher", True, "teacher is True: it should be a valid string; put it in quotes"),
        ("teacher", date(2024, 1, 2), "teacher is datetime.date(2024, 1, 2): it should be a valid string; put it in"),
        ("teacher", None, "teacher is None: it should be a valid string"),
        ("precision", "fp32", "precision is 'fp32' (did you mean tf32?); one of: float32, tf32, bfloat16"),
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


def test_the_place_of_a_mistake_in_a_list() -> None:
    params = with_suite(augmentation=[{"name": "crop", "padding": 4}, "flip"])
    params["runs"] = {"small": {"suite": "tricks", "augmentation": ["crop"]}}
    assert mistakes(params) == ["params.yaml: runs.small.augmentation[0].padding is missing: give it a value (int)"]

    longer = {**with_suite(augmentation=["flip", PADDING_0]), "augmentation": ["flip"]}
    assert mistakes(longer)[0].startswith("params.yaml: suites.tricks.augmentation[1].padding is 0")


def test_a_key_missing_from_a_replacing_block_is_missing_there() -> None:
    lines = mistakes(with_run(optimizer="adamw"))
    assert lines == [
        f"params.yaml: runs.small.optimizer.{key} is missing: give it a value (float)"
        for key in ("beta1", "beta2", "eps")
    ]


def test_a_mistake_at_the_top_level_is_reported_once_for_many_runs() -> None:
    params = changed("lr", "fast")
    params["runs"] = {name: {"suite": "tricks"} for name in ("one", "two", "three")}
    assert mistakes(params) == ["params.yaml: lr is 'fast': it should be a valid number"]


def test_missing_data_block() -> None:
    params = {key: value for key, value in PARAMS.items() if key != "data"}
    assert mistakes(params)[0].startswith("params.yaml: data is missing")


# Comparisons


def test_a_margin_is_a_fraction() -> None:
    assert mistakes({key: value for key, value in PARAMS.items() if key != "margin"}) == [
        "params.yaml: margin is missing: write the difference of two accuracies that matters, for example `margin: 0.01`"
    ]
    for path, params in (("margin", changed("margin", 1)), ("suites.tricks.margin", with_suite(margin=0.0))):
        [line] = mistakes(params)
        assert line.startswith(f"params.yaml: {path} is ")
    [line] = mistakes(with_run(margin=0.02))
    assert line == "params.yaml: runs.small.margin is only allowed for suites and at the top level: move it there"


def test_a_run_is_compared_with_another_run_of_its_suite() -> None:
    others = {"suites": {**PARAMS["suites"], "more": PARAMS["suites"]["tricks"]}}
    runs = {"small": {"suite": "tricks"}, "large": {"suite": "tricks"}, "elsewhere": {"suite": "more"}}

    def lines(against: object) -> list[str]:
        return mistakes({**PARAMS, **others, "runs": {**runs, "large": {"suite": "tricks", "against": against}}})

    assert lines("smal") == ["params.yaml: runs.large.against is 'smal' (did you mean small?); one of: small, null"]
    assert lines("large") == ["params.yaml: runs.large.against is 'large'; one of: small, null"]
    assert lines("elsewhere") == ["params.yaml: runs.large.against is 'elsewhere'; one of: small, null"]
    assert lines(["small"]) == [
        "params.yaml: runs.large.against is ['small'] (did you mean small?); one of: small, null"
    ]
    assert mistakes(with_run(against="small")) == ["params.yaml: runs.small.against is 'small'; one of: null"]
    assert mistakes(with_suite(against="nobody")) == [
        "params.yaml: suites.tricks.against is 'nobody'; one of: small, null"
    ]
    assert mistakes({**PARAMS, "against": "small"}) == [
        "params.yaml: against is only allowed in suites and runs: move it to one of them"
    ]


def test_a_run_whose_name_is_a_number_is_listed_among_the_others() -> None:
    runs: dict[Any, Any] = {"small": {"suite": "tricks", "against": "smal"}, 0: {"suite": "tricks"}}
    assert "params.yaml: runs.small.against is 'smal'; one of: 0, null" in mistakes({**PARAMS, "runs": runs})
