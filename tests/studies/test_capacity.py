from typing import Any

import pytest
from pandas import DataFrame

from small import run_config
from trainlab.config.schema import RunConfig
from trainlab.errors import UserError
from trainlab.studies.capacity import capacity, memorizes_from, overfits_from

NARROW = {"name": "convnet", "width": 3, "depth": 2, "filter_size": 3, "hidden_dim": 4}
WIDE = {**NARROW, "width": 9}
Study = tuple[dict[str, RunConfig], dict[str, dict[str, Any]], DataFrame]


def some_networks(small: float = 0.5, large: float = 1.0, many: dict[str, int] | None = None) -> Study:
    """Two networks, the larger one first, each trained on 8 images and on all (or on ``many``)."""
    own = many or {}
    configs = {
        "wide_many": run_config(model=WIDE, **own),
        "wide_few": run_config(model=WIDE, subset=8),
        "narrow_few": run_config(model=NARROW, subset=8),
        "narrow_many": run_config(model=NARROW, **own),
    }
    metrics = {run: {"model": {"parameters": 900 if "wide" in run else 100}} for run in configs}
    last = DataFrame(
        [
            {"run": "wide_many", "train_accuracy": 0.9, "test_accuracy": 0.7},
            {"run": "wide_few", "train_accuracy": large, "test_accuracy": 0.2},
            {"run": "narrow_few", "train_accuracy": small, "test_accuracy": 0.2},
            {"run": "narrow_many", "train_accuracy": 0.6, "test_accuracy": 0.6},
        ]
    )
    return configs, metrics, last


def test_networks_are_pairs_of_runs_from_the_smallest_to_the_largest() -> None:
    assert capacity(*some_networks()).to_dict("records") == [
        {
            "network": f"w{width} d2 f3 h4",
            "width": width,
            "depth": 2,
            "filter_size": 3,
            "hidden_dim": 4,
            "receptive_field": 10,
            "parameters": parameters,
            "few": 8,
            "many": 0,
            "few_train": few_train,
            "many_train": many_train,
            "many_test": many_test,
        }
        for width, parameters, few_train, many_train, many_test in ((3, 100, 0.5, 0.6, 0.6), (9, 900, 1.0, 0.9, 0.7))
    ]


def test_many_images_may_be_a_subset_too() -> None:
    networks = capacity(*some_networks(many={"subset": 20}))
    assert networks["few"].to_list() == [8, 8]
    assert networks["many"].to_list() == [20, 20]
    assert networks["many_test"].to_list() == [0.6, 0.7]


@pytest.mark.parametrize(
    ("few_train", "expected"), [([0.5, 0.99, 1.0], 20), ([0.98, 0.98, 0.989], None), ([1.0, 0.5, 1.0], 10)]
)
def test_the_smallest_network_that_memorizes(few_train: list[float], expected: float | None) -> None:
    assert memorizes_from(DataFrame({"parameters": [10, 20, 30], "few_train": few_train})) == expected


@pytest.mark.parametrize(
    ("gaps", "expected"),
    [
        ([0.0, 0.06, 0.07], 20),
        ([0.06, 0.0, 0.07], 30),  # a smaller one that overfits by chance does not count
        ([0.06, 0.06, 0.06], 10),
        ([0.06, 0.06, 0.04], None),
        ([0.0, 0.0, 0.0499], None),
    ],
)
def test_all_networks_overfit_from_here_on(gaps: list[float], expected: float | None) -> None:
    networks = DataFrame({"parameters": [10, 20, 30], "many_train": [0.5 + gap for gap in gaps], "many_test": 0.5})
    assert overfits_from(networks) == expected


def test_runs_that_are_not_pairs_are_reported_on_one_line() -> None:
    configs, metrics, last = some_networks()
    configs.pop("narrow_many")
    with pytest.raises(UserError) as failure:
        capacity(configs, metrics, last)
    assert str(failure.value) == (
        "the network w3 d2 f3 h4 has 1 run (narrow_few), and the study has 2 values of subset: give each network two runs, "
        "one with few images and one with many, with the same two values for all networks"
    )


@pytest.mark.parametrize(
    ("run", "own", "message"),
    [
        ("narrow_many", {"subset": 8}, r"w3 d2 f3 h4 has 2 runs \(narrow_few, narrow_many\), .* 2 values of subset"),
        ("narrow_many", {"subset": 9}, r"has 2 runs .* and the study has 3 values of subset"),
    ],
)
def test_all_pairs_need_the_same_two_sizes(run: str, own: dict[str, int], message: str) -> None:
    configs, metrics, last = some_networks()
    configs[run] = run_config(model=NARROW, **own)
    with pytest.raises(UserError, match=message):
        capacity(configs, metrics, last)


def test_another_model_is_refused() -> None:
    other = {"other": run_config().model_copy(update={"run": "other"})}
    with pytest.raises(UserError, match="run other has the model tf_cnn, and a study of capacity compares convnets"):
        capacity(other, {}, DataFrame({"run": []}))
