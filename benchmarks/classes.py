"""Cost of the last layer against the number of classes: full softmax cross entropy and sampled softmax.

    python benchmarks/classes.py                                                # 10 to 1,000,000 classes, 5 rounds
    python benchmarks/classes.py --rounds 1 --largest 1000 --picture /tmp/x.png # a quick test

Each piece of the layer is timed separately, in float32:

- *full softmax*, *sampled softmax*: the loss and its gradients with respect to the features, the weights and the biases.
- *its dense gradient*: a part of sampled softmax. The loss reads a few rows of the weights, but the backward pass of indexing
  creates a gradient of the whole layer: zeros to which the few rows are added. Memory traffic grows with the classes.
- *sampled, rows alone*: the same loss and gradients without that part: rows are gathered, and only they have gradients.
- *SGD*, *Adam*: an optimizer's step over the whole layer, which grows with the classes for either loss.
- *SGD, rows alone*: the same update as SGD, applied only to the rows that have a gradient.
- *all scores*: scores of all classes without gradients. The training loop computes them in each step for the training
  accuracy if the objective does not. (The following argmax is the same for both objectives and is not timed.)

Each round measures each size in a separate process and starts with a different piece. Ratios are computed within a round;
medians over rounds are printed.
"""

import itertools
import json
import math
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import common
import matplotlib.style
import psutil
import torch
import typer
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table
from torch import Generator, Tensor, autograd, nn

from trainlab.evaluation import plots
from trainlab.objectives.sampled_softmax import SampledSoftmax
from trainlab.objectives.softmax_cross_entropy import SoftmaxCrossEntropy
from trainlab.optimizers import Adam, Sgd, _Optimizer
from trainlab.training import devices

SIZES = (10, 100, 1_000, 10_000, 100_000, 1_000_000)
FEATURES = 64
PICTURE = Path(__file__).with_suffix(".png")
RATE = 1e-6  # small, so that the weights hardly change between pieces
# A piece is repeated for this time, within these bounds on the number of steps: a step takes 0.1 ms at ten classes and
# seconds at a million.
WARM_UP_STEPS, WARM_UP_SECONDS = (2, 20), 0.3
STEPS, SECONDS = (7, 200), 1.5

Pieces = dict[str, float]  # median seconds of each piece in one round
Times = dict[int, list[Pieces]]  # by number of classes: one entry per round
# Which pieces make up a step: (pieces in the numerator, pieces in the denominator).
RATIOS = {
    "loss alone": (("full softmax",), ("sampled softmax",)),
    "with SGD": (("full softmax", "SGD"), ("sampled softmax", "SGD")),
    "with Adam": (("full softmax", "Adam"), ("sampled softmax", "Adam")),
    "SGD and all scores": (("full softmax", "SGD"), ("sampled softmax", "SGD", "all scores")),
    "rows alone, SGD": (("full softmax", "SGD"), ("sampled, rows alone", "SGD, rows alone")),
}


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Number of rounds; each measures everything once.")] = 5,
    largest: Annotated[int, typer.Option(min=10, help="Skip larger numbers of classes.")] = SIZES[-1],
    samples: Annotated[int, typer.Option(min=1, help="Classes that sampled softmax draws per step.")] = 100,
    batch: Annotated[int, typer.Option(min=1, help="Images per step.")] = 128,
    threads: Annotated[int, typer.Option(min=1, help="Number of CPU threads.")] = 2,
    picture: Annotated[Path, typer.Option(help="File of the picture.")] = PICTURE,
    one: Annotated[str, typer.Option(hidden=True)] = "",
) -> None:
    """Compare the time of full and sampled softmax in the last layer, for 10 to 1,000,000 classes."""
    devices.prepare("cpu", threads)
    if one:
        classes, number = map(int, one.split())
        print(json.dumps(measure(Layer(classes, batch, samples), number)))
        return
    console = Console(soft_wrap=True, width=None if sys.stdout.isatty() else 120)
    setting = (
        f"a batch of {batch}, {FEATURES} features, {samples} samples, float32, threads: {threads}; rounds: {rounds}"
    )
    console.print(f"{common.machine()}\n{setting}, each the median of {STEPS[0]} to {STEPS[1]} steps\n")
    check(Layer(1_000, batch, samples))
    times: Times = {size: [] for size in SIZES if size <= largest and room_for(size, batch, console)}
    for number in range(rounds):
        for size in list(times):
            options = ("--samples", samples, "--batch", batch, "--threads", threads)
            pieces = measured_apart(["--one", f"{size} {number}", *map(str, options)])
            if pieces is None:
                console.print(f"{size:,} classes skipped: the process ran out of memory in round {number + 1}")
                del times[size]
            else:
                times[size].append(pieces)
        line = ", ".join(
            f"{size:,}: {values[-1]['full softmax'] * 1e3:.2f} and {values[-1]['sampled softmax'] * 1e3:.2f}"
            for size, values in times.items()
        )
        console.print(f"round {number + 1}: full and sampled {line} ms", style="dim")
    if not times:
        raise SystemExit("nothing was measured: free some memory, or lower --largest or --batch")
    show(times, console)
    draw(times, f"{common.machine()}\nLast layer alone: {setting}.").save(picture)
    console.print(f"Picture: {picture}")


def room_for(classes: int, batch: int, console: Console) -> bool:
    """Return whether half of the available memory is enough; the other half is left to other processes."""
    # Full softmax needs four tensors of [batch, classes] (scores, log-softmax and the gradients of both). Adam needs four
    # times the size of the layer.
    need = 4 * classes * (4 * batch + 4 * (FEATURES + 1))
    half: float = psutil.virtual_memory().available / 2
    if need > half:
        console.print(
            f"{classes:,} classes skipped: {need / 1e9:.1f} GB needed, half of the available memory is {half / 1e9:.1f} GB"
        )
    return need <= half


def measured_apart(options: list[str]) -> Pieces | None:
    """Measure each piece at one size in a new process; return None if it runs out of memory."""
    done = subprocess.run([sys.executable, __file__, *options], capture_output=True, text=True, timeout=3600)
    if done.returncode == -signal.SIGKILL or "allocate memory" in done.stderr:
        return None
    if done.returncode:
        raise SystemExit(done.stderr)
    pieces: Pieces = json.loads(done.stdout.splitlines()[-1])
    return pieces


class Layer:
    """A last layer, its input features, and labels and samples that differ in each step."""

    def __init__(self, classes: int, batch: int, samples: int) -> None:
        torch.manual_seed(0)
        self.classes, self.batch = classes, batch
        self.head = nn.Linear(FEATURES, classes)
        self.features = torch.randn(batch, FEATURES, requires_grad=True)
        self.parameters: list[Tensor] = list(self.head.parameters())
        self.sampled = SampledSoftmax(name="sampled_softmax", n_samples=samples)
        self.full = SoftmaxCrossEntropy(name="softmax_cross_entropy")
        self.generator = Generator().manual_seed(0)
        steps = len(PIECES) * (WARM_UP_STEPS[1] + STEPS[1])
        self.labels = itertools.cycle(torch.randint(classes, (steps, batch)))
        self.rows = itertools.cycle(torch.randint(classes, (steps, batch + samples)))  # of the labels and the samples

    def draw(self) -> dict[str, Tensor]:
        """Draw the samples of one step."""
        return self.sampled.draw(self.batch, self.classes, generator=self.generator)

    def free_gradients(self) -> None:
        """Free the gradients of the features and the parameters."""
        self.features.grad = self.head.weight.grad = self.head.bias.grad = None


# Each piece is a function that returns a repeatable step for a layer. A step frees its gradients, as training does.
Step = Callable[[], object]


def full_softmax(layer: Layer) -> Step:
    """Return a step that computes the full softmax cross entropy and its gradients."""

    def step() -> None:
        autograd.backward(layer.full.loss(layer.head(layer.features), next(layer.labels), {})[0])
        layer.free_gradients()

    return step


def sampled_softmax(layer: Layer) -> Step:
    """Return a step that computes sampled softmax and its gradients."""

    def step() -> None:
        labels = next(layer.labels)
        autograd.backward(layer.sampled.loss_from_features(layer.features, layer.head, labels, layer.draw())[0])
        layer.free_gradients()

    return step


def dense_gradient(layer: Layer) -> Step:
    """Return a step that creates the dense gradients of sampled softmax, as the backward pass of indexing does."""
    rows = next(layer.rows)
    gradients = [torch.ones_like(p[rows]) for p in layer.parameters]

    @torch.no_grad()
    def step() -> None:
        rows = next(layer.rows)
        for parameter, gradient in zip(layer.parameters, gradients, strict=True):
            torch.zeros_like(parameter).index_put_((rows,), gradient, accumulate=True)

    return step


def rows_alone(layer: Layer) -> Step:
    """Return a step that computes sampled softmax and the gradients of the needed rows only."""

    def step() -> None:
        autograd.backward(loss_of_rows(layer, next(layer.labels), layer.draw()["samples"])[0])
        layer.free_gradients()

    return step


def loss_of_rows(layer: Layer, labels: Tensor, samples: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return sampled softmax, and the copies of the needed weights and biases that receive its gradients."""
    needed = torch.cat([labels, samples])
    weight, bias = (parameter.detach()[needed].requires_grad_() for parameter in layer.parameters)
    of_label = (layer.features * weight[: len(labels)]).sum(1, keepdim=True) + bias[: len(labels), None]
    of_samples = layer.features @ weight[len(labels) :].T + bias[len(labels) :]
    return layer.sampled._loss(of_label, of_samples, labels, samples, layer.classes), weight, bias


def sgd(layer: Layer) -> Step:
    """Return a step of SGD over the whole layer."""
    return _dense_step(layer, Sgd(name="sgd"))


def adam(layer: Layer) -> Step:
    """Return a step of Adam over the whole layer."""
    return _dense_step(layer, Adam(name="adam", beta1=0.9, beta2=0.999, eps=1e-8))


def _dense_step(layer: Layer, optimizer: _Optimizer) -> Step:
    gradients, state = [torch.full_like(p, 1e-3) for p in layer.parameters], optimizer.start(layer.parameters)
    return lambda: optimizer.step(layer.parameters, gradients, state, RATE)


def sgd_of_rows(layer: Layer) -> Step:
    """Return a step of SGD over the rows that have a gradient."""
    rows = next(layer.rows)
    gradients = [torch.full_like(p[rows], 1e-3) for p in layer.parameters]

    @torch.no_grad()
    def step() -> None:
        rows = next(layer.rows)
        for parameter, gradient in zip(layer.parameters, gradients, strict=True):
            parameter.index_add_(0, rows, gradient, alpha=-RATE)

    return step


def all_scores(layer: Layer) -> Step:
    """Return a step that computes the scores of all classes without gradients."""
    return torch.no_grad()(lambda: layer.head(layer.features))


PIECES: dict[str, Callable[[Layer], Step]] = {
    "full softmax": full_softmax,
    "sampled softmax": sampled_softmax,
    "its dense gradient": dense_gradient,
    "sampled, rows alone": rows_alone,
    "SGD": sgd,
    "Adam": adam,
    "SGD, rows alone": sgd_of_rows,
    "all scores": all_scores,
}


def measure(layer: Layer, number: int) -> Pieces:
    """Measure the median seconds of each piece in this process, starting with the ``number``-th."""
    names = list(PIECES)
    names = names[number % len(names) :] + names[: number % len(names)]
    return {name: step_seconds(PIECES[name](layer)) for name in names}


def step_seconds(step: Step) -> float:
    """Measure the median seconds of a step."""
    repeated(step, WARM_UP_STEPS, WARM_UP_SECONDS)
    return statistics.median(repeated(step, STEPS, SECONDS))


def repeated(step: Step, bounds: tuple[int, int], duration: float) -> list[float]:
    """Repeat a step for ``duration`` seconds, within bounds on the number of steps; return the seconds per step."""
    seconds: list[float] = []
    while len(seconds) < bounds[0] or (len(seconds) < bounds[1] and sum(seconds) < duration):
        began = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - began)
    return seconds


def check(layer: Layer) -> None:
    """Raise an error if the rows alone give another loss, other gradients or other weights than the library."""
    labels, draws = next(layer.labels), layer.draw()
    rows = torch.cat([labels, draws["samples"]])
    loss = layer.sampled.loss_from_features(layer.features, layer.head, labels, draws)[0]
    autograd.backward(loss)
    assert layer.features.grad is not None
    in_features, dense = layer.features.grad, [p.grad for p in layer.parameters if p.grad is not None]
    by_library, by_rows = ([p.detach().clone() for p in layer.parameters] for _ in range(2))
    Sgd(name="sgd").step(by_library, dense, {}, 0.1)
    layer.free_gradients()
    of_rows, *copies = loss_of_rows(layer, labels, draws["samples"])
    autograd.backward(of_rows)
    for parameter, copy in zip(by_rows, copies, strict=True):
        assert copy.grad is not None
        parameter.index_add_(0, rows, copy.grad, alpha=-0.1)
    torch.testing.assert_close(of_rows, loss)
    torch.testing.assert_close(layer.features.grad, in_features)
    torch.testing.assert_close(by_rows, by_library)
    layer.free_gradients()


def show(times: Times, console: Console) -> None:
    """Print medians, their growth, and ratios."""
    sizes = list(times)
    table = Table(title="ms per step, medians, by number of classes")
    table.add_column("piece", no_wrap=True)
    for size in sizes:
        table.add_column(f"{size:,}", justify="right")
    table.add_column("growth", justify="right")
    for name in PIECES:
        growth = ratios(times[sizes[-1]], (name,), times[sizes[0]], (name,))
        medians = (short(statistics.median(values[name] for values in times[size]) * 1e3) for size in sizes)
        table.add_row(name, *medians, f"{short(statistics.median(growth))}×")
    console.print(table)
    table = Table(title="time of full softmax / time of sampled softmax: medians (lowest to highest)")
    table.add_column("classes", justify="right")
    for name in RATIOS:
        table.add_column(name, justify="right")
    for size, values in times.items():
        cells = (ratios(values, slower, values, quicker) for slower, quicker in RATIOS.values())
        table.add_row(
            f"{size:,}", *(f"{short(statistics.median(c))}×\n({short(min(c))} to {short(max(c))})" for c in cells)
        )
    console.print(table)
    share = ratios(times[sizes[-1]], ("its dense gradient",), times[sizes[-1]], ("sampled softmax",))
    console.print(
        f"At {sizes[-1]:,} classes the dense gradient is {statistics.median(share):.0%} of sampled softmax's loss and gradients."
    )


def short(value: float) -> str:
    """Return a number with three significant digits, without an exponent."""
    return f"{value:,.{max(0, 2 - math.floor(math.log10(value)))}f}"


def ratios(above: list[Pieces], top: Sequence[str], below: list[Pieces], bottom: Sequence[str]) -> list[float]:
    """Return the ratio of two sums of pieces, per round."""
    return [sum(a[p] for p in top) / sum(b[p] for p in bottom) for a, b in zip(above, below, strict=True)]


def draw(times: Times, caption: str) -> plots.Picture:
    """Draw three panels on logarithmic axes: the losses, the other parts of a step, and whole steps with SGD."""
    purple, red, green, blue, pink, *_ = plots.PALETTE
    panels: dict[str, dict[str, tuple[tuple[str, ...], str, str]]] = {
        "loss and gradients": {
            "full softmax": (("full softmax",), purple, "-"),
            "sampled softmax": (("sampled softmax",), red, "-"),
            "its dense gradient": (("its dense gradient",), red, ":"),
            "sampled, rows alone": (("sampled, rows alone",), green, "-"),
        },
        "other parts of a step": {
            "scores of all classes": (("all scores",), blue, "-"),
            "Adam": (("Adam",), pink, "-"),
            "SGD": (("SGD",), purple, "-"),
            "SGD, rows alone": (("SGD, rows alone",), green, "-"),
        },
        "a whole step, SGD": {
            "full softmax": (RATIOS["with SGD"][0], purple, "-"),
            "sampled, and all scores": (RATIOS["SGD and all scores"][1], blue, "-"),
            "sampled softmax": (RATIOS["with SGD"][1], red, "-"),
            "sampled, rows alone": (RATIOS["rows alone, SGD"][1], green, "-"),
        },
    }
    with matplotlib.style.context(["default", plots.STYLE]):
        figure = Figure(figsize=(11, 3.9))
        for axes, (title, lines) in zip(figure.subplots(1, 3, sharey=True), panels.items(), strict=True):
            for label, (pieces, color, dash) in lines.items():
                rounds = [[sum(values[p] for p in pieces) * 1e3 for values in times[size]] for size in times]
                axes.plot(list(times), list(map(statistics.median, rounds)), dash, color=color, marker=".", label=label)
                low, high = list(map(min, rounds)), list(map(max, rounds))
                axes.fill_between(list(times), low, high, color=color, alpha=0.15, linewidth=0)
            axes.set(xscale="log", yscale="log", title=title, xlabel="classes")
            axes.grid(axis="y")
            axes.legend(fontsize=7.5, frameon=False, loc="upper left")
        figure.axes[0].set_ylabel("ms per step")
        note = f"{caption} Lines: medians of the rounds; bands: lowest to highest."
        figure.supxlabel(note, x=0.01, ha="left", fontsize=7.5, color="#555555")
    return plots.Picture(figure)


if __name__ == "__main__":
    typer.run(main)
