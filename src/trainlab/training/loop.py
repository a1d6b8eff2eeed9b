"""The one training loop: a configuration and images in, the weights of a trained replica out."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from trainlab.config.schema import RunConfig
from trainlab.data.batches import Batches
from trainlab.data.stored import Data, Dataset
from trainlab.data.subsets import stratified
from trainlab.errors import Stopped, UserError
from trainlab.models.base import Network
from trainlab.objectives.base import Draws, Logs
from trainlab.training import devices
from trainlab.training.checkpoints import Checkpoints, State
from trainlab.training.inference import autocast, outputs_of
from trainlab.training.layer_statistics import LayerStatistics
from trainlab.training.model_file import Weights

Row = dict[str, float]  # one line of the history
GPU_CHECK_INTERVAL = 50  # steps between two looks at the loss, because each makes the host wait for the GPU


class Step(NamedTuple):
    """Progress within an epoch.

    Parameters
    ----------
    replica
        Number of the replica, from 0.
    epoch
        Number of the epoch, from 1.
    done, steps
        Steps that are done, of those of the epoch.
    images
        Images trained on since the last report.
    loss
        Of the last step: a scalar on the device. Reading it waits for the device.
    """

    replica: int
    epoch: int
    done: int
    steps: int
    images: int
    loss: Tensor


class Images(NamedTuple):
    """All images of a run on its device.

    Parameters
    ----------
    train
        Images that the weights are fitted to.
    scored
        Images that are scored after each epoch, by name: `validation`, `test`.
    num_classes
        Number of classes.
    teacher_outputs
        Class scores of ``train`` by a teacher, ``[replicas of the teacher, images, classes]``, float32, if the objective
        needs one. Replica r learns from the teacher's replica r modulo their number.
    """

    train: Batches
    scored: dict[str, Batches]
    num_classes: int
    teacher_outputs: np.ndarray | None = None


def train_replica(
    config: RunConfig,
    images: "Images",
    number: int,
    *,
    checkpoints: Checkpoints | None = None,
    on_epoch: Callable[[Row], None] | None = None,
    on_step: Callable[[Step], None] | None = None,
    on_network: Callable[[Row, Network], None] | None = None,
) -> Weights:
    """Train one replica of a run on the device of its images, which :func:`~trainlab.training.devices.prepare` set up.

    torch's global random state is restored.

    Parameters
    ----------
    config
        The run.
    images
        Its images.
    number
        Number of the replica, from 0.
    checkpoints
        Where the replica's state is stored after each epoch, and stays. Training resumes from a state that is stored there.
    on_epoch, on_step, on_network
        As for :func:`trainlab.training.replicas.train`.

    Returns
    -------
    dict
        Parameters and buffers by name, on the CPU.

    Raises
    ------
    Stopped
        If ``checkpoints`` says so after a step, whose state is stored then.
    """
    device = images.train.labels.device
    arithmetic: Literal["tf32", "ieee"] = "tf32" if config.precision == "tf32" else "ieee"
    with devices.float32_arithmetic(arithmetic), devices.seeded(config.seed + number, device):
        replica = Replica(config, build(config, images.train.shape, images.num_classes, device), images, number)
        if checkpoints and (state := checkpoints.load(number)):
            replica.restore(state)
            if on_epoch:
                for row in replica.rows:
                    on_epoch(row)
        for epoch in range(len(replica.rows) + 1, config.epochs + 1):
            sums = replica.epoch(epoch, on_step, checkpoints)
            replica.rows.append(replica.row(sums) if on_epoch or on_network or checkpoints else {})
            if checkpoints:
                checkpoints.save(number, replica.state())
            if on_epoch:
                on_epoch(replica.rows[-1])
            if on_network:
                on_network(replica.rows[-1], replica.net)
    return {name: tensor.detach().cpu().contiguous() for name, tensor in replica.net.state_dict().items()}


def build(config: RunConfig, shape: tuple[int, int, int], num_classes: int, device: torch.device) -> Network:
    """Return the run's network, with weights drawn from torch's global generator of the CPU.

    Parameters
    ----------
    config
        The run.
    shape
        ``(channels, height, width)`` of an image.
    num_classes
        Number of classes.
    device
        Where it computes.

    Raises
    ------
    UserError
        If the images are too small for the model.
    """
    try:
        net: Network = config.model.build(shape, config.objective.num_outputs(num_classes))
    except ValueError as error:
        raise UserError(f"run {config.run}: {error}; name another model, or larger images (data.image_size)") from error
    # Built on the CPU, so that a seed gives the same weights on every device.
    return net.to(memory_format=torch.channels_last).to(device)


class Replica:
    """One replica in training: its network, its optimizer's state and its random streams.

    Parameters
    ----------
    config
        The run.
    net
        The network, on the device of the images; it is changed in place.
    images
        The run's images.
    number
        Number of the replica, from 0. Its random streams are seeded with ``config.seed + number``.
    """

    def __init__(self, config: RunConfig, net: Network, images: Images, number: int) -> None:
        self.config, self.net, self.images, self.number = config, net.train(), images, number
        self.device = images.train.labels.device
        self._extra: Draws = {}  # more input of the loss by name, one row per training image
        if images.teacher_outputs is not None:
            scores = images.teacher_outputs[number % len(images.teacher_outputs)]
            self._extra["teacher_outputs"] = torch.from_numpy(scores).to(self.device)
        self.rows: list[Row] = []  # one per finished epoch
        self._sums: EpochSums | None = None  # of an epoch that was interrupted
        seed = config.seed + number
        self._order = _generator(seed, "order", torch.device("cpu"))
        self._draws = _generator(seed, "draws", self.device)
        self._augmentation = _generator(seed, "augmentation", self.device)
        self._of_images = [a.start(len(images.train), generator=self._augmentation) for a in config.augmentation]
        net.start(images.train.spread)
        self._parameters: list[Tensor] = list(net.parameters())
        self._state = config.optimizer.start(self._parameters)
        self._state |= config.optimizer.start_averaging(self._parameters)
        self._statistics = LayerStatistics(net) if config.layer_statistics else None

    def epoch(
        self, number: int, on_step: Callable[[Step], None] | None = None, checkpoints: Checkpoints | None = None
    ) -> "EpochSums":
        """Train for one epoch, counted from 1, or for the rest of one that was interrupted."""
        config = self.config
        sums = self._sums or EpochSums(number, len(self.images.train), config.batch_size, self.device)
        self._sums, order_before = None, self._order.get_state()
        order = torch.randperm(sums.images, generator=self._order).to(self.device)
        check_interval = 1 if self.device.type == "cpu" else GPU_CHECK_INTERVAL
        batches = torch.split(order, config.batch_size)
        for step in range(sums.done, sums.steps):
            lr = config.lr * config.schedule.factor(number - 1 + step / sums.steps, config.epochs)
            sums.add(lr, *self.step(batches[step], lr, number))
            done = (number - 1 + (step + 1) / sums.steps) / config.epochs
            config.optimizer.average(self._parameters, self._state, done)
            if sums.done % check_interval == 0 or sums.done == sums.steps:
                self._check_finite(sums, max(0, sums.done - check_interval))
            if on_step:
                on_step(Step(self.number, number, sums.done, sums.steps, len(batches[step]), sums.losses[step]))
            if checkpoints and checkpoints.stopping():
                self._sums = sums
                checkpoints.save(self.number, self.state() | {"random.order": order_before})
                raise Stopped(f"run {config.run}: stopped; the same command resumes it where it stopped")
        return sums

    def state(self) -> State:
        """Return all that training depends on from here on: between two epochs, or within one that was interrupted.

        Tensors are on the CPU; ``rows`` are the rows of the history so far. A finished replica needs only its weights.
        """
        values: State = {
            "rows": [list(row.items()) for row in self.rows]
        }  # a stored mapping loses the order of its keys
        values |= {f"net.{name}": tensor for name, tensor in self.net.state_dict().items()}
        if not self._finished:
            values |= {f"random.{name}": stream.get_state() for name, stream in self._streams().items()}
            values |= {
                f"optimizer.{name}.{number}": tensor
                for name, tensors in self._state.items()
                for number, tensor in enumerate(tensors)
            }
        if self._sums:
            values |= {f"sums.{name}": value for name, value in self._sums.state().items()}
            if self._statistics:
                values |= {f"statistics.{name}": value for name, value in self._statistics.state().items()}
        # Copies: a state does not change when training goes on.
        return {
            name: value.detach().cpu().clone() if isinstance(value, Tensor) else value for name, value in values.items()
        }

    def restore(self, state: State) -> None:
        """Continue from a state, in place, so that every tensor keeps its memory format.

        Raises
        ------
        LookupError, RuntimeError
            If it is not a state of this run.
        """
        self.rows = [dict(row) for row in state["rows"]]
        self.net.load_state_dict(_below("net", state))
        if self._finished:
            return
        for name, stream in self._streams().items():
            stream.set_state(state[f"random.{name}"])
        for name, tensors in self._state.items():
            for number, tensor in enumerate(tensors):
                tensor.copy_(state[f"optimizer.{name}.{number}"])
        if sums := _below("sums", state):
            self._sums = EpochSums(len(self.rows) + 1, len(self.images.train), self.config.batch_size, self.device)
            self._sums.restore(sums)
        if self._statistics:
            self._statistics.restore(_below("statistics", state))

    @property
    def _finished(self) -> bool:
        return len(self.rows) == self.config.epochs

    def _streams(self) -> dict[str, Generator]:
        """Return all random streams by name, torch's own included, which layers such as dropout use."""
        streams = {"order": self._order, "draws": self._draws, "augmentation": self._augmentation}
        streams["torch"] = torch.default_generator
        if self.device.type == "cuda":
            streams["gpu"] = torch.cuda.default_generators[self.device.index or torch.cuda.current_device()]
        return streams

    def step(self, index: Tensor, lr: float, epoch: int = 1) -> tuple[Tensor, Tensor, Logs]:
        """Update the weights once. Nothing here waits for the device.

        Parameters
        ----------
        index
            Positions of the batch in the training images, ``[batch]``, int64.
        lr
            Learning rate of this step.
        epoch
            Number of the epoch, from 1.

        Returns
        -------
        loss
            Scalar, before the update.
        correct
            Number of images that were predicted correctly before the update, int64.
        logs
            The objective's.
        """
        objective = self.config.objective
        batch, labels = self.images.train.take(index)
        for augmentation, of_images in zip(self.config.augmentation, self._of_images, strict=True):
            own = {name: rows.index_select(0, index) for name, rows in of_images.items()}
            batch = augmentation.apply(batch, generator=self._augmentation, own=own, epoch=epoch)
        draws = objective.draw(len(labels), self.images.num_classes, generator=self._draws)
        draws |= {name: rows.index_select(0, index) for name, rows in self._extra.items()}
        outputs, loss, logs = self._forward(batch, labels, draws)
        loss.backward()
        self._update(lr)
        correct = (objective.scores(outputs).argmax(1) == labels).sum()
        return loss.detach(), correct, {name: value.detach() for name, value in logs.items()}

    def _forward(self, batch: Tensor, labels: Tensor, draws: Draws) -> tuple[Tensor, Tensor, Logs]:
        """Return outputs without gradient, and the loss with its logs."""
        objective, net, precision = self.config.objective, self.net, self.config.precision
        if not objective.needs_head:
            with autocast(self.device, precision):
                outputs = net(batch)
            outputs = outputs.float()
            return outputs.detach(), *objective.loss(outputs, labels, draws)
        with autocast(self.device, precision):
            features = net.features(batch)
        features = features.float()
        # All outputs are computed only for the training accuracy: without a backward pass.
        with torch.no_grad(), autocast(self.device, precision):
            outputs = net.head(features)
        return outputs.float(), *objective.loss_from_features(features, net.head, labels, draws)

    def _update(self, lr: float) -> None:
        """Apply the gradients to the weights, and clear them."""
        parameters, regularizers = self._parameters, self.config.regularizers
        gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
        for regularizer in regularizers:
            regularizer.add_gradient(parameters, gradients)
        if self._statistics:
            self._statistics.before(gradients)
        self.config.optimizer.step(parameters, gradients, self._state, lr)
        for regularizer in regularizers:
            regularizer.constrain(parameters)
        if self._statistics:
            self._statistics.after()
        for parameter in parameters:
            parameter.grad = None

    def row(self, sums: "EpochSums") -> Row:
        """Return the history's row of an epoch that was just trained."""
        row: Row = {
            "replica": self.number,
            "epoch": sums.epoch,
            "lr": sums.lr,
            "train_loss": sums.mean_loss(),
            "train_accuracy": int(sums.correct) / sums.images,
        }
        for name, batches in self.images.scored.items():
            row |= self._score(name, batches)
        if "validation" in self.images.scored:
            row["accuracy_gap"] = row["train_accuracy"] - row["validation_accuracy"]
        row |= {name: float(total) for name, total in sums.logs.items()}
        if self._statistics:
            row |= self._statistics.row()
        return row

    def _score(self, name: str, images: Batches) -> Row:
        scores = self.config.objective.scores(outputs_of(self.net, images))
        accuracy = (scores.argmax(1) == images.labels).double().mean()
        return {f"{name}_loss": float(F.cross_entropy(scores, images.labels)), f"{name}_accuracy": float(accuracy)}

    def _check_finite(self, sums: "EpochSums", start: int) -> None:
        bad = torch.nonzero(~torch.isfinite(sums.losses[start : sums.done]))
        if len(bad):
            step = start + int(bad[0])
            raise UserError(
                f"run {self.config.run}: the loss is {float(sums.losses[step])} in epoch {sums.epoch}, step {step + 1} of"
                f" {sums.steps} (replica {self.number}), so training stopped; usual causes: a learning rate that is too high"
                f" (lr is {self.config.lr:g}: try a tenth), an initializer with too large weights, inputs that are not"
                f" standardized"
            )


class EpochSums:
    """Running sums of one epoch; tensors on the device, so that no step waits for it.

    Parameters
    ----------
    epoch
        Number of the epoch, from 1.
    images
        Number of training images.
    batch_size
        Images per step; the last step may have fewer.
    device
        Where training computes.
    """

    def __init__(self, epoch: int, images: int, batch_size: int, device: torch.device) -> None:
        self.epoch, self.images, self.steps = epoch, images, math.ceil(images / batch_size)
        self.done = 0  # steps
        self.lr = 0.0  # of the first step
        self.losses = torch.empty(self.steps, device=device)
        self.correct = torch.zeros((), device=device, dtype=torch.int64)
        self.logs: Logs = {}  # means over the epoch's images
        self._batch_size = batch_size

    def add(self, lr: float, loss: Tensor, correct: Tensor, logs: Logs) -> None:
        """Add the results of one step."""
        if self.done == 0:
            self.lr = lr
        size = min(self._batch_size, self.images - self.done * self._batch_size)
        self.losses[self.done] = loss
        self.correct += correct
        for name, value in logs.items():
            self.logs[name] = self.logs.get(name, 0) + value * (size / self.images)
        self.done += 1

    def state(self) -> State:
        """Return the sums by name."""
        logs = {f"log.{name}": torch.as_tensor(value) for name, value in self.logs.items()}
        return {"done": self.done, "lr": self.lr, "losses": self.losses, "correct": self.correct, **logs}

    def restore(self, state: State) -> None:
        """Continue from the sums of a state."""
        self.done, self.lr = state["done"], state["lr"]
        self.losses.copy_(state["losses"])
        self.correct.copy_(state["correct"])
        self.logs = {name: value.to(self.losses.device) for name, value in _below("log", state).items()}

    def mean_loss(self) -> float:
        """Return the mean over images of the steps' mean losses."""
        sizes = torch.full_like(self.losses, self._batch_size, dtype=torch.float64)
        sizes[-1] = self.images - self._batch_size * (self.steps - 1)
        return float((self.losses.double() * sizes).sum() / self.images)


def images_on(device: torch.device, config: RunConfig, data: Data, teacher_outputs: np.ndarray | None = None) -> Images:
    """Return a run's images on a device: those to train on, and those that are scored after each epoch.

    Parameters
    ----------
    device
        Where the run computes.
    config
        The run.
    data
        Training images, and test images if they are to be scored.
    teacher_outputs
        As for :class:`Images`, but of all of ``data.train``.

    Raises
    ------
    UserError
        If too few images are left to train on.
    """
    positions, held_out = _split(config, data.train)
    parts = {"test": data.test, "validation": _part(data.train, held_out) if len(held_out) else None}
    scored = {
        name: Batches(part, inputs=config.inputs, device=device) for name, part in parts.items() if part is not None
    }
    fitted = Batches(_part(data.train, positions), inputs=config.inputs, device=device)
    scores = None if teacher_outputs is None else teacher_outputs[:, positions]
    return Images(fitted, scored, len(data.train.classes), scores)


def _split(config: RunConfig, images: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions of the images to train on and of those held out for validation, the same for every replica.

    Raises
    ------
    UserError
        If too few images are left to train on.
    """
    everything, labels = np.arange(len(images.labels)), images.labels
    held_out = everything[:0]
    if config.validation:
        count = max(1, round(config.validation * len(labels)))
        held_out = stratified(labels, count, np.random.default_rng(_words(config.seed, "validation")))
    left = np.setdiff1d(everything, held_out)
    missing = np.setdiff1d(labels, labels[left])
    if len(missing):
        raise UserError(
            f"run {config.run}: validation is {config.validation:g}, which holds out {len(held_out)} of {len(labels)}"
            f" training images and leaves none of class {images.classes[missing[0]]!r} to train on: lower it"
        )
    if config.subset > len(left):
        raise UserError(
            f"run {config.run}: subset is {config.subset}, and there are {len(left)} images to train on: lower it, or"
            f" leave it out"
        )
    if config.subset:
        left = left[stratified(labels[left], config.subset, np.random.default_rng(_words(config.seed, "subset")))]
    return left, held_out


def _part(images: Dataset, positions: np.ndarray) -> Dataset:
    if len(positions) == len(images.labels):  # all of them: no copy
        return images
    return replace(images, images=images.images[positions], labels=images.labels[positions])


def _below(name: str, state: State) -> State:
    """Return the part of a state whose names begin with ``name`` and a dot, without that."""
    return {key.removeprefix(f"{name}."): value for key, value in state.items() if key.startswith(f"{name}.")}


def _generator(seed: int, purpose: str, device: torch.device) -> Generator:
    """Return a random stream of its own, so that the draws for one purpose never shift those for another."""
    words = _words(seed, purpose)
    return Generator(device).manual_seed(int(words[0]) << 31 | int(words[1]))


def _words(seed: int, purpose: str) -> np.ndarray:
    return np.random.SeedSequence([seed, *purpose.encode()]).generate_state(2, np.uint32)
