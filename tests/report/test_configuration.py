"""Configurations as keys and values, and what differs between two of them."""

from trainlab.report.configuration import changes, flat, own_values

SUITE = {"lr": 1e-3, "model": "tf_cnn", "optimizer": {"name": "adam", "eps": 1e-8}}
RUN = {
    "run": "better",
    "suite": "tricks",
    "lr": 0.001,
    "model": {"name": "tf_cnn", "initializer": {"name": "kaiming_uniform"}},
    "optimizer": {"name": "adam", "eps": 1.0e-08},
    "augmentation": [{"name": "crop", "padding": 4}, "flip"],
    "layer_statistics": True,
    "code": "abc",
}


def test_nested_values_have_the_keys_of_their_blocks() -> None:
    assert flat(RUN) == {
        "run": "better",
        "suite": "tricks",
        "lr": "0.001",
        "model.name": "tf_cnn",
        "model.initializer.name": "kaiming_uniform",
        "optimizer.name": "adam",
        "optimizer.eps": "1e-08",
        "augmentation": "{name: crop, padding: 4}, flip",
        "layer_statistics": "true",
        "code": "abc",
    }


def test_a_value_that_the_suite_gives_is_not_marked() -> None:
    assert [key for key, (_, own) in own_values(RUN, SUITE).items() if own] == [
        "model.initializer.name",
        "augmentation",
        "layer_statistics",
    ]


def test_changes_are_what_differs_but_the_names() -> None:
    other = {**RUN, "run": "plain", "code": "def", "lr": 0.002, "schedule": {"name": "constant"}}
    del other["layer_statistics"]
    assert changes(RUN, other) == [
        ("lr", "0.002", "0.001"),
        ("schedule.name", "constant", ""),
        ("layer_statistics", "", "true"),
    ]
    assert changes(RUN, RUN) == []
