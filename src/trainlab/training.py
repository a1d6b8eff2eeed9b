"""The one training loop: a configuration and images in, a trained model out."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor

from trainlab import machine
from trainlab.data.batches import Batches
from trainlab.data.stored import Dataset
from trainlab.errors import UserError
from trainlab.model_file import TrainedModel
from trainlab.models.base import Network
from trainlab.prediction import arithmetic, outputs_of

if TYPE_CHECKING:
    from trainlab.config import RunConfig

Row = dict[str, float]  # one line of the history


class Data(NamedTuple):
    """The images that a run learns from, and those that judge it."""

    train: Dataset
    test: Dataset


class Step(NamedTuple):
    """Where training is: ``done`` of ``steps`` in this epoch, and the loss of the step just done (still on the device)."""

    replica: int
    epoch: int
    done: int
    steps: int
    images: int
    loss: Tensor


def train(
    config: "RunConfig",
    data: Data,
    *,
    device: str | None = None,
    on_epoch: Callable[[Row], None] | None = None,
    on_step: Callable[[Step], None] | None = None,
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
    on_epoch
        Called after each epoch with its row of the history: ``replica``, ``epoch`` (from 1), ``lr`` (at its start),
        ``train_loss`` and ``train_accuracy`` (means over the epoch's steps, while the weights move), ``test_loss`` (mean
        −log softmax(scores)[label], whatever the objective), ``test_accuracy``, then the objective's logs.
    on_step
        Called after each step; reading the loss waits for the device.

    Raises
    ------
    UserError
        Where the loss stops being finite, the images do not suit the model, or the device is not there.
    """
    place = machine.prepare(device or config.device, config.threads)
    train_images = Batches(data.train, inputs=config.inputs, device=place)
    test_images = Batches(data.test, inputs=config.inputs, device=place)
    weights = []
    for replica in range(config.replicas):
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            torch.manual_seed(config.seed + replica)
            net = _build(config, data.train, place)
            _train_one(config, net, train_images, test_images, replica, len(data.train.classes), on_epoch, on_step)
        weights.append({name: tensor.detach().cpu().contiguous() for name, tensor in net.state_dict().items()})
    return TrainedModel.of(config, data.train, weights, machine.describe(place))


def _build(config: "RunConfig", images: Dataset, device: torch.device) -> Network:
    _, channels, height, width = images.images.shape
    try:
        net = config.model.build((channels, height, width), config.objective.num_outputs(len(images.classes)))
    except ValueError as error:
        raise UserError(f"run {config.run}: {error}; name another model, or larger images (data.image_size)") from error
    return net.to(
        device, memory_format=torch.channels_last
    )  # built on the CPU, so that a seed means the same everywhere


def _train_one(
    config: "RunConfig",
    net: Network,
    train_images: Batches,
    test_images: Batches,
    replica: int,
    num_classes: int,
    on_epoch: Callable[[Row], None] | None,
    on_step: Callable[[Step], None] | None,
) -> None:
    device = train_images.labels.device
    objective, optimizer = config.objective, config.optimizer
    order = _generator(config.seed + replica, "order", torch.device("cpu"))
    chance = _generator(config.seed + replica, "draws", device)
    parameters: list[Tensor] = list(net.parameters())
    state = optimizer.start(parameters)
    count = len(train_images)
    steps = math.ceil(count / config.batch_size)
    losses = torch.empty(steps, device=device)
    check_every = 1 if device.type == "cpu" else 50  # to look at a loss makes a GPU wait

    net.train()
    for epoch in range(1, config.epochs + 1):
        shuffled = torch.randperm(count, generator=order).to(device)
        correct = torch.zeros((), device=device, dtype=torch.int64)
        totals: dict[str, Tensor] = {}
        for step, index in enumerate(shuffled.split(config.batch_size)):
            images, labels = train_images.take(index)
            with arithmetic(device, config.precision):
                outputs = net(images)
            outputs = outputs.float()
            draws = objective.draw(len(labels), num_classes, generator=chance)
            loss, logs = objective.loss(outputs, labels, draws)
            loss.backward()
            rate = config.lr * config.schedule.factor(epoch - 1 + step / steps, config.epochs)
            gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
            optimizer.step(parameters, gradients, state, rate)
            for parameter in parameters:
                parameter.grad = None

            losses[step] = loss.detach()
            correct += (objective.scores(outputs.detach()).argmax(1) == labels).sum()
            for name, value in logs.items():
                totals[name] = totals.get(name, 0) + value.detach() * (len(labels) / count)
            if (step + 1) % check_every == 0 or step + 1 == steps:
                _check_finite(losses, step + 1 - check_every, step + 1, config, replica, epoch)
            if on_step:
                on_step(Step(replica, epoch, step + 1, steps, len(labels), losses[step]))
        if on_epoch:
            row: Row = {
                "replica": replica,
                "epoch": epoch,
                "lr": config.lr * config.schedule.factor(epoch - 1, config.epochs),
                "train_loss": _mean_loss(losses, count, config.batch_size),
                "train_accuracy": int(correct) / count,
            }
            row |= _score(config, net, test_images) | {name: float(total) for name, total in totals.items()}
            on_epoch(row)


def _generator(seed: int, purpose: str, device: torch.device) -> Generator:
    """A stream of random numbers of its own, so that what one thing draws never shifts what another draws."""
    words = np.random.SeedSequence([seed, *purpose.encode()]).generate_state(2, np.uint32)
    return Generator(device).manual_seed(int(words[0]) << 31 | int(words[1]))


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


def _score(config: "RunConfig", net: Network, images: Batches) -> Row:
    scores = config.objective.scores(outputs_of(net, images, precision=config.precision))
    loss = torch.nn.functional.cross_entropy(scores, images.labels)
    return {"test_loss": float(loss), "test_accuracy": float((scores.argmax(1) == images.labels).double().mean())}
