"""Shared by the benchmarks: runs of params.yaml, data sets, and a description of the machine."""

import os
import platform
import sys
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

import numpy as np  # noqa: E402
import torch  # noqa: E402

from trainlab import config  # noqa: E402
from trainlab.config import RunConfig  # noqa: E402
from trainlab.data import stored  # noqa: E402
from trainlab.data.stored import Data  # noqa: E402


def run_config(run: str, precision: str, **changes: object) -> RunConfig:
    """Return a run with this precision, on the CPU, with one replica, and with other changed fields.

    It is a run of params.yaml, or of studies/params.yaml.
    """
    runs = config.resolve(config.load_params(ROOT / "params.yaml"))
    if run not in runs:
        runs = config.resolve(config.load_params(ROOT / "studies/params.yaml"), data=False)
    return runs[run].model_copy(update={"precision": precision, "device": "cpu", "replicas": 1, **changes})


def random_data(count: int) -> Data:
    """Return noise in the shape of CIFAR-10; the time of a step does not depend on the content of the images."""
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8), rng.integers(0, 10, count)
    mean_image = (images[:250].mean(0) / 255).astype(np.float32)
    split = stored.Dataset(images, labels, [str(c) for c in range(10)], [0.5] * 3, [0.29] * 3, mean_image)
    few = replace(split, images=images[:250], labels=labels[:250])
    return Data(split, few)


def real_data() -> Data:
    """Return the data set that the stage `normalize` wrote."""
    return stored.load_data(ROOT / "data/normalized")


def machine() -> str:
    """Return processor, cores and versions on one line."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        cpu = next(
            (line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")), cpu
        )
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{cpu}, {os.cpu_count()} cores, {capability}; torch {torch.__version__}, Python {platform.python_version()}"
