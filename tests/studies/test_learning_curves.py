import pytest
from pandas import DataFrame

from trainlab.studies.learning_curves import COLUMNS, last_epoch, turning_points


def some_curves(**runs: list[tuple[list[float], list[float]]]) -> DataFrame:
    """Curves of runs: for each replica, its test losses and test accuracies."""
    rows = [
        {
            "run": run,
            "replica": replica,
            "epoch": epoch,
            "train_loss": 1 / epoch,
            "train_accuracy": 0.5 + epoch / 100,
            "test_loss": loss,
            "test_accuracy": accuracy,
        }
        for run, replicas in runs.items()
        for replica, (losses, accuracies) in enumerate(replicas)
        for epoch, (loss, accuracy) in enumerate(zip(losses, accuracies, strict=True), 1)
    ]
    return DataFrame(rows)


def test_loss_and_error_turn_at_different_epochs() -> None:
    [turn] = turning_points(some_curves(a=[([2.0, 1.0, 1.5], [0.3, 0.7, 0.6])])).to_dict("records")
    assert list(turn) == COLUMNS
    assert (turn["run"], turn["loss_epoch"], turn["loss"], turn["last_loss"]) == ("a", 2, 1.0, 1.5)
    assert turn["error_epoch"] == 2
    assert (turn["error"], turn["last_error"]) == pytest.approx((0.3, 0.4))


def test_turning_points_are_of_means_over_replicas_and_the_first_of_equals() -> None:
    turns = turning_points(
        some_curves(
            b=[([2.0, 1.0, 3.0], [0.5, 0.5, 0.4]), ([2.0, 3.0, 5.0], [0.5, 0.5, 0.4])], a=[([1.0, 0.5], [0.1, 0.2])]
        )
    ).set_index("run")
    assert turns.index.to_list() == ["b", "a"]
    assert turns["loss_epoch"].to_dict() == {"b": 1, "a": 2}
    assert turns["error_epoch"].to_dict() == {"b": 1, "a": 2}
    assert turns["loss"].to_dict() == {"b": 2.0, "a": 0.5}
    assert turns["last_loss"].to_dict() == {"b": 4.0, "a": 0.5}


def test_the_last_epoch_is_that_of_each_run() -> None:
    last = last_epoch(some_curves(b=[([2.0, 1.0], [0.3, 0.5]), ([2.0, 3.0], [0.3, 0.7])], a=[([3.0], [0.1])]))
    assert list(last.columns) == ["run", "train_loss", "train_accuracy", "test_loss", "test_accuracy"]
    assert last["run"].to_list() == ["b", "a"]
    assert last["test_loss"].to_list() == [2.0, 3.0]
    assert last["test_accuracy"].to_list() == pytest.approx([0.6, 0.1])
    assert last["train_loss"].to_list() == [0.5, 1.0]
