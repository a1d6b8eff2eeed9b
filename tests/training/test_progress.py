import csv
import io
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from rich.console import Console

from small import data, run_config
from trainlab.training import progress as progress_module
from trainlab.training.history import History
from trainlab.training.loop import Step
from trainlab.training.progress import SearchProgress, TrainingProgress
from trainlab.training.replicas import train

SMALL = {"name": "three_layer", "num_filters": 4, "filter_size": 3, "hidden_dim": 8}


def row(epoch: int, replica: int = 0) -> dict[str, float]:
    numbers = {"train_loss": 1.5, "train_accuracy": 0.5, "test_loss": 1.25, "test_accuracy": 0.5625}
    return {"replica": replica, "epoch": epoch, "lr": 1e-3, **numbers}


def test_outside_a_terminal_each_epoch_is_one_plain_line() -> None:
    out = io.StringIO()
    with TrainingProgress(
        "small", epochs=2, replicas=1, console=Console(file=out, highlight=False, soft_wrap=True)
    ) as progress:
        train(run_config(model=SMALL), data(), on_epoch=progress.epoch, on_step=progress.step)
    lines = out.getvalue().splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("small epoch 2/2  loss ")
    assert "test accuracy" in lines[1]
    assert "images/s" in lines[1]
    assert "\x1b" not in out.getvalue()


VALIDATION = {"validation_loss": 1.75, "validation_accuracy": 0.4375, "accuracy_gap": 0.0625}


def without_test(row: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in row.items() if not name.startswith("test_")}


@pytest.mark.parametrize(
    ("numbers", "says"),
    [
        (row(1), "  test loss 1.2500  test accuracy 56.25%"),
        (without_test(row(1)), ""),
        (
            row(1) | VALIDATION,
            "  validation loss 1.7500  validation accuracy 43.75%  test loss 1.2500  test accuracy 56.25%  gap +6.25%",
        ),
        (without_test(row(1)) | VALIDATION, "  validation loss 1.7500  validation accuracy 43.75%  gap +6.25%"),
        (
            without_test(row(1)) | VALIDATION | {"accuracy_gap": -0.01, "reward": 0.5, "gradient_norm.head": 1.0},
            "  validation loss 1.7500  validation accuracy 43.75%  gap -1.00%",
        ),
    ],
)
def test_a_line_shows_what_was_scored(numbers: dict[str, float], says: str) -> None:
    out = io.StringIO()
    console = Console(file=out, highlight=False, soft_wrap=True)
    with TrainingProgress("small", epochs=2, replicas=1, console=console) as progress:
        progress.epoch(numbers)
    assert out.getvalue() == f"small epoch 1/2  loss 1.5000  accuracy 50.00%{says}  from a checkpoint\n"


def test_training_with_validation_and_without_test_images_is_shown() -> None:
    out = io.StringIO()
    console = Console(file=out, highlight=False, soft_wrap=True)
    with TrainingProgress("small", epochs=2, replicas=2, console=console) as progress:
        config = run_config(model=SMALL, validation=0.25, replicas=2)
        train(config, data()._replace(test=None), on_epoch=progress.epoch, on_step=progress.step)
    lines = out.getvalue().splitlines()
    assert len(lines) == 4
    for line in lines:
        assert " validation accuracy " in line
        assert " gap " in line
        assert " test " not in line
    assert progress.images == 2 * 2 * 30  # a quarter of 40 images is held out


def test_the_bar_shows_what_was_scored() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=150, legacy_windows=False)
    with TrainingProgress("small", epochs=2, replicas=1, console=console) as progress:
        assert progress._bar is not None
        for numbers, says in (
            (row(1) | VALIDATION, "loss 1.234  validation 43.8%  test 56.2%  "),
            (without_test(row(1)) | VALIDATION, "loss 1.234  validation 43.8%  "),
            (without_test(row(1)), "loss 1.234  "),
        ):
            progress.epoch(numbers)
            progress._replicas[0].looked -= 1  # a second ago
            progress.step(Step(replica=0, epoch=2, done=5, steps=10, images=64, loss=torch.tensor(1.234)))
            shown = progress._bar.tasks[0].fields["numbers"]
            assert shown.startswith(says)
            assert shown.removeprefix(says)[0].isdecimal()
    assert progress.images == 3 * 64


def test_a_line_shows_the_images_per_second_of_its_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(progress_module, "time", SimpleNamespace(perf_counter=lambda: now))
    out = io.StringIO()
    with TrainingProgress("small", epochs=2, replicas=1, console=Console(file=out, soft_wrap=True)) as progress:
        for epoch, seconds in ((1, 4.0), (2, 2.0)):
            for done in (1, 2):
                progress.step(Step(replica=0, epoch=epoch, done=done, steps=2, images=50, loss=torch.tensor(1.0)))
            now += seconds
            progress.epoch(row(epoch))
    assert [line.rpartition("  ")[2] for line in out.getvalue().splitlines()] == ["25 images/s", "50 images/s"]
    assert progress.images == 200


def test_in_a_terminal_bars_show_each_replica_in_training_and_the_whole_run() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=120, legacy_windows=False)
    with TrainingProgress("small", epochs=2, replicas=3, console=console) as progress:
        progress.epoch(row(1, replica=1))
        progress.epoch(row(1, replica=0))
        for number, done in ((0, 2), (1, 5)):
            progress._replicas[number].looked -= 1  # a second ago
            progress.step(Step(replica=number, epoch=2, done=done, steps=10, images=64, loss=torch.tensor(1.234)))
        assert progress._bar is not None
        progress._bar.refresh()
        whole, second, first = progress._bar.tasks
        assert (whole.completed, whole.total) == (10 + 2 + 10 + 5, 60)
        assert (first.completed, first.total) == (10 + 2, 20)
        assert (second.completed, second.total) == (10 + 5, 20)
        progress.epoch(row(2, replica=0))
        assert [task.visible for task in progress._bar.tasks] == [True, True, False]  # this replica is trained
    shown = out.getvalue()
    for words in ("small: 3 replicas", "small replica 2/3 epoch 2/2", "loss 1.234", "test 56.2%", "images/s"):
        assert words in shown


def test_the_history_is_on_disk_after_each_epoch(tmp_path: Path) -> None:
    path = tmp_path / "plots" / "small.csv"
    history = History(path)
    seen = []
    for epoch in (1, 2):
        history.add({**row(epoch), "reward": 0.25})
        seen.append(list(csv.DictReader(path.read_text().splitlines())))
    assert [len(rows) for rows in seen] == [1, 2]
    assert list(seen[1][1].items())[:2] == [("replica", "0"), ("epoch", "2")]
    assert seen[1][1]["reward"] == "0.25"
    assert b"\r" not in path.read_bytes()


def test_the_history_is_in_the_order_of_replicas_and_epochs(tmp_path: Path) -> None:
    history = History(tmp_path / "small.csv")
    for epoch, replica in ((1, 1), (1, 0), (2, 1), (2, 0), (1, 2)):
        history.add(row(epoch, replica))
    rows = csv.DictReader((tmp_path / "small.csv").read_text().splitlines())
    assert [(row["replica"], row["epoch"]) for row in rows] == [
        ("0", "1"),
        ("0", "2"),
        ("1", "1"),
        ("1", "2"),
        ("2", "1"),
    ]


def test_a_search_shows_one_line_per_trial_and_a_bar_in_a_terminal() -> None:
    for terminal in (False, True):
        out = io.StringIO()
        console = Console(file=out, force_terminal=terminal, width=100, highlight=False, soft_wrap=True)
        with SearchProgress(console) as progress:
            progress.trial("round 1 (rate) trial 1/2", epochs=2)
            progress.step(Step(replica=0, epoch=2, done=1, steps=4, images=8, loss=torch.tensor(1.0)))
            progress.say("lr 0.1 [not markup]")
            if progress._bar:
                [task] = progress._bar.tasks
                assert (task.completed, task.total) == (4 + 1, 2 * 4)
        assert "lr 0.1 [not markup]" in out.getvalue()
        assert ("round 1 (rate) trial 1/2" in out.getvalue()) == terminal
        assert ("\x1b" in out.getvalue()) == terminal
