"""What the machine offers to training: a device, threads, memory that is kept, the same bits every time."""

import ctypes
import os
import sys
from typing import Any

import torch

from trainlab.errors import UserError


def prepare(device: str, threads: int) -> torch.device:
    """Choose the device and set up this process for quick, repeatable arithmetic on it.

    Parameters
    ----------
    device
        `auto` (a GPU where there is one), `cpu` or `cuda`.
    threads
        Threads of CPU arithmetic; part of a result's definition, because another number rounds otherwise.

    Raises
    ------
    UserError
        Where a GPU is asked for and there is none.
    """
    _keep_memory()
    torch.set_num_threads(threads)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda":
        if not torch.cuda.is_available():
            raise UserError(
                "device is cuda, and PyTorch sees no GPU here: set `device: auto` or `cpu`, or install a driver that fits"
            )
        os.environ.setdefault(
            "CUBLAS_WORKSPACE_CONFIG", ":4096:8"
        )  # what cuBLAS wants before it promises the same bits
        torch.use_deterministic_algorithms(True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    return torch.device(device)


def describe(device: torch.device) -> dict[str, Any]:
    """What a result's bits depend on beside its configuration, as plain values for the record."""
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def _keep_memory() -> None:
    """Tell glibc's allocator to keep what is freed; harmless to call twice.

    By default it hands each large block back to the system and faults it in again, page by page: at 6,000 faults a step
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
