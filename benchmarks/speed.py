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
import torch.nn.functional as F
import typer
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from trainlab.config import RunConfig
from trainlab.training import devices
from trainlab.training.loop import build
from trainlab.training.replicas import train

RUNS = {  # steps to warm up, and measured ones: about ten seconds
    "baseline": (20, 150),
    "dropout_conv": (20, 150),
    "softmax_cross_entropy": (3, 30),
    "record_94": (1, 4),
}
OF_NOTEBOOK = ("baseline", "dropout_conv")  # whose network the notebook has
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
        f"{common.machine()}\nrounds: {rounds}, each the median of {RUNS['baseline'][1]} steps (fewer of large networks)\n"
    )
    times: dict[tuple[str, str], list[float]] = {
        (run, loop): [] for run in RUNS for loop in LOOPS if run in OF_NOTEBOOK or loop != "notebook float32"
    }
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
    warm_up, steps = RUNS[run]
    config = common.run_config(run, precision, epochs=1)
    if kind == "convolutions":
        return statistics.median(convolutions(config, warm_up + steps)[warm_up:])
    data = common.random_data((warm_up + 1 + steps) * config.batch_size)
    if kind == "notebook":
        return statistics.median(notebook.train(config, data)[0][warm_up:])
    stamps: list[float] = []
    train(config, data, on_step=lambda step: stamps.append(time.perf_counter()))
    return statistics.median([b - a for a, b in itertools.pairwise(stamps)][warm_up:])


def run_seconds(replicas: int) -> float:
    """Measure the seconds of training `baseline` for one short epoch."""
    threads = 1 if replicas > 1 else loky.cpu_count()
    config = common.run_config("baseline", "float32", epochs=1, replicas=replicas, threads=threads)
    data = common.random_data(REPLICA_STEPS * config.batch_size)
    began = time.perf_counter()
    train(config, data, on_epoch=lambda row: None, on_step=lambda step: None)
    return time.perf_counter() - began


def convolutions(config: RunConfig, count: int) -> list[float]:
    """Return the seconds per step of a network's convolutions alone, forward and backward: the lower bound."""
    place = devices.prepare("cpu", config.threads)
    kind = getattr(torch, config.precision)
    found: list[tuple[nn.Conv2d, torch.Size, torch.Size]] = []

    def record(conv: nn.Module, inputs: tuple[Tensor], outputs: Tensor) -> None:
        assert isinstance(conv, nn.Conv2d)
        found.append((conv, inputs[0].shape[1:], outputs.shape[1:]))

    net = build(config, (3, 32, 32), 10, place)
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(record)
    net(torch.zeros(2, 3, 32, 32))

    work = []
    for number, (conv, shape, out) in enumerate(found):
        image, gradient = (
            torch.randn(config.batch_size, *s).to(kind, memory_format=torch.channels_last) for s in (shape, out)
        )
        work.append((conv.to(kind), image.requires_grad_(number > 0), gradient))  # images need no gradient
    seconds = []
    for _ in range(count):
        began = time.perf_counter()
        for conv, image, gradient in work:
            F.conv2d(image, conv.weight, conv.bias, conv.stride, conv.padding).backward(gradient)
        seconds.append(time.perf_counter() - began)
        for conv, image, _ in work:
            conv.zero_grad()
            image.grad = None
    return seconds


def show(times: dict[tuple[str, str], list[float]], console: Console) -> None:
    """Print medians and ratios."""
    table = Table(title="one training step: medians (lowest to highest)")
    for column in ("run", "loop", "ms per step", "speed / notebook's", "target", "time / convolutions'"):
        table.add_column(column, justify="left" if column in ("run", "loop") else "right")
    for (run, loop), values in times.items():
        precision = loop.split()[1]
        speedups = [a / b for a, b in zip(times.get((run, "notebook float32"), []), values, strict=False)]
        over_floor = [a / b for a, b in zip(values, times[run, f"convolutions {precision}"], strict=True)]
        target = TARGETS.get((run, loop))
        table.add_row(
            run,
            loop,
            f"{statistics.median(values) * 1e3:.1f}",
            f"{statistics.median(speedups):.2f}×  ({min(speedups):.2f} to {max(speedups):.2f})" if speedups else "",
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
