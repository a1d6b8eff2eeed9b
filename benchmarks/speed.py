"""Time of a training step (the usual notebook loop, the project's loop, the convolutions alone) and of six replicas.

    python benchmarks/speed.py              # 5 rounds, about 15 minutes on two cores
    python benchmarks/speed.py --rounds 2

Each measurement runs in a separate process, because the project's loop changes the allocator settings. Measurements alternate,
so that load on the machine affects all of them. Ratios are computed within a round; medians over rounds are printed.
"""

import itertools
import json
import statistics
import subprocess
import sys
import time
from typing import Annotated

import common
import loky
import notebook
import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import nn

from trainlab.training import devices
from trainlab.training.replicas import train

WARM_UP, STEPS = 20, 150
RUNS = ("baseline", "dropout_conv")
LOOPS = ("notebook float32", "ours float32", "ours bfloat16", "convolutions float32", "convolutions bfloat16")
REPLICA_STEPS = 1000  # per replica: long against the start of its process
REPLICAS = {"one replica, all cores": 1, "six replicas, one thread each": 6}
TARGETS = {
    ("baseline", "ours float32"): 2.3,
    ("baseline", "ours bfloat16"): 3.2,
    ("dropout_conv", "ours float32"): 3.4,
    ("dropout_conv", "ours bfloat16"): 4.5,
}


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Number of rounds; each measures everything once.")] = 5,
    one: Annotated[str, typer.Option(hidden=True)] = "",
) -> None:
    """Compare the time of a training step between the project's loop and the usual notebook loop."""
    if one:
        print(json.dumps(step_seconds(*one.split(maxsplit=1))))
        return
    console = Console(soft_wrap=True, width=None if sys.stdout.isatty() else 120)
    console.print(
        f"{common.machine()}\nrounds: {rounds}, each the median of {STEPS} steps of 64 images after {WARM_UP} warm-up steps\n"
    )
    times: dict[tuple[str, str], list[float]] = {(run, loop): [] for run in RUNS for loop in LOOPS}
    for number in range(rounds):
        for run, loop in times:
            times[run, loop].append(measured_apart(f"{run} {loop}"))
        line = ", ".join(
            f"{run} {loop} {values[-1] * 1e3:.1f}" for (run, loop), values in times.items() if "conv" not in loop
        )
        console.print(f"round {number + 1}: {line} ms", style="dim")
    show(times, console)
    seconds: dict[str, list[float]] = {what: [] for what in REPLICAS}
    for _ in range(rounds):
        for what, values in seconds.items():
            values.append(measured_apart(f"replicas {what}"))
    show_replicas(seconds, console)


def measured_apart(what: str) -> float:
    """Measure the median seconds of a step in a new process."""
    done = subprocess.run([sys.executable, __file__, "--one", what], capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise SystemExit(done.stderr)
    return float(json.loads(done.stdout.splitlines()[-1]))


def step_seconds(run: str, loop: str) -> float:
    """Measure the median seconds of a step in this process, or the seconds of a whole run with replicas."""
    if run == "replicas":
        return run_seconds(REPLICAS[loop])
    kind, precision = loop.split()
    if kind == "convolutions":
        return statistics.median(convolutions(precision)[WARM_UP:])
    config = common.run_config(run, precision, epochs=1)
    data = common.random_data((WARM_UP + STEPS) * config.batch_size)
    if kind == "notebook":
        return statistics.median(notebook.train(config, data)[0][WARM_UP:])
    stamps: list[float] = []
    train(config, data, on_step=lambda step: stamps.append(time.perf_counter()))
    return statistics.median([b - a for a, b in itertools.pairwise(stamps)][WARM_UP:])


def run_seconds(replicas: int) -> float:
    """Measure the seconds of training `baseline` for one short epoch."""
    threads = 1 if replicas > 1 else loky.cpu_count()
    config = common.run_config("baseline", "float32", epochs=1, replicas=replicas, threads=threads)
    data = common.random_data(REPLICA_STEPS * config.batch_size)
    began = time.perf_counter()
    train(config, data, on_epoch=lambda row: None, on_step=lambda step: None)
    return time.perf_counter() - began


def convolutions(precision: str) -> list[float]:
    """Return the seconds per step of the three convolutions of tf_cnn alone, forward and backward: the lower bound."""
    devices.prepare("cpu", common.run_config("baseline", precision).threads)
    kind = getattr(torch, precision)
    shapes = [(3, 32, 32), (32, 15, 15), (64, 6, 6)]
    channels = ((3, 32), (32, 64), (64, 64))
    convs = [nn.Conv2d(a, b, 3, dtype=kind).to(memory_format=torch.channels_last) for a, b in channels]
    inputs = [torch.randn(64, *shape).to(kind, memory_format=torch.channels_last) for shape in shapes]
    for image in inputs[1:]:
        image.requires_grad_()
    gradients = [torch.randn_like(conv(image)) for conv, image in zip(convs, inputs, strict=True)]
    seconds = []
    for _ in range(WARM_UP + STEPS):
        began = time.perf_counter()
        for conv, image, gradient in zip(convs, inputs, gradients, strict=True):
            conv(image).backward(gradient)
        seconds.append(time.perf_counter() - began)
        for tensor in (*inputs, *(p for conv in convs for p in conv.parameters())):
            tensor.grad = None
    return seconds


def show(times: dict[tuple[str, str], list[float]], console: Console) -> None:
    """Print medians and ratios."""
    table = Table(title="one training step of 64 images: medians (lowest to highest)")
    for column in ("run", "loop", "ms per step", "speed / notebook's", "target", "time / convolutions'"):
        table.add_column(column, justify="left" if column in ("run", "loop") else "right")
    for (run, loop), values in times.items():
        precision = loop.split()[1]
        speedups = [a / b for a, b in zip(times[run, "notebook float32"], values, strict=True)]
        over_floor = [a / b for a, b in zip(values, times[run, f"convolutions {precision}"], strict=True)]
        target = TARGETS.get((run, loop))
        table.add_row(
            run,
            loop,
            f"{statistics.median(values) * 1e3:.1f}",
            f"{statistics.median(speedups):.2f}×  ({min(speedups):.2f} to {max(speedups):.2f})",
            f"≥ {target}" if target else "",
            f"{statistics.median(over_floor):.2f}×",
        )
    console.print(table)


def show_replicas(seconds: dict[str, list[float]], console: Console) -> None:
    """Print medians of the times of whole runs, and the ratio."""
    table = Table(title=f"training `baseline` for {REPLICA_STEPS} steps: medians (lowest to highest)")
    for column in ("what", "seconds", "time / one replica's", "target"):
        table.add_column(column, justify="left" if column == "what" else "right")
    one, six = seconds.values()
    ratios = [b / a for a, b in zip(one, six, strict=True)]
    target = "≤ 5 on two cores, ≤ 1.3 on six or more"
    for what, values in seconds.items():
        ratio = (
            f"{statistics.median(ratios):.2f}×  ({min(ratios):.2f} to {max(ratios):.2f})" if values is six else "1.00×"
        )
        table.add_row(what, f"{statistics.median(values):.1f}", ratio, target if values is six else "")
    console.print(table)


if __name__ == "__main__":
    typer.run(main)
