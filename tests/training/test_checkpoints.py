"""An interrupted training resumes, and has the same bytes as one that was not interrupted."""

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from small import PARAMS, data, run_config
from training.schema_samples import choices
from trainlab.config import RunConfig, resolve
from trainlab.data.stored import Data
from trainlab.errors import Stopped
from trainlab.files import read_tensors
from trainlab.training.checkpoints import keys_of
from trainlab.training.devices import WORKERS
from trainlab.training.history import History
from trainlab.training.loop import Row, Step
from trainlab.training.replicas import train

SMALL = {"name": "three_layer", "num_filters": 4, "filter_size": 3, "hidden_dim": 16}


class Interrupted(Exception):
    """Something that ends a training at once, such as Ctrl-C."""


def result(config: RunConfig, directory: Path, **arguments: Any) -> tuple[bytes, str]:
    """Return the bytes of the model, and the text of the history."""
    history = History(directory / "history.csv")
    train(config, data(), on_epoch=history.add, **arguments).save(directory / "model")
    return (directory / "model").read_bytes(), (directory / "history.csv").read_text()


def at(count: int, act: Callable[[], None]) -> Callable[[Step], None]:
    """Return a function to call after each step, which acts after this many."""
    seen: list[Step] = []

    def on_step(step: Step) -> None:
        seen.append(step)
        if len(seen) == count:
            act()

    return on_step


def fail() -> None:
    raise Interrupted


def sigterm() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


AUGMENTED = [{"name": "flip"}, {"name": "crop", "padding": 2}]
RUNS: list[dict[str, Any]] = [
    {"model": {"name": "tf_cnn", "dropout_conv": 0.2, "dropout_dense": 0.2}, "augmentation": AUGMENTED},
    {"model": {"name": "convnet", "width": 4, "depth": 1, "filter_size": 3, "hidden_dim": 8, "batch_norm": True}},
    {"objective": {"name": "policy_gradient", "entropy_weight": 0.04, "baseline": True}},
    {"objective": {"name": "sampled_softmax", "n_samples": 2}, "schedule": {"name": "exponential", "gamma": 0.8}},
    {"layer_statistics": True, "validation": 0.2},
    {
        "model": {"name": "record_cnn", "widths": [4], "output_scale": 1.0, "norm_memory": 0.6, "whitening_eps": 1e-3},
        "optimizer": {
            "name": "sgdw",
            "momentum": 0.8,
            "bias_rate": 4.0,
            "lookahead": {"every": 2, "decay": 0.8, "power": 1.0},
        },
        "augmentation": ["alternating_flip"],
    },
    *({"model": SMALL, "optimizer": optimizer} for optimizer in choices("optimizer")),
]


@pytest.mark.parametrize("own", RUNS, ids=str)
def test_training_resumes_with_the_same_bytes(own: dict[str, Any], tmp_path: Path) -> None:
    config = run_config(**{"model": SMALL, "replicas": 2, **own})
    stored = tmp_path / "checkpoints"
    whole = result(config, tmp_path)
    steps = 2 if config.validation else 3  # per epoch
    with pytest.raises(Interrupted):  # in the second epoch, whose beginning is lost
        result(config, tmp_path, checkpoints=stored, on_step=at(steps + 1, fail))
    with pytest.raises(Stopped):  # in the middle of that epoch: nothing is lost
        result(config, tmp_path, checkpoints=stored, on_step=at(1, sigterm))
    resumed = at(10**9, fail)
    with pytest.raises(Stopped):  # in the first epoch of the second replica
        result(config, tmp_path, checkpoints=stored, on_step=at(steps, sigterm))
    assert result(config, tmp_path, checkpoints=stored, on_step=resumed) == whole


def test_a_student_resumes(tmp_path: Path) -> None:
    outputs = np.random.default_rng(0).normal(size=(2, 40, 4)).astype(np.float32)
    own = {"suite": "tricks", "teacher": "small", "model": SMALL, "replicas": 2}
    objective = {"name": "teacher_student", "alpha": 0.5, "temperature": 2.0}
    config = resolve({**PARAMS, "students": {"pupil": {**own, "objective": objective}}})["pupil"]
    whole = result(config, tmp_path, teacher_outputs=outputs)
    stored = tmp_path / "checkpoints"
    with pytest.raises(Stopped):
        result(config, tmp_path, teacher_outputs=outputs, checkpoints=stored, on_step=at(5, sigterm))
    seen: list[Step] = []
    assert result(config, tmp_path, teacher_outputs=outputs, checkpoints=stored, on_step=seen.append) == whole
    assert (seen[0].epoch, seen[0].done) == (2, 3)
    more = np.concatenate([outputs, outputs[:1] + 1])  # a third replica of the teacher, and of the student
    three = config.model_copy(update={"replicas": 3})
    whole = result(three, tmp_path, teacher_outputs=more)
    seen.clear()
    assert result(three, tmp_path, teacher_outputs=more, checkpoints=stored, on_step=seen.append) == whole
    assert {step.replica for step in seen} == {2}
    other = outputs + 1  # another teacher
    seen.clear()
    train(config, data(), teacher_outputs=other, checkpoints=stored, on_step=seen.append)
    assert (seen[0].epoch, seen[0].done) == (1, 1)


@pytest.fixture
def interrupted(tmp_path: Path) -> Path:
    """Return a directory with the checkpoint of a training that was interrupted in its second epoch."""
    with pytest.raises(Stopped):
        train(run_config(model=SMALL), data(), checkpoints=tmp_path / "checkpoints", on_step=at(4, sigterm))
    return tmp_path / "checkpoints"


def first_step(config: RunConfig, checkpoints: Path, **of_data: Any) -> tuple[int, int]:
    """Return the epoch and the number of the first step of a training."""
    seen: list[Step] = []
    train(config, data(**of_data), checkpoints=checkpoints, on_step=seen.append)
    return seen[0].epoch, seen[0].done


def test_it_continues_with_the_next_step(interrupted: Path) -> None:
    assert first_step(run_config(model=SMALL), interrupted) == (2, 2)


@pytest.mark.parametrize("own", [{"lr": 2e-3}, {"code": "another"}, {"epochs": 3}, {"threads": 2}], ids=str)
def test_a_checkpoint_of_another_configuration_or_code_is_not_used(own: dict[str, Any], interrupted: Path) -> None:
    config = run_config(model=SMALL).model_copy(update=own)
    assert first_step(config, interrupted) == (1, 1)


@pytest.mark.parametrize("own", RUNS[:6], ids=str)
def test_more_replicas_train_only_the_new_ones(own: dict[str, Any], tmp_path: Path) -> None:
    few, more = (run_config(**{"model": SMALL, "replicas": number, **own}) for number in (2, 3))
    whole, stored = result(more, tmp_path), tmp_path / "checkpoints"
    result(few, tmp_path, checkpoints=stored)
    steps: list[Step] = []
    assert result(more, tmp_path, checkpoints=stored, on_step=steps.append) == whole
    assert {step.replica for step in steps} == {2}
    assert (steps[0].epoch, steps[0].done) == (1, 1)


@pytest.mark.parametrize("replicas", [2, 1])
def test_a_finished_training_that_is_started_again_trains(replicas: int, tmp_path: Path) -> None:
    stored = tmp_path / "checkpoints"
    whole = result(run_config(model=SMALL, replicas=2), tmp_path, checkpoints=stored)
    config, steps = run_config(model=SMALL, replicas=replicas), list[Step]()
    again = result(config, tmp_path, checkpoints=stored, on_step=steps.append)
    assert (again == whole) is (replicas == 2)
    assert len(steps) == replicas * 2 * 3  # epochs, steps per epoch


def test_a_finished_replica_is_stored_without_the_state_of_its_optimizer(tmp_path: Path) -> None:
    config = run_config(model=SMALL)
    trained = train(config, data(), checkpoints=tmp_path)
    arrays, _ = read_tensors(tmp_path / "0.safetensors")
    assert set(arrays) == {f"net.{name}" for name in trained.weights[0]}


def test_a_checkpoint_of_other_data_is_not_used(interrupted: Path) -> None:
    assert first_step(run_config(model=SMALL), interrupted, seed=7) == (1, 1)


def test_the_key_of_a_checkpoint_covers_all_of_the_data() -> None:
    whole = data()
    assert whole.test is not None
    train, test = whole.train, whole.test
    other = np.ones_like(train.mean_image)
    changed = [
        replace(train, images=train.images + 1),
        replace(train, labels=train.labels[::-1]),
        replace(train, mean=[0.1, 0.2, 0.3]),
        replace(train, std=[0.1, 0.2, 0.3]),
        replace(train, mean_image=other),
        replace(train, classes=["other", *train.classes[1:]]),
    ]
    several = [whole, *(Data(one, test) for one in changed), Data(train, replace(test, labels=test.labels[::-1]))]
    several += [Data(train, None)]
    outputs = np.zeros((1, 2, 4), np.float32)
    keys = [keys_of(run_config(), one, None, {}) for one in several]
    keys += [keys_of(run_config(), whole, array, {}) for array in (outputs, outputs + 1)]
    keys += [keys_of(run_config(), whole, None, {"threads": 2}), keys_of(run_config(lr=0.5), whole, None, {})]
    keys += [keys_of(run_config(seed=1), whole, None, {})]
    assert len({key for found in keys for key in found}) == len(keys)
    assert keys_of(run_config(), data(), None, {}) == keys_of(run_config(replicas=9), data(), None, {}) == keys[0]


def test_a_checkpoint_of_another_torch_is_not_used(interrupted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__version__", "1.0")
    assert first_step(run_config(model=SMALL), interrupted) == (1, 1)


@pytest.mark.parametrize("place", [9, 40, 2000, -1])
def test_a_damaged_checkpoint_is_named_and_set_aside(
    place: int, interrupted: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = interrupted / "0.safetensors"
    content = bytearray(file.read_bytes())
    content[place] ^= 64
    file.write_bytes(content)
    assert first_step(run_config(model=SMALL), interrupted) == (1, 1)
    [line] = capfd.readouterr().err.splitlines()
    assert line.startswith(f"the checkpoint {file} is damaged (")
    assert "replica 0 is trained from its start" in line
    assert (interrupted / "0.damaged").read_bytes() == content


def test_a_truncated_checkpoint_is_set_aside(interrupted: Path) -> None:
    file = interrupted / "0.safetensors"
    for size in (0, 7, 100, file.stat().st_size - 1):
        content = file.read_bytes()
        file.write_bytes(content[:size])
        assert first_step(run_config(model=SMALL), interrupted) == (1, 1)
        file.write_bytes(content)


def test_without_checkpoints_sigterm_ends_the_process_as_usual() -> None:
    before = signal.getsignal(signal.SIGTERM)
    train(run_config(model=SMALL, epochs=1), data(), on_step=lambda step: check(before))
    assert signal.getsignal(signal.SIGTERM) is before


def check(handler: object) -> None:
    assert signal.getsignal(signal.SIGTERM) is handler


@pytest.mark.slow
def test_replicas_in_processes_stop_and_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = run_config(model=SMALL, replicas=3, epochs=40)
    whole = result(config, tmp_path)
    monkeypatch.setenv(WORKERS, "2")
    stored = tmp_path / "checkpoints"
    rows: list[Row] = []

    def on_epoch(row: Row) -> None:
        rows.append(row)
        if len(rows) == 10:
            sigterm()

    with pytest.raises(Stopped, match="run small: stopped"):
        train(config, data(), checkpoints=stored, on_epoch=on_epoch)
    assert len(rows) < 3 * 40
    assert {path.name for path in stored.iterdir()} <= {"0.safetensors", "1.safetensors", "2.safetensors"}
    steps: list[Step] = []
    assert result(config, tmp_path, checkpoints=stored, on_step=steps.append) == whole
    assert sum(step.images for step in steps) < 3 * 40 * 40 - 10 * 40  # the epochs before were not trained again
