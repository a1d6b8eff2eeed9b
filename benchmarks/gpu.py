"""A GPU: seconds per epoch against the usual notebook loop, replicas, and whether the same seed gives the same bytes.

    python benchmarks/gpu.py                      # needs data/normalized (`dvc repro normalize`), about five minutes
    python benchmarks/gpu.py --device cpu --images 2000 --epochs 2    # a trial without a GPU

Every measurement is a median over epochs; the first epoch, which compiles and allocates, is left out.
"""

import hashlib
import itertools
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import common
import notebook
import numpy as np
import torch
import typer

from trainlab.config import RunConfig
from trainlab.data.stored import Data
from trainlab.errors import UserError
from trainlab.training import devices
from trainlab.training.replicas import train

RUNS = ("baseline", "dropout_conv", "softmax_cross_entropy")
REPLICAS = 6


def main(
    device: Annotated[Literal["cuda", "cpu"], typer.Option(help="Where to train.")] = "cuda",
    images: Annotated[int, typer.Option(min=100, help="Training images.")] = 50_000,
    epochs: Annotated[int, typer.Option(min=2, help="Epochs per measurement.")] = 4,
    workers: Annotated[int, typer.Option(min=1, help="Processes of the notebook's DataLoader, beside none.")] = 8,
) -> None:
    """Measure training on a GPU, and print one line per measurement."""
    devices.prepare(device, 1)  # says what is missing
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    print(f"{name}; {common.machine()}; {images:,} images, {epochs} epochs per measurement", flush=True)
    data = common.real_data()
    data = Data(replace(data.train, images=data.train.images[:images], labels=data.train.labels[:images]), data.test)
    changes = {"device": device, "epochs": epochs}

    digests = {digest(common.run_config("dropout_conv", "float32", **changes), data) for _ in range(2)}
    print(f"same seed, same bytes: {len(digests) == 1}", flush=True)

    for run in RUNS:
        config = common.run_config(run, "float32", **changes)
        usual = {}
        if config.suite == "tricks":  # the notebook has their network
            for count in (0, workers):
                usual[count] = notebook_seconds(config, data, count)
                print(f"{run}, notebook, {count} workers: {usual[count]:.3f} s per epoch", flush=True)
        for precision in ("float32", "tf32", "bfloat16"):
            seconds = epoch_seconds(config.model_copy(update={"precision": precision}), data)
            ratios = ", ".join(f"{value / seconds:.1f}x with {count} workers" for count, value in usual.items())
            print(
                f"{run}, {precision}: {seconds:.3f} s per epoch {f'(notebook: {ratios})' if ratios else ''}", flush=True
            )

    times = [
        whole_seconds(common.run_config("baseline", "bfloat16", **changes, replicas=n), data) for n in (1, REPLICAS)
    ]
    print(f"{REPLICAS} replicas take {times[1] / times[0]:.2f} times as long as one ({times[0]:.2f} s)")


def digest(config: RunConfig, data: Data) -> str:
    """Return the checksum of a run's model file."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "model.safetensors"
        train(config, data).save(path)
        return hashlib.sha256(path.read_bytes()).hexdigest()


def epoch_seconds(config: RunConfig, data: Data) -> float:
    """Return the median seconds of an epoch, without scoring."""
    stamps: list[float] = []
    train(config, Data(data.train, None), on_epoch=lambda row: stamps.append(time.perf_counter()))
    return statistics.median(b - a for a, b in itertools.pairwise(stamps))


def notebook_seconds(config: RunConfig, data: Data, workers: int) -> float:
    """Return the median seconds of an epoch of the notebook's loop, without scoring."""
    steps = notebook.train(config, data, workers)[0]
    return float(np.median(np.reshape(steps, (config.epochs, -1)).sum(1)[1:]))


def whole_seconds(config: RunConfig, data: Data) -> float:
    """Return the seconds of a whole training."""
    began = time.perf_counter()
    train(config, Data(data.train, None))
    return time.perf_counter() - began


if __name__ == "__main__":
    try:
        typer.run(main)
    except UserError as error:
        sys.exit(f"benchmarks/gpu.py: {error}")
