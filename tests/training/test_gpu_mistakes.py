"""Mistakes that only a GPU shows, found without one: tensors on different devices, and waits for the device in a step."""

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from torch._subclasses.fake_tensor import DynamicOutputShapeException
from torch.optim.adagrad import adagrad

from small import data
from training import fake_device as fakes
from training.fake_device import DEVICE, Wait, fake_device
from training.schema_samples import SCHEMA, choices, smallest_run
from trainlab import optimizers
from trainlab.config.schema import RunConfig
from trainlab.data.batches import Batches
from trainlab.training import loop, replicas
from trainlab.training.loop import Images, Replica, Row

DATA = data(count=10)
# Keys that only the host uses: before the first step, or between steps.
OF_THE_HOST = ["run", "suite", "seed", "replicas", "epochs", "batch_size", "lr", "threads", "device"]
OF_THE_HOST += ["subset", "validation", "teacher", "code"]
# The order of the images is copied to the device, and the losses are checked after the last step.
WAITS_OF_AN_EPOCH = {("Replica.epoch", "_to_copy"): 1, ("Replica._check_finite", "nonzero"): 1}


def run(**own: Any) -> RunConfig | None:
    """Return the smallest run with these keys, a student if its objective needs a teacher; None if it is not allowed."""
    for teacher in ("", "another"):
        with suppress(ValidationError):
            return RunConfig.model_validate({**smallest_run(), "teacher": teacher, **own})
    return None


def runs() -> dict[str, RunConfig]:
    """Return a run for each choice of each key that a step uses, and one for each model with each objective."""
    keys = [key for key in SCHEMA["properties"] if key not in OF_THE_HOST]
    differences = [{key: choice} for key in keys for choice in choices(key)]
    models, objectives = ({one["name"]: one for one in reversed(choices(key))} for key in ("model", "objective"))
    differences += [{"model": m, "objective": o} for m, o in product(models.values(), objectives.values())]
    found: dict[str, RunConfig] = {}
    initializers: list[Any] = []
    for own in differences:
        initializer = own.get("model", {}).get("initializer")
        if initializer in initializers:  # one model is enough
            continue
        initializers += [initializer] if initializer else []
        config = run(**own, batch_size=5 if "optimizer" in own else 10)  # an optimizer's state needs two steps
        if config and config not in found.values():
            found[", ".join(f"{key} {text(choice)}" for key, choice in own.items())] = config
    return found


def text(choice: Any) -> str:
    match choice:
        case {"name": name, **others}:
            return " ".join([name, *(f"{key}={text(value)}" for key, value in others.items())])
        case [item]:
            return text(item)
    return str(choice)


RUNS = runs()


def replica(config: RunConfig | None, **scored: Any) -> Replica:
    """Return a replica on the fake device, and its images; the keywords are scored after each epoch."""
    assert config is not None
    train, *others = (Batches(part, inputs=config.inputs, device=DEVICE) for part in (DATA.train, *scored.values()))
    teacher_outputs = np.zeros((1, 10, 4), np.float32) if config.teacher else None
    images = Images(train, dict(zip(scored, others, strict=True)), 4, teacher_outputs)
    return Replica(config, loop.build(config, DATA.train.shape, 4, DEVICE), images, 0)


def counted(waits: list[Wait]) -> dict[tuple[str, str], int]:
    return Counter((wait.function, wait.operation) for wait in waits)


def listed(waits: list[Wait]) -> str:
    return "\n".join(map(str, waits))


def test_every_component_is_covered() -> None:
    names = {part["properties"]["name"]["const"] for part in SCHEMA["$defs"].values() if "name" in part["properties"]}
    assert {component.name for config in RUNS.values() for component in config.components()} == names
    pairs = {(config.model.name, config.objective.name) for config in RUNS.values()}
    models, objectives = ([getattr(config, key) for config in RUNS.values()] for key in ("model", "objective"))
    assert pairs == {(m.name, o.name) for m, o in product(models, objectives) if m.has_head or not o.needs_head}


@pytest.mark.parametrize("config", RUNS.values(), ids=RUNS)
def test_steps_mix_no_devices_and_never_wait(config: RunConfig) -> None:
    with fake_device() as waits:
        training = replica(config)
        waits.clear()
        training.epoch(1)
    assert counted(waits) == WAITS_OF_AN_EPOCH, listed(waits)


def test_the_finite_check_waits_only_every_few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "GPU_CHECK_INTERVAL", 2)
    after_step: list[int] = []
    with fake_device() as waits:
        training = replica(run(batch_size=2))
        waits.clear()
        training.epoch(1, lambda step: after_step.append(len(waits)))
    assert after_step == [1, 2, 2, 3, 4], listed(waits)
    assert counted(waits) == {**WAITS_OF_AN_EPOCH, ("Replica._check_finite", "nonzero"): 3}


def test_a_row_waits_once_for_each_of_its_numbers() -> None:
    with fake_device() as waits:
        objective = {"name": "policy_gradient", "entropy_weight": 0.1, "baseline": True}
        training = replica(run(objective=objective, layer_statistics=True), test=DATA.test, validation=DATA.test)
        sums = training.epoch(1)
        waits.clear()
        row = training.row(sums)
    number = "_local_scalar_dense"
    assert counted(waits) == {
        ("EpochSums.mean_loss", number): 1,
        ("Replica.row", number): 1 + len(["reward", "entropy", "baseline", "baseline_loss"]),  # and the accuracy
        ("Replica._score", number): 2 * 2,
        ("LayerStatistics.row", number): 2 * len(["block1", "head"]),
    }, listed(waits)
    assert len(row) == len(["replica", "epoch", "lr", "accuracy_gap"]) + len(waits)


def test_a_whole_run_waits_nowhere_else() -> None:
    rows: list[Row] = []
    config = run(objective={"name": "teacher_student", "alpha": 0.5, "temperature": 1.0}, replicas=2, epochs=2)
    assert config is not None
    with fake_device() as waits:
        scores = np.zeros((1, 10, 4), np.float32)
        replicas.train(config, DATA, teacher_outputs=scores, on_epoch=rows.append, on_step=lambda step: None)
    assert len(rows) == 4
    by_function = Counter(wait.function for wait in waits)
    copies = {
        "Batches.__init__",
        "build",
        "Replica.__init__",
        "train_replica",
    }  # images, weights and the teacher's scores; the trained weights
    epochs = {"Replica.epoch", "Replica._check_finite", "EpochSums.mean_loss", "Replica.row", "Replica._score"}
    assert by_function.keys() == copies | epochs, listed(waits)
    assert by_function["Replica.epoch"] == by_function["Replica._check_finite"] == len(rows)


# What the fake device detects

WAITING: dict[str, tuple[Callable[[Tensor], object], str]] = {
    "float": (lambda x: float(x.sum()), "_local_scalar_dense"),
    "int": (lambda x: int(x.sum()), "_local_scalar_dense"),
    "bool": (lambda x: bool((x > 0).any()), "_local_scalar_dense"),
    "if": (lambda x: 1 if x.sum() > 0 else 0, "_local_scalar_dense"),
    "item": (lambda x: x.sum().item(), "_local_scalar_dense"),
    "equal": (lambda x: torch.equal(x, x), "equal"),
    "nonzero": (lambda x: torch.nonzero(x), "nonzero"),
    "where": (lambda x: torch.where(x > 0), "nonzero"),
    "bincount": (lambda x: torch.bincount(x.long()), "bincount"),
    "mask": (lambda x: x[x > 0], "index"),
    "write to a mask": (lambda x: x.index_put_((x > 0,), x[0]), "index_put_"),
    "positions on the CPU": (lambda x: x[torch.tensor([0, 1])], "index"),
    "cpu": (lambda x: x.cpu(), "_to_copy"),
    "to": (lambda x: x.to("cpu"), "_to_copy"),
    "copy to the CPU": (lambda x: torch.zeros(4).copy_(x), "copy_"),
    "copy from the CPU": (lambda x: x.copy_(torch.zeros(4)), "copy_"),
    "new tensor": (lambda x: torch.tensor([1.0], device=x.device), "_to_copy"),
}
MIXING: dict[str, Callable[[Tensor], object]] = {
    "add": lambda x: x + torch.zeros(4),
    "add in a list": lambda x: torch._foreach_add_([x], [torch.zeros(4)]),
    "stack": lambda x: torch.stack([x[0], torch.zeros(())]),
    "where": lambda x: torch.where(x > 0, torch.zeros(4), x),
    "select": lambda x: torch.zeros(4).index_select(0, x.long()),
    "positions": lambda x: torch.zeros(4)[x.long()],
    "fused optimizer": lambda x: torch._fused_adagrad_(
        [x], [x], [x], [torch.zeros(())], lr=1.0, lr_decay=0.0, weight_decay=0.0, eps=1.0, maximize=False
    ),
    "generator": lambda x: torch.rand(4, device=x.device, generator=torch.Generator()),
    "generator in place": lambda x: x.uniform_(generator=torch.Generator()),
    "autocast": lambda x: torch.autocast("cpu", dtype=torch.bfloat16),
    "numpy": lambda x: x.numpy(),
}
ASYNCHRONOUS: dict[str, Callable[[Tensor], object]] = {
    "scalar of the CPU": lambda x: x * torch.ones(()),
    "fill": lambda x: x.fill_(1.0),
    "write one": lambda x: x.__setitem__(0, x[1]),
    "masked fill": lambda x: x.masked_fill_(x > 0, 0.0),
    "positions": lambda x: x[torch.arange(2, device=x.device)],
    "dtype": lambda x: x.to(torch.float64),
    "number of the CPU": lambda x: torch.zeros(()).item(),
}


@pytest.mark.parametrize(("mistake", "operation"), WAITING.values(), ids=WAITING)
def test_a_wait_is_recorded_with_its_line(
    mistake: Callable[[Tensor], object], operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fakes, "SOURCE", Path(__file__))
    with fake_device() as waits, suppress(DynamicOutputShapeException):  # raised after the wait is recorded
        mistake(torch.zeros(4, device=DEVICE))
    assert [(wait.line, wait.operation) for wait in waits] == [(mistake.__code__.co_firstlineno, operation)]


@pytest.mark.parametrize("mistake", MIXING.values(), ids=MIXING)
def test_a_mixture_of_devices_raises(mistake: Callable[[Tensor], object]) -> None:
    with fake_device(), pytest.raises(RuntimeError):
        mistake(torch.zeros(4, device=DEVICE))


@pytest.mark.parametrize("harmless", ASYNCHRONOUS.values(), ids=ASYNCHRONOUS)
def test_an_operation_that_needs_no_values_is_no_wait(harmless: Callable[[Tensor], object]) -> None:
    with fake_device() as waits:
        harmless(torch.zeros(4, device=DEVICE))
    assert waits == []


def test_step_counters_on_the_device_are_found_in_the_optimizer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Adagrad without `foreach` reads each of them in each step."""
    start = optimizers.Adagrad.start

    def on_the_device(self: optimizers.Adagrad, parameters: list[Tensor]) -> optimizers.State:
        state = start(self, parameters)
        return {**state, "steps": [torch.zeros((), device=p.device) for p in parameters]}

    monkeypatch.setattr(optimizers.Adagrad, "start", on_the_device)
    monkeypatch.setattr(optimizers, "adagrad", lambda *args, **own: adagrad(*args, **{**own, "foreach": False}))
    with fake_device() as waits:
        training = replica(run(optimizer={"name": "adagrad", "eps": 1e-8}, batch_size=5))
        waits.clear()
        training.epoch(1)
    parameters = len(list(training.net.parameters()))
    assert counted(waits) == {**WAITS_OF_AN_EPOCH, ("Adagrad.step", "_local_scalar_dense"): 2 * parameters}
    assert {wait.file for wait in waits if wait.function == "Adagrad.step"} == {"optimizers.py"}
