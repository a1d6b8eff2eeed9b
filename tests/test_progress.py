import csv
import io
from pathlib import Path

import torch
from rich.console import Console

from small import data, run_config
from trainlab.history import History
from trainlab.progress import TrainingProgress
from trainlab.training import Step, train


def row(epoch: int, replica: int = 0) -> dict[str, float]:
    numbers = {"train_loss": 1.5, "train_accuracy": 0.5, "test_loss": 1.25, "test_accuracy": 0.5625}
    return {"replica": replica, "epoch": epoch, "lr": 1e-3, **numbers}


def test_outside_a_terminal_it_is_one_plain_line_an_epoch() -> None:
    out = io.StringIO()
    with TrainingProgress(
        "small", epochs=2, replicas=1, console=Console(file=out, highlight=False, soft_wrap=True)
    ) as progress:
        train(run_config(), data(), on_epoch=progress.epoch, on_step=progress.step)
    lines = out.getvalue().splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("small epoch 2/2  loss ")
    assert "test accuracy" in lines[1]
    assert "images/s" in lines[1]
    assert "\x1b" not in out.getvalue()


def test_in_a_terminal_a_bar_shows_loss_speed_and_time_left() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=120, legacy_windows=False)
    with TrainingProgress("small", epochs=2, replicas=3, console=console) as progress:
        progress.epoch(row(1))
        progress._looked -= 1  # a second ago
        progress.step(Step(replica=1, epoch=2, done=5, steps=10, images=64, loss=torch.tensor(1.234)))
        assert progress._bar is not None
        task = progress._bar.tasks[0]
        assert (task.completed, task.total) == (1 * 20 + 10 + 5, 60)
    shown = out.getvalue()
    for words in ("small replica 2/3 epoch 2/2", "loss 1.234", "test 56.2%", "images/s"):
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
