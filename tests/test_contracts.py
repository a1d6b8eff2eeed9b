"""What every model, objective, optimizer, schedule, regularizer, initializer and augmentation must do.

The components come from the schema of a run, so that a new one is tested without an edit: each with its required
hyperparameters alone, and with one of them changed or added at a time.
"""

import copy
import re
from contextlib import suppress
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Generator, Tensor, nn

from small import data, run_config
from training.schema_samples import choices, smallest_run
from trainlab.config.schema import RunConfig
from trainlab.objectives.base import Draws
from trainlab.training.replicas import train

BATCH, CLASSES = 6, 4


def components(key: str) -> list[Any]:
    """Return components of one kind; list fields hold one component each."""
    found: list[Any] = []
    for choice in choices(key):
        for teacher in ("", "another"):
            with suppress(ValidationError):
                value = getattr(RunConfig.model_validate({**smallest_run(), "teacher": teacher, key: choice}), key)
                found += value if isinstance(value, list) else [value]
    return found


def label(component: Any) -> str:
    fields = ", ".join(f"{name}={value}" for name, value in component.model_dump(exclude={"name"}).items() if value)
    return f"{component.name}({fields})"


def smallest(found: list[Any]) -> list[Any]:
    """Return one component of each name."""
    return list({component.name: component for component in reversed(found)}.values())


MODELS, OBJECTIVES, OPTIMIZERS = components("model"), components("objective"), components("optimizer")
SCHEDULES, REGULARIZERS, AUGMENTATIONS = components("schedule"), components("regularizers"), components("augmentation")
INITIALIZERS = [model.initializer for model in MODELS if model.name == MODELS[0].name and model.initializer]
UNINITIALIZED = [model for model in MODELS if model.initializer is None]


def test_all_components_of_the_schema_are_found() -> None:
    names = {
        definition["properties"]["name"]["const"]
        for definition in RunConfig.model_json_schema()["$defs"].values()
        if "name" in definition["properties"]
    }
    every = [*MODELS, *OBJECTIVES, *OPTIMIZERS, *SCHEDULES, *REGULARIZERS, *INITIALIZERS, *AUGMENTATIONS]
    assert {component.name for component in every} == names


# Models


def built(model: Any, shape: tuple[int, int, int] = (3, 20, 20), outputs: int = CLASSES, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    net: nn.Module = model.build(shape, outputs)
    return net


def pictures(batch: int, shape: tuple[int, int, int] = (3, 20, 20)) -> Tensor:
    images = torch.randn(batch, *shape, generator=Generator().manual_seed(0))
    return images.to(memory_format=torch.channels_last)


@pytest.mark.parametrize("model", UNINITIALIZED, ids=label)
class TestModel:
    @pytest.mark.parametrize("shape", [(1, 20, 20), (4, 33, 19)], ids=str)
    def test_takes_images_of_any_size_and_a_batch_of_one(self, model: Any, shape: tuple[int, int, int]) -> None:
        assert built(model, shape, 3).train()(pictures(1, shape)).shape == (1, 3)

    def test_refuses_smaller_images_than_it_can_take(self, model: Any) -> None:
        with pytest.raises(ValueError, match=r"needs images of at least (\d+)×\1 pixels, and these are 1×1") as caught:
            built(model, (3, 1, 1))
        found = re.search(r"at least (\d+)×", str(caught.value))
        assert found
        size = int(found[1])
        assert built(model, (3, size, size))(pictures(2, (3, size, size))).shape == (2, CLASSES)
        for shape in ((3, size - 1, 20), (3, 20, size - 1)):
            with pytest.raises(
                ValueError, match=rf"at least {size}×{size} pixels, and these are {shape[1]}×{shape[2]}"
            ):
                built(model, shape)

    def test_seed_decides_the_weights(self, model: Any) -> None:
        first, again, other = (built(model, seed=seed).state_dict() for seed in (1, 1, 2))
        assert all(torch.equal(first[name], again[name]) for name in first)
        assert not all(torch.equal(first[name], other[name]) for name in first)

    def test_gradient_reaches_every_parameter(self, model: Any) -> None:
        missing = {name for name, _ in built(model).named_parameters()}
        for seed in range(5):  # a single unit is dead for some seeds
            net = built(model, seed=seed).train()
            net(pictures(BATCH)).square().sum().backward()
            for name, parameter in net.named_parameters():
                assert parameter.grad is not None, name
                assert bool(parameter.grad.isfinite().all()), name
                if parameter.grad.any():
                    missing.discard(name)
            if not missing:
                break
        assert missing == set()

    @torch.no_grad()
    def test_evaluation_is_deterministic_and_independent_of_the_batch(self, model: Any) -> None:
        net = built(model).to(memory_format=torch.channels_last).eval()
        images = pictures(BATCH)
        outputs = net(images)
        assert torch.equal(net(images), outputs)
        torch.testing.assert_close(net(images[:2]), outputs[:2], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(net.to(memory_format=torch.contiguous_format)(images), outputs, rtol=1e-4, atol=1e-5)

    @torch.no_grad()
    def test_the_head_is_the_last_layer(self, model: Any) -> None:
        net, images = built(model, outputs=7).eval(), pictures(BATCH)
        assert isinstance(getattr(net, "head", None), nn.Linear) is model.has_head
        if model.has_head:
            assert torch.equal(net(images), net.head(net.features(images)))  # type: ignore[operator]

    def test_dropout_acts_only_in_training(self, model: Any) -> None:
        images = pictures(BATCH)
        for field in (name for name in type(model).model_fields if name.startswith("dropout")):
            rate = model.model_copy(update={field: 0.5})
            net = built(rate).to(memory_format=torch.channels_last)
            assert not torch.equal(net.train()(images), net(images)), field
            assert torch.equal(net.eval()(images), net(images)), field


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    "model",
    [
        pytest.param(model, id=label(model), marks=pytest.mark.slow if model.name == "resnet18" else ())
        for model in smallest(UNINITIALIZED)
    ],
)
def test_a_model_trains(model: Any, precision: str) -> None:
    config = run_config(batch_size=8, precision=precision).model_copy(update={"model": model})
    images = data(count=16)
    assert images.test is not None
    trained = train(config, images)
    assert trained.scores(images.test).shape == (1, 12, CLASSES)
    start = built(model, seed=config.seed)
    for name, parameter in start.named_parameters():
        assert bool(trained.weights[0][name].isfinite().all()), name
        assert not torch.equal(trained.weights[0][name], parameter), name


# Initializers


@pytest.mark.parametrize("initializer", INITIALIZERS, ids=label)
def test_an_initializer_fills_every_layer(initializer: Any) -> None:
    layers = [nn.Conv2d(3, 4, 3), nn.Linear(5, 6), nn.Conv2d(2, 4, 1, bias=False), nn.BatchNorm2d(4)]
    nets = [nn.Sequential(*copy.deepcopy(layers[:1]), nn.Sequential(*copy.deepcopy(layers[1:]))) for _ in range(2)]
    for net in nets:
        torch.manual_seed(3)
        initializer.apply(net)
    before = dict(nn.Sequential(*layers[:1], nn.Sequential(*layers[1:])).named_parameters())
    for (name, parameter), again in zip(nets[0].named_parameters(), nets[1].parameters(), strict=True):
        assert torch.equal(parameter, again), name
        if parameter.dim() > 1:
            assert not torch.equal(parameter, before[name]), name
            assert float(parameter.detach().std()) > 0, name
        elif not name.startswith("1.2"):  # of batch norm
            assert not parameter.any(), name
        else:
            assert torch.equal(parameter, before[name]), name


# Objectives


def sample(objective: Any, kind: torch.dtype = torch.float64, seed: int = 0) -> tuple[Tensor, Tensor, Draws]:
    """Return outputs, labels and draws of one batch."""
    generator = Generator().manual_seed(seed)
    outputs = torch.randn(BATCH, objective.num_outputs(CLASSES), generator=generator, dtype=torch.float64).to(kind)
    labels = torch.randint(CLASSES, (BATCH,), generator=generator)
    draws = objective.draw(BATCH, CLASSES, generator=generator)
    if objective.needs_teacher:
        draws = {**draws, "teacher_outputs": torch.randn(BATCH, CLASSES, generator=generator).to(kind)}
    return outputs.requires_grad_(), labels, draws


@pytest.mark.parametrize("objective", OBJECTIVES, ids=label)
class TestObjective:
    def test_draws_come_from_the_generator(self, objective: Any) -> None:
        state = torch.random.get_rng_state()
        first, again, other = (
            objective.draw(50, CLASSES, generator=Generator().manual_seed(seed)) for seed in (1, 1, 2)
        )
        assert all(torch.equal(first[name], again[name]) for name in first)
        assert not any(len(first[name]) > 5 and torch.equal(first[name], other[name]) for name in first)
        assert torch.equal(torch.random.get_rng_state(), state)

    def test_loss_and_logs_are_finite_numbers(self, objective: Any) -> None:
        outputs, labels, draws = sample(objective, torch.float32)
        before = {name: tensor.clone() for name, tensor in draws.items()}
        loss, logs = objective.loss(outputs, labels, draws)
        assert (loss.shape, loss.dtype) == ((), torch.float32)
        assert loss.requires_grad
        for value in (loss, *logs.values()):
            assert value.shape == ()
            assert bool(value.isfinite())
        assert torch.equal(objective.loss(outputs, labels, draws)[0], loss)
        assert all(torch.equal(draws[name], before[name]) for name in before)

    def test_loss_is_a_mean_over_the_batch(self, objective: Any) -> None:
        outputs, labels, draws = sample(objective)
        twice = {name: torch.cat([t, t]) if len(t) == BATCH else t for name, t in draws.items()}
        once, logs = objective.loss(outputs, labels, draws)
        doubled, doubled_logs = objective.loss(torch.cat([outputs, outputs]), torch.cat([labels, labels]), twice)
        torch.testing.assert_close(doubled, once)
        assert logs.keys() == doubled_logs.keys()
        for name in logs:
            torch.testing.assert_close(doubled_logs[name], logs[name])

    def test_gradient_is_the_derivative_or_the_closed_form(self, objective: Any) -> None:
        for seed in range(3):
            outputs, labels, draws = sample(objective, seed=seed)
            (gradient,) = torch.autograd.grad(objective.loss(outputs, labels, draws)[0], outputs)
            expected = objective.closed_form_gradient(outputs, labels, draws)
            if expected is None:
                step = 1e-6
                numbers = []
                for index in range(outputs.numel()):
                    change = torch.zeros(outputs.numel(), dtype=torch.float64)
                    change[index] = step
                    losses = [
                        float(objective.loss(outputs.detach() + sign * change.view_as(outputs), labels, draws)[0])
                        for sign in (1, -1)
                    ]
                    numbers.append((losses[0] - losses[1]) / (2 * step))
                expected = torch.tensor(numbers, dtype=torch.float64).view_as(outputs)
            assert not expected.requires_grad
            torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-7)

    @pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
    def test_extreme_outputs_stay_finite(self, objective: Any, kind: torch.dtype) -> None:
        for seed in range(5):
            outputs, labels, draws = sample(objective, kind, seed)
            extreme = (outputs.detach().sign() * 1e4).requires_grad_()
            draws = {name: t.sign() * 1e4 if name == "teacher_outputs" else t for name, t in draws.items()}
            loss, logs = objective.loss(extreme, labels, draws)
            (gradient,) = torch.autograd.grad(loss, extreme)
            for value in (loss, gradient, *logs.values()):
                assert bool(value.isfinite().all())

    def test_scores_are_one_per_class(self, objective: Any) -> None:
        outputs, _, _ = sample(objective)
        scores = objective.scores(outputs)
        assert scores.shape == (BATCH, CLASSES)
        assert objective.num_outputs(CLASSES) >= CLASSES

    def test_loss_from_features_is_the_same_loss(self, objective: Any) -> None:
        if not objective.needs_head:
            return
        _, labels, draws = sample(objective)
        for bias in (True, False):
            torch.manual_seed(0)
            head = nn.Linear(5, CLASSES, bias=bias).double()
            features = torch.randn(BATCH, 5, dtype=torch.float64, requires_grad=True)
            both = [
                objective.loss(head(features), labels, draws)[0],
                objective.loss_from_features(features, head, labels, draws)[0],
            ]
            torch.testing.assert_close(both[0], both[1])
            wanted = [features, *head.parameters()]
            for a, b in zip(*(torch.autograd.grad(loss, wanted) for loss in both), strict=True):
                torch.testing.assert_close(a, b)

    def test_no_gradient_flows_to_the_teacher(self, objective: Any) -> None:
        if not objective.needs_teacher:
            return
        outputs, labels, draws = sample(objective)
        teacher = draws["teacher_outputs"].requires_grad_()
        objective.loss(outputs, labels, draws)[0].backward()
        assert teacher.grad is None


def operations(loss: Tensor) -> set[str]:
    """Return the names of the backward operations of a loss."""
    names: set[str] = set()
    nodes = [loss.grad_fn]
    while nodes:
        if (node := nodes.pop()) is not None:
            names.add(node.name())
            nodes += [following for following, _ in node.next_functions]
    return names


@pytest.mark.parametrize("objective", smallest(OBJECTIVES), ids=label)
def test_several_threads_give_the_same_bits(objective: Any) -> None:
    """A backward pass that adds in the order of the threads gives other bits in some runs."""
    batch, width = 256, 1024
    torch.manual_seed(0)
    head = nn.Linear(width, objective.num_outputs(CLASSES))
    features = torch.randn(batch, width)
    labels = torch.randint(CLASSES, (batch,))
    draws = objective.draw(batch, CLASSES, generator=Generator().manual_seed(0))
    if objective.needs_teacher:
        draws = {**draws, "teacher_outputs": torch.randn(batch, CLASSES)}
    threads, found = torch.get_num_threads(), set()
    torch.set_num_threads(2)
    try:
        for _ in range(20):
            if objective.needs_head:
                loss, _ = objective.loss_from_features(features, head, labels, draws)
            else:
                loss, _ = objective.loss(head(features), labels, draws)
            assert "IndexBackward0" not in operations(loss)  # it does so; the bits below differ in four of five tests
            gradients = torch.autograd.grad(loss, list(head.parameters()))
            found.add(b"".join(gradient.numpy().tobytes() for gradient in gradients))
    finally:
        torch.set_num_threads(threads)
    assert len(found) == 1


# Optimizers


def tensors(seed: int = 0) -> list[Tensor]:
    generator = Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in ((5, 3), (7,), (4, 2, 3, 3))]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=label)
class TestOptimizer:
    def test_state_has_one_tensor_per_parameter(self, optimizer: Any) -> None:
        parameters = tensors()
        for state in optimizer.start(parameters).values():
            assert len(state) == len(parameters)
            assert all(t.shape in (p.shape, ()) and not t.any() for t, p in zip(state, parameters, strict=True))

    def test_a_step_changes_the_parameters_and_not_the_gradients(self, optimizer: Any) -> None:
        parameters, gradients = tensors(), tensors(1)
        optimizer.step(parameters, gradients, optimizer.start(parameters), 0.1)
        assert not any(map(torch.equal, parameters, tensors()))
        assert all(map(torch.equal, gradients, tensors(1)))

    def test_a_rate_of_0_changes_nothing(self, optimizer: Any) -> None:
        parameters = tensors()
        optimizer.step(parameters, tensors(1), optimizer.start(parameters), 0.0)
        assert all(map(torch.equal, parameters, tensors()))

    def test_steps_reach_the_minimum_of_a_quadratic(self, optimizer: Any) -> None:
        plain = optimizer.model_copy(update={"weight_decay": 0.0})
        parameters, target = tensors(), tensors(1)
        state = plain.start(parameters)
        distances = []
        for step in range(300):
            gradients = [p - t for p, t in zip(parameters, target, strict=True)]
            distances.append(float(sum(g.square().sum() for g in gradients)))
            plain.step(parameters, gradients, state, 0.2 * 0.98**step)
        assert distances[-1] < 0.15 * distances[0]

    def test_weight_decay_shrinks_weights_without_a_gradient(self, optimizer: Any) -> None:
        for decay in (0.0, 0.1):
            parameters = tensors()
            decaying = optimizer.model_copy(update={"weight_decay": decay})
            decaying.step(parameters, [torch.zeros_like(p) for p in parameters], decaying.start(parameters), 0.1)
            for after, before in zip(parameters, tensors(), strict=True):
                if decay:
                    assert bool(((before - after) * before.sign() > 0).all())
                else:
                    assert torch.equal(after, before)


# Schedules


@pytest.mark.parametrize("schedule", SCHEDULES, ids=label)
@pytest.mark.parametrize("epochs", [1, 2, 7])
def test_factors_of_a_schedule_are_finite_and_not_negative(schedule: Any, epochs: int) -> None:
    factors = [schedule.factor(epoch + step / 5, epochs) for epoch in range(epochs) for step in range(5)]
    assert all(0 <= factor < float("inf") for factor in factors)
    assert factors[0] > 0
    assert factors == [schedule.factor(epoch + step / 5, epochs) for epoch in range(epochs) for step in range(5)]


# Regularizers


@pytest.mark.parametrize("regularizer", REGULARIZERS, ids=label)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_a_regularizer_changes_only_weights(regularizer: Any, memory_format: torch.memory_format) -> None:
    parameters, gradients = tensors(), tensors(1)
    parameters[2] = parameters[2].to(memory_format=memory_format)
    regularizer.add_gradient(parameters, gradients)
    assert all(map(torch.equal, parameters, tensors()))
    changed = [not torch.equal(g, before) for g, before in zip(gradients, tensors(1), strict=True)]
    regularizer.constrain(parameters)
    changed = [
        by_gradient or not torch.equal(p, before)
        for by_gradient, p, before in zip(changed, parameters, tensors(), strict=True)
    ]
    # The second is a bias. The last is a convolution.
    assert changed == [regularizer.name != "filter_norm", False, True]
    assert parameters[2].is_contiguous(memory_format=memory_format)


# Augmentations


@pytest.mark.parametrize("augmentation", AUGMENTATIONS, ids=label)
@pytest.mark.parametrize("shape", [(1, 3, 9, 12), (64, 1, 12, 9)], ids=str)
def test_an_augmentation_returns_new_images_of_the_same_kind(augmentation: Any, shape: tuple[int, ...]) -> None:
    images = torch.randn(shape).contiguous(memory_format=torch.channels_last)
    before, state = images.clone(), torch.random.get_rng_state()
    first, again, other = (
        augmentation.apply(images, generator=g, own=augmentation.start(len(images), generator=g), epoch=1)
        for g in map(Generator().manual_seed, (1, 1, 2))
    )
    assert (first.shape, first.dtype) == (images.shape, images.dtype)
    assert first.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(images, before)
    assert torch.equal(first, again)
    assert len(images) == 1 or not torch.equal(first, other)
    assert torch.equal(torch.random.get_rng_state(), state)
