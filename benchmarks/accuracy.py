"""Compare the test accuracy of the project's training loop with the usual one: one full run, several seeds.

    python benchmarks/accuracy.py dropout_conv --seeds 3     # about 30 minutes on two cores

Needs the data set: run `dvc repro normalize` first.
"""

import statistics
import time
from typing import Annotated

import common
import notebook
import typer

from trainlab.config import RunConfig
from trainlab.data.stored import Data
from trainlab.training import devices
from trainlab.training.loop import Row
from trainlab.training.replicas import train


def main(
    run: Annotated[str, typer.Argument(help="A run of params.yaml.")] = "dropout_conv",
    seeds: Annotated[int, typer.Option(min=2, help="Number of seeds.")] = 3,
    loops: Annotated[
        str, typer.Option(help="Loops and precisions, separated by commas.")
    ] = "ours float32,ours bfloat16,notebook float32",
) -> None:
    """Train one run with each loop and compare the accuracies on the test images."""
    print(f"{run}, {seeds} seeds; {common.machine()}", flush=True)
    data = common.real_data()
    found: dict[str, list[float]] = {loop: [] for loop in loops.split(",")}
    for seed in range(seeds):
        for loop in found:
            began = time.perf_counter()
            found[loop].append(accuracy(loop, common.run_config(run, loop.split()[1], seed=seed), data))
            print(f"seed {seed}, {loop}: {found[loop][-1]:.2%} in {time.perf_counter() - began:.0f} s", flush=True)
    for loop, values in found.items():
        print(
            f"{loop}: mean {statistics.mean(values):.2%}, standard deviation {statistics.stdev(values):.2%}, n = {seeds}"
        )


def accuracy(loop: str, config: RunConfig, data: Data) -> float:
    """Return the accuracy on the test images at the end of training."""
    devices.prepare("cpu", config.threads)  # the same allocator settings for both loops
    if loop.startswith("notebook"):
        return notebook.train(config, data)[1]
    rows: list[Row] = []
    train(config, data, on_epoch=rows.append)
    return rows[-1]["test_accuracy"]


if __name__ == "__main__":
    typer.run(main)
