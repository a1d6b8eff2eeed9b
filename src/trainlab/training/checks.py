"""Checks of a run before it is trained: initial loss, gradients, overfitting of a small set, and the run's own objective.

They follow Karpathy 2019, *A Recipe for Training Neural Networks*, and CS231n, *Learning and Evaluation*. Statistics of
each layer at initialization are reported with them.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn

from trainlab.config import CheckConfig, CheckName, RunConfig
from trainlab.data.batches import Batches
from trainlab.data.stored import Data, Dataset
from trainlab.data.subsets import stratified
from trainlab.errors import UserError
from trainlab.files import write_json
from trainlab.models.base import Model, Network
from trainlab.objectives.base import Draws
from trainlab.objectives.softmax_cross_entropy import SoftmaxCrossEntropy
from trainlab.schedules import Constant
from trainlab.training import devices, memory, replicas
from trainlab.training.inference import BATCH, outputs_of
from trainlab.training.loop import Row, build
from trainlab.training.model_file import TrainedModel

IMAGES = 1000  # for the initial loss
DRAWS = 16  # of the objective's random numbers, for the mean initial loss
SMALL = 100  # images that a network must be able to memorize
GRADIENT_IMAGES = 4
GRADIENT_STEPS = (1e-7, 1e-8)  # of numeric gradients; the second is tried if a ReLU has its kink within the first
WINDOW = 5  # first and last epochs whose mean accuracies are compared
FALL = 0.1  # required decrease of a loss, as a fraction of its first value
NEARLY_ALL = 0.99  # accuracy that leaves no room for a gain
SURE = 4  # required gain in standard errors, so that chance is no explanation

CAUSES: dict[str, str] = {
    "initial_loss": "an initializer with too large weights, inputs that are not standardized, a loss with the wrong sign or"
    " of other labels; if the initializer is meant to do that, raise checks.initial_loss_tolerance",
    "gradients": "a tensor changed in place, a detached part of the loss, a layer with a wrong backward pass",
    "overfit": "dead units (see the layers' statistics), weights that start at zero or far too large, a learning rate that is"
    " far too high or low (checks.overfit_lr), labels of other images",
    "objective": "a loss with the wrong sign, labels of other images, a learning rate that is far too high or low"
    " (checks.overfit_lr)",
}


@dataclass(frozen=True)
class Result:
    """The result of one check.

    Parameters
    ----------
    name
        Name of the check.
    expected, seen
        The expected and the measured number.
    passed
        Whether the check passed.
    says
        Both in words.
    """

    name: CheckName
    expected: float
    seen: float
    passed: bool
    says: str


@dataclass(frozen=True)
class Layer:
    """One convolution or linear layer at initialization.

    Parameters
    ----------
    name
        Name of the layer in the network.
    mean, std
        Mean and standard deviation of its outputs over the images, before the activation function.
    never_positive
        Fraction of its units (filters) whose output is positive for no image: dead if a ReLU follows.
    gradient_mean, gradient_std
        Mean and standard deviation of the gradient of the run's loss in its weights.
    """

    name: str
    mean: float
    std: float
    never_positive: float
    gradient_mean: float
    gradient_std: float


@dataclass(frozen=True)
class Report:
    """Results of all checks of one run.

    Parameters
    ----------
    run
        Name of the run.
    results
        Results of the checks, in their order.
    layers
        Statistics of the layers, in the order of the forward pass.
    layer_images
        Number of images that these statistics were computed for.
    expected_to_fail
        Names of the checks that this run is meant to fail.
    because
        Why this run is checked with values of its own.
    """

    run: str
    results: list[Result]
    layers: list[Layer]
    layer_images: int
    expected_to_fail: list[CheckName] = field(default_factory=list)
    because: str = ""

    def save(self, path: Path) -> None:
        """Write all results as JSON, with six significant digits; numbers that are not finite as strings."""
        record = {
            "passed": not self.problems(),
            **({"because": self.because} if self.because else {}),
            "checks": {
                result.name: {k: v for k, v in asdict(result).items() if k != "name"} for result in self.results
            },
            "layer_images": self.layer_images,
            "layers": {layer.name: {k: v for k, v in asdict(layer).items() if k != "name"} for layer in self.layers},
        }
        write_json(path, _rounded(record))

    def problems(self) -> list[str]:
        """Return one line per check whose result is not the expected one."""
        lines = []
        for result in self.results:
            if not result.passed and result.name not in self.expected_to_fail:
                lines.append(
                    f"run {self.run} failed its check {result.name}: {result.says}; usual causes: {CAUSES[result.name]}"
                )
            if result.passed and result.name in self.expected_to_fail:
                lines.append(
                    f"run {self.run} passed its check {result.name}, and checks.expected_to_fail says that it should not:"
                    f" {result.says}; remove it from that list"
                )
        return lines

    def raise_problems(self) -> None:
        """Raise an error if there are :meth:`problems`.

        Raises
        ------
        UserError
            With one line per problem.
        """
        if problems := self.problems():
            raise UserError("\n".join(problems))


def check(config: RunConfig, expects: CheckConfig, images: Dataset, teacher: TrainedModel | None = None) -> Report:
    """Run every check of one run.

    Parameters
    ----------
    config
        The run.
    expects
        Expected results.
    images
        Training images.
    teacher
        Model of the teacher, if the run is a student.
    """
    some, few = (_sample(images, count, config.seed) for count in (IMAGES, SMALL))
    of_some, of_few = (None if teacher is None else teacher.scores(part) for part in (some, few))
    with _at_start(config, images) as (net, place):
        batches = Batches(some, inputs=config.inputs, device=place)
        of_batches = None if of_some is None else torch.from_numpy(of_some[0]).to(place)
        results = [
            _initial_loss(config, expects, net, batches, of_batches),
            _gradients(config, net, images, batches, of_batches),
        ]
        layers = _layers(config, net, batches, of_batches)
    alone = {"replicas": 1, "subset": 0, "validation": 0.0, "layer_statistics": False, "batch_size": 50}
    unregularized = {
        "regularizers": [],
        "augmentation": [],
        "optimizer": config.optimizer.model_copy(update={"weight_decay": 0.0}),
        "model": _without_dropout(config.model),
        "schedule": Constant(name="constant"),
    }
    length = {"epochs": expects.overfit_epochs, "lr": expects.overfit_lr}
    small = config.model_copy(update=alone | unregularized | length)
    results += [_overfit(small, expects, few), _objective(small, few, of_few)]
    return Report(config.run, results, layers, min(BATCH, len(some.labels)), expects.expected_to_fail, expects.because)


def layers_at_start(config: RunConfig, images: Dataset) -> list[Layer]:
    """Return the statistics of each layer of a run without a teacher, as :func:`check` reports them."""
    with _at_start(config, images) as (net, place):
        batches = Batches(_sample(images, IMAGES, config.seed), inputs=config.inputs, device=place)
        return _layers(config, net, batches, None)


@contextmanager
def _at_start(config: RunConfig, images: Dataset) -> Iterator[tuple[Network, torch.device]]:
    """Yield the run's network as training starts it, and its device. torch's global random state is restored."""
    place = devices.prepare(config.device, config.threads)
    memory.check(config, images.shape, len(images.classes), place, images=1, count=1)
    with devices.seeded(config.seed, place):
        yield build(config, images.shape, len(images.classes), place), place


def _sample(images: Dataset, count: int, seed: int) -> Dataset:
    """Return this many of the images, the same fraction of each class."""
    positions = stratified(images.labels, min(count, len(images.labels)), np.random.default_rng(seed))
    return replace(images, images=images.images[positions], labels=images.labels[positions])


def _initial_loss(
    config: RunConfig, expects: CheckConfig, net: Network, batches: Batches, teacher: Tensor | None
) -> Result:
    outputs = outputs_of(net, batches)
    seen, at_zero = (
        _mean_loss(config, values, batches.labels, teacher) for values in (outputs, torch.zeros_like(outputs))
    )
    tolerance = expects.initial_loss_tolerance
    return Result(
        "initial_loss",
        at_zero,
        seen,
        abs(seen - at_zero) <= tolerance,
        f"the loss starts at {seen:.3f} (outputs of standard deviation {float(outputs.std()):.2g}), and should be"
        f" within {tolerance:g} of {at_zero:.3f}, its value at zero outputs",
    )


def _mean_loss(config: RunConfig, outputs: Tensor, labels: Tensor, teacher: Tensor | None) -> float:
    """Return the objective's loss of these outputs, averaged over its random draws."""
    generator = Generator(outputs.device).manual_seed(0)
    losses = [_loss(config, outputs, labels, teacher, generator) for _ in range(DRAWS)]
    return float(torch.stack(losses).double().mean())


def _loss(
    config: RunConfig, outputs: Tensor, labels: Tensor, teacher: Tensor | None, generator: Generator | None = None
) -> Tensor:
    draws = _draws(config, outputs, teacher, generator or Generator(outputs.device).manual_seed(0))
    loss: Tensor = config.objective.loss(outputs, labels, draws)[0]
    return loss


def _draws(config: RunConfig, outputs: Tensor, teacher: Tensor | None, generator: Generator) -> Draws:
    """Return what the loss of these outputs takes besides the labels."""
    batch, classes = config.objective.scores(outputs).shape
    draws: Draws = config.objective.draw(batch, classes, generator=generator)
    return draws if teacher is None else {**draws, "teacher_outputs": teacher.to(outputs)}


class _Differs(Exception):
    """Raised to end gradcheck, which reports a difference parameter by parameter: half an hour on a small network."""


def _gradients(config: RunConfig, net: Network, dataset: Dataset, batches: Batches, teacher: Tensor | None) -> Result:
    """Compare analytic with numeric gradients in random directions: float64, 4 images, evaluation mode."""
    exact = build(config, dataset.shape, len(dataset.classes), torch.device("cpu")).double().eval()
    exact.load_state_dict({name: value.cpu() for name, value in net.state_dict().items()})
    images, labels = (tensor.cpu() for tensor in batches.slice(0, GRADIENT_IMAGES))
    images = images.double()
    outputs = exact(images).detach()
    draws = _draws(config, outputs, None if teacher is None else teacher[: len(labels)], Generator().manual_seed(0))
    closed_form = config.objective.closed_form_gradient(outputs, labels, draws)
    names = [name for name, _ in exact.named_parameters()]
    parameters = tuple(parameter.detach().requires_grad_() for parameter in exact.parameters())

    def loss(*parameters: Tensor) -> Tensor:
        outputs = torch.func.functional_call(exact, dict(zip(names, parameters, strict=True)), (images,))
        loss: Tensor = config.objective.loss(outputs, labels, draws)[0]
        if closed_form is None:
            return loss
        # The value of a linear function with the closed form as its gradient, and the gradient of the loss itself.
        linear: Tensor = (outputs * closed_form).sum().detach()
        return linear + loss - loss.detach()

    agree = any(_gradients_agree(loss, parameters, step) for step in GRADIENT_STEPS)
    says = f"analytic and numeric gradients {'agree' if agree else 'differ'}"
    return Result("gradients", 0.0, float(not agree), agree, says)


def _gradients_agree(loss: Callable[..., Tensor], parameters: tuple[Tensor, ...], step: float) -> bool:
    calls_left = 10 + 2 * len(parameters)  # the fast mode makes two per parameter, and two more

    def limited(*parameters: Tensor) -> Tensor:
        nonlocal calls_left
        calls_left -= 1
        if calls_left < 0:
            raise _Differs
        return loss(*parameters)

    try:
        # The fast mode multiplies the absolute tolerance by the sum of a random direction, which is hundreds for a large
        # layer: with torch's default of 1e-5 a gradient of 0 passed.
        torch.autograd.gradcheck(limited, parameters, fast_mode=True, eps=step, atol=1e-8)
    except (_Differs, RuntimeError):
        return False
    return True


def _overfit(config: RunConfig, expects: CheckConfig, images: Dataset) -> Result:
    """Check whether the network can memorize these images, with softmax cross entropy whatever its objective."""
    plain = {"objective": SoftmaxCrossEntropy(name="softmax_cross_entropy"), "teacher": ""}
    target = expects.overfit_accuracy
    rows = _history(config.model_copy(update=plain), images, None, lambda rows: rows[-1]["train_accuracy"] >= target)
    best = max(row["train_accuracy"] for row in rows)
    says = (
        f"{config.epochs} epochs of softmax cross entropy on {len(images.labels)} images with lr {config.lr:g} reach an accuracy"
        f" of {best:.0%}, and should reach {target:.0%}"
    )
    return Result("overfit", target, best, best >= target, says)


def _objective(config: RunConfig, images: Dataset, teacher_outputs: np.ndarray | None) -> Result:
    """Check whether training with the run's own objective improves the network on these images.

    An objective that logs a reward must increase it: its loss may rise while it learns (the policy gradient's loss has the
    right gradient, and no meaning as a number). Any other objective must decrease its loss and increase the accuracy: a
    loss with the wrong sign decreases too. No gain is required of a network that predicts nearly all images at the end,
    because easy data leaves no room for one.
    """
    chance = 1 / len(images.classes)
    error = (2 * chance * (1 - chance) / (WINDOW * len(images.labels))) ** 0.5  # standard error of the gains below

    def missing(rows: list[Row]) -> list[str]:
        gain = "reward" if "reward" in rows[0] else "train_accuracy"
        targets = []
        if _mean(rows[-WINDOW:], "train_accuracy") < NEARLY_ALL:
            targets.append((gain, _mean(rows[:WINDOW], gain) + SURE * error, 1))
        if gain != "reward":
            loss = rows[0]["train_loss"]
            targets.append(("train_loss", loss - FALL * abs(loss), -1))
        return [
            f"{name} ends at {_mean(rows[-WINDOW:], name):.3f}, and should be {'above' if sign > 0 else 'below'} {target:.3f}"
            for name, target, sign in targets
            if sign * (_mean(rows[-WINDOW:], name) - target) < 0
        ]

    rows = _history(config, images, teacher_outputs, lambda rows: not missing(rows))
    problems = missing(rows)
    says = f"{len(rows)} epochs of its own loss on {len(images.labels)} images: {', '.join(problems) or 'it learns'}"
    return Result("objective", 0.0, float(len(problems)), not problems, says)


def _mean(rows: list[Row], column: str) -> float:
    return float(np.mean([row[column] for row in rows]))


class _Enough(Exception):
    """Raised to end a training whose result is known."""


def _history(
    config: RunConfig, images: Dataset, teacher_outputs: np.ndarray | None, enough: Callable[[list[Row]], bool]
) -> list[Row]:
    """Return the history of a training on these images, up to the epoch in which ``enough`` returns True."""
    rows: list[Row] = []

    def on_epoch(row: Row) -> None:
        rows.append(row)
        if enough(rows):
            raise _Enough

    with suppress(_Enough):
        replicas.train(config, Data(images, None), teacher_outputs=teacher_outputs, on_epoch=on_epoch)
    return rows


def _without_dropout(model: Model) -> Model:
    return model.model_copy(update={name: 0.0 for name in type(model).model_fields if name.startswith("dropout")})


def _layers(config: RunConfig, net: Network, batches: Batches, teacher: Tensor | None) -> list[Layer]:
    """Return the statistics of every convolution and linear layer, in the order of the forward pass."""
    outputs: dict[str, Tensor] = {}
    named = {name: layer for name, layer in net.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)}

    def keep(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        return lambda _layer, _inputs, output: outputs.update({name: output.detach().float()})

    hooks = [layer.register_forward_hook(keep(name)) for name, layer in named.items()]
    images, labels = batches.slice(0, BATCH)
    scores = net.eval()(images)
    for hook in hooks:
        hook.remove()
    _loss(config, scores, labels, None if teacher is None else teacher[:BATCH]).backward()
    return [_layer(name, of_layer, named[name].weight) for name, of_layer in outputs.items()]


def _layer(name: str, outputs: Tensor, weight: Tensor) -> Layer:
    positive = (outputs > 0).any(0) if outputs.dim() == 2 else (outputs > 0).any((0, 2, 3))
    gradient = weight.grad if weight.grad is not None else torch.zeros_like(weight)
    numbers = (outputs.mean(), outputs.std(), 1 - positive.double().mean(), gradient.mean(), gradient.std())
    return Layer(name, *map(float, numbers))


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else str(value)  # JSON has no infinity
    return value
