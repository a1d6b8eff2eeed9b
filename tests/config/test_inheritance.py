"""Three levels of params.yaml become one run: what wins, and where a value was written."""

import doctest
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainlab.config import inheritance
from trainlab.config.inheritance import merge, merge_levels, origin, run_values

LEAVES = st.integers() | st.booleans() | st.text(max_size=3)
BLOCKS = st.recursive(
    st.dictionaries(st.sampled_from("abc"), LEAVES, max_size=3),
    lambda inner: st.dictionaries(st.sampled_from("abc"), LEAVES | inner, max_size=3),
    max_leaves=8,
)
PARAMS: dict[str, Any] = {
    "lr": 1,
    "epochs": 1,
    "optimizer": {"name": "adam", "beta1": 0.9},
    "data": {"source": "digits"},
    "suites": {"wide": {"epochs": 2, "optimizer": {"eps": 1e-8}, "augmentation": ["flip", "crop"]}, "plain": None},
    "runs": {
        "first": {"suite": "wide", "epochs": 3},
        "second": {"suite": "plain", "optimizer": "sgd", "checks": {"overfit_lr": 1}},
    },
    "students": {},
}


def test_examples_in_the_docstrings() -> None:
    found = doctest.testmod(inheritance)
    assert found.attempted
    assert not found.failed


@given(BLOCKS)
def test_merging_nothing_changes_nothing(block: dict[str, Any]) -> None:
    assert merge(block, {}) == block
    assert merge({}, block) == block
    assert merge(block, block) == block


@given(BLOCKS, BLOCKS)
def test_over_wins_wherever_it_has_a_value(base: dict[str, Any], over: dict[str, Any]) -> None:
    merged = merge(base, over)
    assert isinstance(merged, dict)
    assert set(merged) == set(base) | set(over)
    for key, value in over.items():
        if not isinstance(value, dict):
            # A string over a block is short for its name.
            assert merged[key] == value or (isinstance(base.get(key), dict) and merged[key]["name"] == value)
    for key in set(base) - set(over):
        assert merged[key] == base[key]


def test_a_different_name_replaces_the_block_and_the_same_name_extends_it() -> None:
    base = {"name": "adam", "beta1": 0.9}
    assert merge(base, {"name": "sgd"}) == {"name": "sgd"}
    assert merge(base, "sgd") == {"name": "sgd"}
    assert merge(base, {"name": "adam", "eps": 1}) == {"name": "adam", "beta1": 0.9, "eps": 1}
    assert merge("adam", {"eps": 1}) == {"name": "adam", "eps": 1}
    assert merge(base, "adam") == base


def test_a_run_wins_over_its_suite_which_wins_over_the_top_level() -> None:
    assert merge_levels(PARAMS, PARAMS["runs"]["first"]) == {
        "suite": "wide",
        "lr": 1,
        "epochs": 3,
        "optimizer": {"name": "adam", "beta1": 0.9, "eps": 1e-8},
        "augmentation": ["flip", "crop"],
    }
    second = {"suite": "plain", "lr": 1, "epochs": 1, "optimizer": {"name": "sgd"}}
    assert merge_levels(PARAMS, PARAMS["runs"]["second"]) == {**second, "checks": {"overfit_lr": 1}}
    assert run_values(PARAMS, "second", PARAMS["runs"]["second"]) == {**second, "run": "second"}


@pytest.mark.parametrize(
    ("run", "keys", "written"),
    [
        ("first", ["epochs"], "runs.first.epochs"),
        ("second", ["epochs"], "epochs"),
        ("first", ["optimizer", "eps"], "suites.wide.optimizer.eps"),
        ("first", ["optimizer", "beta1"], "optimizer.beta1"),
        ("first", ["augmentation[1]", "padding"], "suites.wide.augmentation[1].padding"),
        ("first", ["optimizer", "beta2"], "suites.wide.optimizer.beta2"),  # missing: from the innermost block
        ("second", ["optimizer", "beta1"], "runs.second.optimizer.beta1"),  # the top level's block was replaced
        ("second", ["optimizer", "name"], "runs.second.optimizer.name"),  # a bare string
        ("first", ["seed"], "runs.first.seed"),  # missing everywhere
    ],
)
def test_where_a_value_was_written(run: str, keys: list[str], written: str) -> None:
    assert origin(PARAMS, ("runs", run), PARAMS["runs"][run], keys) == written
