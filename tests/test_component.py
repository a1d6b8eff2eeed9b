"""Components: selected by name, frozen, and strict about their values."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from trainlab.component import one_of
from trainlab.schedules import Constant, Exponential

EITHER: TypeAdapter[Any] = TypeAdapter(one_of(Constant, Exponential))


def test_a_component_is_frozen_and_strict() -> None:
    schedule = Exponential(name="exponential", gamma=0.8)
    with pytest.raises(ValidationError):
        setattr(schedule, "gamma", 0.5)  # noqa: B010 (a type checker would refuse the assignment)
    for wrong in (True, "0.8", float("nan"), float("inf"), 0, 1.5, None):
        with pytest.raises(ValidationError):
            Exponential.model_validate({"name": "exponential", "gamma": wrong})


def test_a_component_is_selected_by_name() -> None:
    assert EITHER.validate_python({"name": "exponential", "gamma": 0.8}) == Exponential(name="exponential", gamma=0.8)
    for wrong in ({"name": "step", "gamma": 0.8}, {"gamma": 0.8}, "step", 3, None, {"name": "constant", "gamma": 0.8}):
        with pytest.raises(ValidationError):
            EITHER.validate_python(wrong)


@pytest.mark.parametrize("adapter", [EITHER, TypeAdapter(one_of(Constant))], ids=["one of two", "the only one"])
def test_a_bare_string_is_short_for_a_name(adapter: TypeAdapter[Any]) -> None:
    assert adapter.validate_python("constant") == Constant(name="constant")
