"""Checkpoints: the state of each replica, from which an interrupted training resumes with the same bytes.

Those of finished replicas stay, so that a run with more replicas trains only the new ones.
"""

import hashlib
import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainlab.config.schema import RunConfig
from trainlab.data.stored import Data
from trainlab.files import digest, read_tensors, write_tensors

State = dict[str, Any]  # tensors and plain values by name


class Checkpoints:
    """The checkpoints of one run: one safetensors file per replica, each written aside and renamed.

    Parameters
    ----------
    directory
        Where they are, which must belong to this run alone.
    keys
        What the states depend on, see :func:`keys_of`; replica r has key r modulo their number. A checkpoint with another
        key is never used.
    stopping
        Whether training was asked to stop; it is asked after each step.
    """

    def __init__(self, directory: Path, keys: list[str], stopping: Callable[[], bool] = lambda: False) -> None:
        self.directory, self.keys, self.stopping = directory, keys, stopping

    def forget_finished(self, config: RunConfig) -> None:
        """Delete the checkpoints if every replica of the run is finished: who trains it again wants to see it trained."""
        states = (self.load(replica) for replica in range(config.replicas))  # one after the other: each may be large
        if all(state and len(state["rows"]) == config.epochs for state in states):
            for replica in range(config.replicas):
                self._path(replica).unlink()

    def save(self, replica: int, state: State) -> None:
        """Store the state of a replica in place of the one before."""
        tensors = {name: value.contiguous().numpy() for name, value in state.items() if isinstance(value, Tensor)}
        values = {name: value for name, value in state.items() if name not in tensors}
        record = {"key": self._key(replica), "values": values}
        write_tensors(self._path(replica), tensors, {**record, "digest": digest(tensors, record)})

    def load(self, replica: int) -> State | None:
        """Return the stored state of a replica, or None if there is none that fits.

        A damaged file is renamed, and one line on standard error names it.
        """
        path = self._path(replica)
        try:
            arrays, record = read_tensors(path)
            if record["key"] != self._key(replica):
                return None
            if record["digest"] != digest(arrays, record):
                raise ValueError("its content changed after it was written")
            tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
            return {**tensors, **record["values"]}
        except FileNotFoundError:
            return None
        except (ValueError, LookupError, TypeError) as error:
            aside = path.with_suffix(".damaged")
            path.replace(aside)
            print(
                f"the checkpoint {path} is damaged ({' '.join(str(error).split())}): it is now {aside.name}, and replica"
                f" {replica} is trained from its start",
                file=sys.stderr,
            )
            return None

    def _key(self, replica: int) -> str:
        return self.keys[replica % len(self.keys)]

    def _path(self, replica: int) -> Path:
        return self.directory / f"{replica}.safetensors"


def keys_of(config: RunConfig, data: Data, teacher_outputs: np.ndarray | None, trained_on: dict[str, Any]) -> list[str]:
    """Return a digest of all that the state of a replica depends on, for each replica of the teacher if there is one.

    How many replicas there are is no part of it.

    Parameters
    ----------
    config
        The run, with the fingerprint of its code.
    data
        Its images.
    teacher_outputs
        What it learns from besides labels, if anything: ``[replicas of the teacher, images, classes]``.
    trained_on
        Device, CPU capability, threads, torch's version and precision, see :func:`trainlab.training.devices.describe`.
    """
    settings = {name: value for name, value in config.to_dict().items() if name != "replicas"}
    known = hashlib.sha256(json.dumps([settings, trained_on], sort_keys=True).encode())
    for part in filter(None, (data.train, data.test)):
        for array in (part.images, part.labels, np.array([part.mean, part.std]), part.mean_image):
            known.update(np.ascontiguousarray(array).data)
        known.update(json.dumps(part.classes).encode())
    if teacher_outputs is None:
        return [known.hexdigest()]
    keys = [known.copy() for _ in teacher_outputs]
    for key, outputs in zip(keys, teacher_outputs, strict=True):
        key.update(np.ascontiguousarray(outputs).data)
    return [key.hexdigest() for key in keys]


@contextmanager
def stop_on_sigterm(stop: Callable[[], None]) -> Iterator[None]:
    """Call ``stop`` when this process is asked to end (SIGTERM, as clusters do before they take a node) inside the block."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set a handler
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda number, frame: stop())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
