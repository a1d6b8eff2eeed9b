"""The schema: what a run and its checks may contain, and what their files look like."""

from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticUndefined

from small import run_config
from trainlab import config
from trainlab.component import Component
from trainlab.config.schema import CheckConfig, RunConfig


def subclasses(cls: type[BaseModel]) -> list[type[BaseModel]]:
    return [cls, *(inner for sub in cls.__subclasses__() for inner in subclasses(sub))]


def defaults(cls: type[BaseModel]) -> dict[str, Any]:
    """Return the default of each field that has one, as a configuration file would contain it."""
    fields = {name: field.get_default(call_default_factory=True) for name, field in cls.model_fields.items()}
    return {name: default for name, default in fields.items() if default is not PydanticUndefined}


COMPONENTS = [
    cls
    for cls in subclasses(Component)
    if cls.__module__.startswith("trainlab.") and get_origin(cls.model_fields["name"].annotation) is Literal
]


def test_the_components_are_all_found() -> None:
    names = {name for cls in COMPONENTS for name in get_args(cls.model_fields["name"].annotation)}
    assert {"tf_cnn", "value_function", "adam", "one_cycle", "kaiming_uniform", "max_norm", "cutout"} <= names


@pytest.mark.parametrize("cls", [RunConfig, CheckConfig, *COMPONENTS], ids=lambda cls: cls.__name__)
def test_a_default_means_absent(cls: type[BaseModel]) -> None:
    """Fields with their default are not written, so a default must not be a hyperparameter's value."""
    assert {name: default for name, default in defaults(cls).items() if default not in (0, "", [], None)} == {}


@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
def test_precisions(precision: str) -> None:
    assert run_config(precision=precision).precision == precision


@pytest.mark.parametrize("fraction", [0.0, 0.25, 0.99])
def test_validation_is_a_fraction_below_1(fraction: float) -> None:
    values = run_config().to_dict()
    assert RunConfig.model_validate({**values, "validation": fraction}).validation == fraction
    for wrong in (1.0, 1.5, -0.1):
        with pytest.raises(ValidationError):
            RunConfig.model_validate({**values, "validation": wrong})


def test_a_configuration_equals_its_file_and_leaves_out_what_is_absent(tmp_path: Path) -> None:
    run = run_config(model={"dropout_conv": 0.2, "initializer": "kaiming_uniform"})
    path = tmp_path / "small.yaml"
    path.write_text(run.to_yaml())
    assert config.load(path) == run
    assert "dropout_dense" not in path.read_text()
    assert "weight_decay" not in path.read_text()


def test_lists_equal_their_file_and_empty_ones_are_left_out(tmp_path: Path) -> None:
    crop, l1 = {"name": "crop", "padding": 2}, {"name": "l1", "strength": 1e-4}
    run = run_config(augmentation=["flip", crop], regularizers=[l1], subset=20, validation=0.25)
    path = tmp_path / "small.yaml"
    path.write_text(run.to_yaml())
    assert config.load(path) == run
    written = config.load_params(path)
    assert written["augmentation"] == [{"name": "flip"}, crop]
    assert written["regularizers"] == [l1]
    assert [component.name for component in run.components()] == [
        *("tf_cnn", "softmax_cross_entropy", "adam", "constant"),
        "flip",
        "crop",
        "l1",
    ]

    plain = run_config(augmentation=[], regularizers=[], subset=0, validation=0, layer_statistics=False)
    assert plain.to_yaml() == run_config().to_yaml()
    new = ("augmentation", "regularizers", "subset", "validation", "layer_statistics", "teacher")
    assert not set(new) & set(plain.to_dict())


def test_the_text_of_a_configuration_is_fixed() -> None:
    """Another text would make every run stale."""
    text = run_config(
        model={"initializer": "kaiming_uniform"}, regularizers=[{"name": "l1", "strength": 1e-5}]
    ).to_yaml()
    assert text.partition("code: ")[0] == (
        "run: small\nsuite: tricks\nseed: 0\nreplicas: 1\nepochs: 2\nbatch_size: 16\nlr: 0.001\nthreads: 1\n"
        "device: cpu\nprecision: float32\ninputs: standardized\n"
        "model:\n  name: tf_cnn\n  initializer:\n    name: kaiming_uniform\n"
        "objective:\n  name: softmax_cross_entropy\n"
        "optimizer:\n  name: adam\n  beta1: 0.9\n  beta2: 0.999\n  eps: 1.0e-08\n"
        "schedule:\n  name: constant\n"
        "regularizers:\n- name: l1\n  strength: 1.0e-05\n"
    )
