"""The one training loop: a configuration and images in, a trained model out."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor

from trainlab.data.batches import Batches
from trainlab.data.stored import Data, Dataset
from trainlab.data.subsets import stratified
from trainlab.errors import UserError
from trainlab.models.base import Network
from trainlab.objectives.base import Logs
from trainlab.training import devices
from trainlab.training.inference import arithmetic, outputs_of
from trainlab.training.layer_statistics import LayerStatistics
from trainlab.training.model_file import TrainedModel

if TYPE_CHECKING:
    from trainlab.config import RunConfig

Row = dict[str, float]  # one line of the history


class Step(NamedTuple):
    """Where training is: ``done`` of ``steps`` in this epoch, and the loss of the step just done (still on the device)."""

    replica: int
    epoch: int
    done: int
    steps: int
    images: int
    loss: Tensor


class Hooks(NamedTuple):
    """What to call while training goes on: see :func:`train`."""

    on_epoch: Callable[[Row], None] | None
    on_step: Callable[[Step], None] | None
    on_network: Callable[[Row, Network], None] | None


class Images(NamedTuple):
    """All images of a run on its device: to learn from, and to score after each epoch, by name (`validation`, `test`)."""

    train: Batches
    scored: dict[str, Batches]
    num_classes: int


def train(
    config: "RunConfig",
    data: Data,
    *,
    device: str | None = None,
    teacher_outputs: np.ndarray | None = None,
    on_epoch: Callable[[Row], None] | None = None,
    on_step: Callable[[Step], None] | None = None,
    on_network: Callable[[Row, Network], None] | None = None,
) -> TrainedModel:
    """Train every replica of one run.

    The result is a function of the configuration (thread count included), the data, the code and the kind of device or
    CPU: the same arguments give the same bits, whatever ran before in this process. torch's global random state is left as
    it was.

    Parameters
    ----------
    config
        The run.
    data
        Training images, and the test images that score each epoch and choose nothing.
    device
        In place of ``config.device``.
    teacher_outputs
        Class scores of ``data.train`` by a teacher, ``[replicas of the teacher, images, classes]``, where the objective
        needs one. Replica r learns from the teacher's replica r (counted from the first again where it has fewer).
    on_epoch
        Called after each epoch with its row of the history: ``replica``, ``epoch`` (from 1), ``lr`` (at its start),
        ``train_loss`` and ``train_accuracy`` (means over the epoch's steps, while the weights move), ``test_loss`` (mean
        −log softmax(scores)[label], whatever the objective), ``test_accuracy``, the same two of the validation images and
        ``accuracy_gap`` (training minus validation) where there are any, then the objective's logs.
    on_step
        Called after each step; reading the loss waits for the device.
    on_network
        Called after ``on_epoch`` with the row and the network, to look at and not to change.

    Raises
    ------
    UserError
        Where the loss stops being finite, the images do not suit the model, or the device is not there.
    """
    place = devices.prepare(device or config.device, config.threads)
    learned, held_out = _split(config, data.train)
    scored = {"test": data.test, "validation": _part(data.train, held_out) if len(held_out) else None}
    images = Images(
        Batches(_part(data.train, learned), inputs=config.inputs, device=place),
        {name: Batches(part, inputs=config.inputs, device=place) for name, part in scored.items() if part is not None},
        len(data.train.classes),
    )
    weights = []
    for replica in range(config.replicas):
        teacher = None
        if teacher_outputs is not None:
            teacher = torch.from_numpy(teacher_outputs[replica % len(teacher_outputs)][learned]).to(place)
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            torch.manual_seed(config.seed + replica)
            net = build(config, data.train, place)
            _train_one(config, net, images, teacher, replica, Hooks(on_epoch, on_step, on_network))
        weights.append({name: tensor.detach().cpu().contiguous() for name, tensor in net.state_dict().items()})
    return TrainedModel.of(config, data.train, weights, devices.describe(place))


def build(config: "RunConfig", images: Dataset, device: torch.device) -> Network:
    """The run's network for these images, drawn from torch's global generator.

    Raises
    ------
    UserError
        Where the images are too small for it.
    """
    _, channels, height, width = images.images.shape
    try:
        net = config.model.build((channels, height, width), config.objective.num_outputs(len(images.classes)))
    except ValueError as error:
        raise UserError(f"run {config.run}: {error}; name another model, or larger images (data.image_size)") from error
    # Built on the CPU, so that a seed means the same everywhere.
    return net.to(device, memory_format=torch.channels_last)


def _split(config: "RunConfig", images: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the images to learn from, and of those held out for validation; the same for every replica."""
    everything, labels = np.arange(len(images.labels)), images.labels
    held_out = everything[:0]
    if config.validation:
        count = max(1, round(config.validation * len(labels)))
        held_out = stratified(labels, count, np.random.default_rng(_words(config.seed, "validation")))
    learned = np.setdiff1d(everything, held_out)
    if config.subset and config.subset > len(learned):
        raise UserError(
            f"run {config.run}: subset is {config.subset}, and there are {len(learned)} images to learn from:"
            f" lower it, or leave it out"
        )
    if config.subset:
        chance = np.random.default_rng(_words(config.seed, "subset"))
        learned = learned[stratified(labels[learned], config.subset, chance)]
    return learned, held_out


def _part(images: Dataset, positions: np.ndarray) -> Dataset:
    if len(positions) == len(images.labels):  # all of them: no copy
        return images
    return replace(images, images=images.images[positions], labels=images.labels[positions])


def _train_one(
    config: "RunConfig", net: Network, images: Images, teacher: Tensor | None, replica: int, hooks: Hooks
) -> None:
    device = images.train.labels.device
    objective, optimizer = config.objective, config.optimizer
    order = _generator(config.seed + replica, "order", torch.device("cpu"))
    chance = _generator(config.seed + replica, "draws", device)
    changes = _generator(config.seed + replica, "augmentation", device)
    parameters: list[Tensor] = list(net.parameters())
    state = optimizer.start(parameters)
    statistics = LayerStatistics(net) if config.layer_statistics else None
    count = len(images.train)
    steps = math.ceil(count / config.batch_size)
    losses = torch.empty(steps, device=device)
    check_every = 1 if device.type == "cpu" else 50  # to look at a loss makes a GPU wait

    net.train()
    for epoch in range(1, config.epochs + 1):
        shuffled = torch.randperm(count, generator=order).to(device)
        correct = torch.zeros((), device=device, dtype=torch.int64)
        totals: dict[str, Tensor] = {}
        for step, index in enumerate(shuffled.split(config.batch_size)):
            batch, labels = images.train.take(index)
            for augmentation in config.augmentation:
                batch = augmentation.apply(batch, generator=changes)
            draws = objective.draw(len(labels), images.num_classes, generator=chance)
            of_teacher = None if teacher is None else teacher[index]
            outputs, loss, logs = _forward(config, net, batch, labels, draws, of_teacher)
            loss.backward()
            rate = config.lr * config.schedule.factor(epoch - 1 + step / steps, config.epochs)
            gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
            for regularizer in config.regularizers:
                regularizer.add_gradient(parameters, gradients)
            if statistics:
                statistics.before(gradients)
            optimizer.step(parameters, gradients, state, rate)
            for regularizer in config.regularizers:
                regularizer.constrain(parameters)
            if statistics:
                statistics.after()
            for parameter in parameters:
                parameter.grad = None

            losses[step] = loss.detach()
            correct += (objective.scores(outputs).argmax(1) == labels).sum()
            for name, value in logs.items():
                totals[name] = totals.get(name, 0) + value.detach() * (len(labels) / count)
            if (step + 1) % check_every == 0 or step + 1 == steps:
                _check_finite(losses, step + 1 - check_every, step + 1, config, replica, epoch)
            if hooks.on_step:
                hooks.on_step(Step(replica, epoch, step + 1, steps, len(labels), losses[step]))
        if hooks.on_epoch or hooks.on_network:
            row: Row = {
                "replica": replica,
                "epoch": epoch,
                "lr": config.lr * config.schedule.factor(epoch - 1, config.epochs),
                "train_loss": _mean_loss(losses, count, config.batch_size),
                "train_accuracy": int(correct) / count,
            }
            for name, batches in images.scored.items():
                row |= _score(config, net, batches, name)
            if "validation" in images.scored:
                row["accuracy_gap"] = row["train_accuracy"] - row["validation_accuracy"]
            row |= {name: float(total) for name, total in totals.items()}
            if statistics:
                row |= statistics.row()
            if hooks.on_epoch:
                hooks.on_epoch(row)
            if hooks.on_network:
                hooks.on_network(row, net)


def _forward(
    config: "RunConfig", net: Network, batch: Tensor, labels: Tensor, draws: dict[str, Tensor], teacher: Tensor | None
) -> tuple[Tensor, Tensor, Logs]:
    """Outputs without gradient, and the loss with its logs."""
    objective = config.objective
    if objective.needs_head:
        with arithmetic(batch.device, config.precision):
            features = net.features(batch)
        features = features.float()
        # All outputs, for the training accuracy alone: without a backward pass.
        with torch.no_grad(), arithmetic(batch.device, config.precision):
            outputs = net.head(features)
        return outputs.float(), *objective.loss_from_features(features, net.head, labels, draws)
    with arithmetic(batch.device, config.precision):
        outputs = net(batch)
    outputs = outputs.float()
    given = (outputs, labels, draws) if teacher is None else (outputs, labels, draws, teacher)
    return outputs.detach(), *objective.loss(*given)


def _generator(seed: int, purpose: str, device: torch.device) -> Generator:
    """A stream of random numbers of its own, so that what one thing draws never shifts what another draws."""
    words = _words(seed, purpose)
    return Generator(device).manual_seed(int(words[0]) << 31 | int(words[1]))


def _words(seed: int, purpose: str) -> np.ndarray:
    return np.random.SeedSequence([seed, *purpose.encode()]).generate_state(2, np.uint32)


def _mean_loss(losses: Tensor, count: int, batch_size: int) -> float:
    """Mean over images of the steps' mean losses; the last batch may be smaller."""
    sizes = torch.full_like(losses, batch_size, dtype=torch.float64)
    sizes[-1] = count - batch_size * (len(losses) - 1)
    return float((losses.double() * sizes).sum() / count)


def _check_finite(losses: Tensor, start: int, stop: int, config: "RunConfig", replica: int, epoch: int) -> None:
    start = max(start, 0)
    bad = torch.nonzero(~torch.isfinite(losses[start:stop]))
    if len(bad):
        step = start + int(bad[0]) + 1
        raise UserError(
            f"run {config.run}: the loss is {float(losses[step - 1])} in epoch {epoch}, step {step} of {len(losses)}"
            f" (replica {replica}), so training stopped; usual causes: too high a rate (lr is {config.lr:g}: try a tenth), an"
            f" initializer with too large weights, inputs that are not standardized"
        )


def _score(config: "RunConfig", net: Network, images: Batches, name: str) -> Row:
    scores = config.objective.scores(outputs_of(net, images, precision=config.precision))
    accuracy = (scores.argmax(1) == images.labels).double().mean()
    loss = torch.nn.functional.cross_entropy(scores, images.labels)
    return {f"{name}_loss": float(loss), f"{name}_accuracy": float(accuracy)}
