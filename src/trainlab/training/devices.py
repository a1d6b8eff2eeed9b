"""The device that computes: choose it, set up this process for it, and describe it."""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import loky
import torch

from trainlab.errors import UserError

WORKERS = "TRAINLAB_WORKERS"  # environment variable: replicas to train or to score at the same time, at most
BFLOAT16_INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "avx10_2", "bf16", "sve_bf16")  # of x86 and of ARM CPUs

# A result of a larger machine can be repeated on a smaller one; many more threads end the process, because each takes memory.
THREADS = 128
THREADS_PER_CORE = 8


def choose(device: str) -> torch.device:
    """Return the device of this name.

    Parameters
    ----------
    device
        `auto` (a GPU if there is one), `cpu` or `cuda`.

    Raises
    ------
    UserError
        If the device is `cuda` and there is no GPU.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "device is cuda, and PyTorch finds no GPU: set `device: auto` or `cpu`, or install a matching NVIDIA driver"
        )
    return torch.device(device)


def prepare(device: str, threads: int) -> torch.device:
    """Choose the device and set up this process for fast, repeatable arithmetic on it.

    float32 means IEEE float32 afterwards, on a GPU too; :func:`float32_arithmetic` changes that inside a block.

    Parameters
    ----------
    device
        As for :func:`choose`.
    threads
        Number of CPU threads, ≥ 1. It is part of a result's definition, because another number rounds differently.

    Raises
    ------
    UserError
        If the device is `cuda` and there is no GPU, or if this machine cannot run so many threads.
    """
    place = choose(device)
    most = max(THREADS, THREADS_PER_CORE * (os.cpu_count() or 1))
    if threads > most:
        raise UserError(
            f"threads is {threads}, and this machine has {os.cpu_count()} cores: set at most {most}; more threads than cores"
            f" are slower"
        )
    _keep_memory()
    # Weights that decay towards zero become denormal numbers, which some CPUs compute slowly: on an Intel Xeon an epoch of
    # weight_decay took ten times as long. Before the threads are started, which inherit it.
    torch.set_flush_denormal(True)
    torch.set_num_threads(threads)
    _set_float32("ieee")
    if place.type == "cuda":
        # cuBLAS gives the same bits only with a fixed workspace.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    return place


def workers(replicas: int, threads: int, device: torch.device) -> int:
    """Return how many replicas of a run are trained or scored at the same time.

    On a CPU: as many as its cores allow with this number of threads each, and at most ``TRAINLAB_WORKERS``, if that
    environment variable is set. On a GPU: one.

    Raises
    ------
    UserError
        If ``TRAINLAB_WORKERS`` is not a positive whole number.
    """
    text = os.environ.get(WORKERS, "")
    if text and not (text.isdecimal() and int(text) > 0):
        raise UserError(f"{WORKERS} is {text!r}: set it to a whole number from 1, or leave it unset")
    if device.type != "cpu":
        return 1
    limit = int(text) if text else max(1, loky.cpu_count() // threads)
    return min(replicas, limit)


@contextmanager
def float32_arithmetic(arithmetic: Literal["ieee", "tf32"]) -> Iterator[None]:
    """Compute products of float32 tensors on a GPU in IEEE float32 or in TensorFloat-32 inside the block.

    TensorFloat-32 rounds the factors to 10 bits of mantissa. CPUs compute in IEEE float32 either way.
    """
    before = [backend.fp32_precision for backend in _float32_backends()]
    _set_float32(arithmetic)
    try:
        yield
    finally:
        for backend, setting in zip(_float32_backends(), before, strict=True):
            backend.fp32_precision = setting


def _set_float32(arithmetic: str) -> None:
    for backend in _float32_backends():
        backend.fp32_precision = arithmetic


def _float32_backends() -> tuple[Any, ...]:
    """Return the settings of a GPU's convolutions (TF32 by torch's default), recurrent layers and matrix products."""
    cudnn: Any = torch.backends.cudnn
    return cudnn.conv, cudnn.rnn, torch.backends.cuda.matmul


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's global generators of the CPU and of this device inside the block, and restore them after it.

    No other GPU is touched: even asking for its state would start CUDA on it.
    """
    gpus = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=gpus):
        torch.default_generator.manual_seed(seed)
        if gpus:
            torch.cuda.manual_seed(seed)
        yield


def describe(device: torch.device, precision: str) -> dict[str, Any]:
    """Return what the bits of a result depend on besides its configuration.

    Parameters
    ----------
    device
        Where the result was computed.
    precision
        The configured precision.

    Returns
    -------
    dict
        ``device``: `cpu` or the GPU's name. ``cpu_capability``: instruction set that torch uses. ``threads``: CPU threads.
        ``torch``: its version. ``precision``: the precision that was used; `tf32` is `float32` on a device without it.
    """
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "precision": "float32" if precision == "tf32" and not _has_tf32(device) else precision,
    }


def slow_arithmetic(device: torch.device, precision: str) -> str:
    """Return one line if this precision is emulated on this device, which is slow; an empty string if it is not."""
    if device.type != "cpu" or precision != "bfloat16" or _has_bfloat16():
        return ""
    return (
        "this CPU has no bfloat16 instructions, so bfloat16 is emulated and slow: `precision: float32` is faster here"
    )


def _has_tf32(device: torch.device) -> bool:
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)


def _has_bfloat16() -> bool:
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in BFLOAT16_INSTRUCTIONS)


def _keep_memory() -> None:
    """Make glibc's allocator keep freed memory; harmless to call twice.

    By default it returns each large block to the system and faults it in again, page by page: at 6,000 faults per step
    that costs as much as the arithmetic.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):  # another C library, such as musl
        return
    mallopt(-4, 0)  # M_MMAP_MAX: large blocks from the heap, too
    mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: the heap does not shrink
    mallopt(-2, 256 << 20)  # M_TOP_PAD: it grows by 256 MiB at a time
