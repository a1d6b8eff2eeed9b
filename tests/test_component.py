import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from trainlab import component
from trainlab.component import merge
from trainlab.schedules import Exponential

LEAVES = st.integers() | st.booleans() | st.text(max_size=3)
BLOCKS = st.recursive(
    st.dictionaries(st.sampled_from("abc"), LEAVES, max_size=3),
    lambda inner: st.dictionaries(st.sampled_from("abc"), LEAVES | inner, max_size=3),
    max_leaves=8,
)


def test_examples_in_the_docstrings() -> None:
    assert doctest.testmod(component).failed == 0


@given(BLOCKS)
def test_merging_nothing_changes_nothing(block: dict) -> None:
    assert merge(block, {}) == block
    assert merge({}, block) == block
    assert merge(block, block) == block


@given(BLOCKS, BLOCKS)
def test_over_wins_wherever_it_says_something(base: dict, over: dict) -> None:
    merged = merge(base, over)
    assert isinstance(merged, dict)
    assert set(merged) == set(base) | set(over)
    for key, value in over.items():
        if not isinstance(value, dict):
            # a string over a block is short for its name
            assert merged[key] == value or (isinstance(base.get(key), dict) and merged[key]["name"] == value)
    for key in set(base) - set(over):
        assert merged[key] == base[key]


def test_another_name_starts_afresh_and_the_same_name_goes_on() -> None:
    base = {"name": "adam", "beta1": 0.9}
    assert merge(base, {"name": "sgd"}) == {"name": "sgd"}
    assert merge(base, "sgd") == {"name": "sgd"}
    assert merge(base, {"name": "adam", "eps": 1}) == {"name": "adam", "beta1": 0.9, "eps": 1}
    assert merge("adam", {"eps": 1}) == {"name": "adam", "eps": 1}
    assert merge(base, "adam") == base


def test_a_part_is_frozen_and_strict() -> None:
    schedule = Exponential(name="exponential", gamma=0.8)
    with pytest.raises(ValidationError):
        schedule.gamma = 0.5
    for wrong in (True, "0.8", float("nan"), float("inf"), 0, 1.5, None):
        with pytest.raises(ValidationError):
            Exponential.model_validate({"name": "exponential", "gamma": wrong})
