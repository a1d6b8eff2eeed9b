"""Train the replicas of a run: side by side in processes on a CPU, one after the other on a GPU."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, nullcontext
from multiprocessing import resource_tracker
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import joblib
import loky
import numpy as np
import torch
from loky.backend import get_context

from trainlab.config.schema import RunConfig
from trainlab.data.stored import Data
from trainlab.errors import UserError
from trainlab.models.base import Network
from trainlab.training import devices, memory
from trainlab.training.checkpoints import Checkpoints, keys_of, stop_on_sigterm
from trainlab.training.loop import Images, Row, Step, images_on, train_replica
from trainlab.training.model_file import TrainedModel, Weights

REPORT = 0.2  # seconds between two reports of a process about its steps


def train(
    config: RunConfig,
    data: Data,
    *,
    device: str | None = None,
    teacher_outputs: np.ndarray | None = None,
    checkpoints: Path | None = None,
    on_epoch: Callable[[Row], None] | None = None,
    on_step: Callable[[Step], None] | None = None,
    on_network: Callable[[Row, Network], None] | None = None,
) -> TrainedModel:
    """Train every replica of one run.

    The result is a function of the configuration (thread count included), the data, the code and the kind of device or
    CPU: the same arguments give the same bits, whatever this process did before, and however many replicas are trained at
    the same time (see
    :func:`trainlab.training.devices.workers`). torch's global random state is restored.

    Parameters
    ----------
    config
        The run.
    data
        Training images, and the test images that are scored after each epoch.
    device
        Overrides ``config.device``.
    teacher_outputs
        Class scores of ``data.train`` by a teacher, ``[replicas of the teacher, images, classes]``, if the objective
        needs one. Replica r is trained with the scores of the teacher's replica r modulo their number.
    checkpoints
        A directory for the state of each replica after each epoch, which belongs to this run alone. Training resumes from
        what an interrupted one with the same arguments left there, and takes the finished replicas of one with another
        number of replicas; the result is the same. If all of its replicas are finished there, it trains all of them again.
        On SIGTERM it stores its state after the current step and stops.
    on_epoch
        Called after each epoch with its row of the history: ``replica``, ``epoch`` (from 1), ``lr`` (of its first step),
        ``train_loss`` and ``train_accuracy`` (means over the epoch's steps, each before its update), ``test_loss`` (mean
        −log softmax(scores)[label], whatever the objective), ``test_accuracy``, the same two of the validation images and
        ``accuracy_gap`` (training minus validation) if there are any, then the objective's logs. The epochs of one replica
        come in their order; those of several may alternate. Those that a checkpoint contains come first.
    on_step
        Called after each step, or a few times per second for each of several replicas. Reading the loss waits for the
        device.
    on_network
        Called after ``on_epoch`` with the row and the network, which it must not change. The replicas are then trained
        one after the other.

    Raises
    ------
    UserError
        If the loss is not finite, the images do not fit the configuration, there is no such device or not enough memory,
        or a process was ended from outside.
    Stopped
        On SIGTERM, if there are checkpoints.
    """
    place = devices.prepare(device or config.device, config.threads)
    images = images_on(place, config, data, teacher_outputs)
    trained_on = devices.describe(place, config.precision)
    count = 1 if on_network else devices.workers(config.replicas, config.threads, place)
    memory.check(config, images.train.shape, images.num_classes, place, images=len(images.train), count=count)
    # For one process an event of a single process: an event of several needs a semaphore of the system.
    stop = get_context("loky").Event() if count > 1 else threading.Event()
    stored = None
    if checkpoints:
        stored = Checkpoints(checkpoints, keys_of(config, data, teacher_outputs, trained_on), stop.is_set)
        stored.forget_finished(config)
    with stop_on_sigterm(stop.set) if stored else nullcontext():
        if count > 1:
            weights = _side_by_side(config, images, count, stored, stop, on_epoch, on_step)
        else:
            calls: dict[str, Any] = {"on_epoch": on_epoch, "on_step": on_step, "on_network": on_network}
            numbers = range(config.replicas)
            weights = [train_replica(config, images, number, checkpoints=stored, **calls) for number in numbers]
    return TrainedModel.of(config, data.train, weights, trained_on)


def _side_by_side(
    config: RunConfig,
    images: Images,
    count: int,
    checkpoints: Checkpoints | None,
    stop: Any,
    on_epoch: Callable[[Row], None] | None,
    on_step: Callable[[Step], None] | None,
) -> list[Weights]:
    """Train the replicas in processes; whatever ends this function early ends them too."""
    with TemporaryDirectory(prefix="trainlab-") as directory:
        file = Path(directory) / "run"
        joblib.dump((config, images), file)  # mapped into the memory of each process: the images are there once
        messages = get_context("loky").SimpleQueue()
        stored = (checkpoints.directory, checkpoints.keys) if checkpoints else None
        arguments = (file, messages, os.getpid(), stored, stop, bool(on_epoch), bool(on_step))
        pool = loky.ProcessPoolExecutor(count, initializer=_start, initargs=arguments)  # starts none yet
        try:
            with _interrupts_held():  # a Ctrl-C in it is raised at its end
                futures = [pool.submit(_train, number) for number in range(config.replicas)]
            waiting = set(futures)
            while waiting:
                done, waiting = wait(waiting, timeout=REPORT, return_when=FIRST_EXCEPTION)
                while not messages.empty():
                    _pass_on(messages.get(), on_epoch, on_step)
                for future in done:
                    future.result()  # raises what the replica raised
        except BrokenProcessPool as error:
            raise UserError(
                f"run {config.run}: a process that trained a replica was ended from outside, perhaps because the memory is"
                f" full: train fewer at the same time with {devices.WORKERS}={max(1, count // 2)}"
            ) from error
        finally:
            pool.shutdown(kill_workers=True)
    return [{name: torch.from_numpy(array) for name, array in future.result().items()} for future in futures]


def _pass_on(
    message: Row | Step, on_epoch: Callable[[Row], None] | None, on_step: Callable[[Step], None] | None
) -> None:
    if not isinstance(message, Step):
        assert on_epoch
        on_epoch(message)
    elif on_step:
        on_step(message)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Start processes that ignore Ctrl-C, inside the block: this process answers it, afterwards too, and ends them."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # its start inside the block would unblock the signal (Python 3.11)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # which new processes inherit
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Worker:
    """What a process needs to train replicas.

    Parameters
    ----------
    file
        The configuration and the images of the run.
    messages
        Where to put rows and steps.
    parent
        Number of the process that started this one.
    checkpoints
        Their directory and their keys, if there are any.
    stop
        The event that tells all processes to store their state and stop.
    sends_rows, sends_steps
        What is asked for.
    """

    def __init__(
        self,
        file: Path,
        messages: Any,
        parent: int,
        checkpoints: tuple[Path, list[str]] | None,
        stop: Any,
        sends_rows: bool,
        sends_steps: bool,
    ) -> None:
        self._checkpoints = None
        if checkpoints:
            self._checkpoints = Checkpoints(*checkpoints, stop.is_set)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the parent answers it, and sets `stop`
        self._config, self._images = joblib.load(file, mmap_mode="c")
        self._messages, self._parent, self._sends_rows, self._sends_steps = messages, parent, sends_rows, sends_steps
        self._images_done, self._reported = 0, time.perf_counter()
        devices.prepare("cpu", self._config.threads)

    def train(self, number: int) -> dict[str, np.ndarray]:
        on_epoch = self._messages.put if self._sends_rows else None
        weights = train_replica(
            self._config, self._images, number, checkpoints=self._checkpoints, on_epoch=on_epoch, on_step=self._step
        )
        return {name: tensor.numpy() for name, tensor in weights.items()}

    def _step(self, step: Step) -> None:
        if os.getppid() != self._parent:  # it was killed
            os._exit(1)
        self._images_done += step.images
        now = time.perf_counter()
        if step.done < step.steps and now - self._reported < REPORT:
            return
        if self._sends_steps:
            self._messages.put(step._replace(images=self._images_done, loss=step.loss.clone()))
        self._images_done, self._reported = 0, now


_worker: _Worker  # of this process


def _start(*arguments: Any) -> None:
    global _worker
    _worker = _Worker(*arguments)


def _train(number: int) -> dict[str, np.ndarray]:
    return _worker.train(number)
