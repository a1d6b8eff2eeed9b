import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from small import PARAMS, data, dataset, run_config
from trainlab.config import CheckConfig, RunConfig, resolve
from trainlab.data.batches import Batches
from trainlab.data.stored import Dataset
from trainlab.errors import UserError
from trainlab.objectives.base import Draws, Logs
from trainlab.objectives.policy_gradient import PolicyGradient
from trainlab.objectives.softmax_cross_entropy import SoftmaxCrossEntropy
from trainlab.training import checks, replicas

EXPECTS = CheckConfig(**PARAMS["checks"])
IMAGES = dataset(count=120)
SMALL = {"name": "three_layer", "num_filters": 8, "filter_size": 3, "hidden_dim": 32}
CONVNET = {"name": "convnet", "width": 6, "depth": 2, "filter_size": 3, "hidden_dim": 16}
STUDENT = {"name": "teacher_student", "alpha": 0.5, "temperature": 1.0}
OBJECTIVES: list[dict[str, Any]] = [
    {"name": "softmax_cross_entropy"},
    {"name": "sampled_softmax", "n_samples": 3},
    {"name": "value_function", "epsilon": 0.2},
    {"name": "policy_gradient", "entropy_weight": 0.04, "baseline": True},
    {"name": "policy_gradient", "entropy_weight": 0.04},
]


class WrongSign(SoftmaxCrossEntropy):
    def loss(self, outputs: Tensor, labels: Tensor, draws: Draws) -> tuple[Tensor, Logs]:
        return -F.cross_entropy(outputs, labels).clamp(max=20), {}


class ShuffledLabels(SoftmaxCrossEntropy):
    def draw(self, batch: int, num_classes: int, *, generator: Generator) -> Draws:
        return {"order": torch.randperm(batch, generator=generator)}

    def loss(self, outputs: Tensor, labels: Tensor, draws: Draws) -> tuple[Tensor, Logs]:
        return F.cross_entropy(outputs, labels[draws["order"]]), {}


class HalfDetached(SoftmaxCrossEntropy):
    def loss(self, outputs: Tensor, labels: Tensor, draws: Draws) -> tuple[Tensor, Logs]:
        return F.cross_entropy(outputs * (1 + outputs.detach()), labels), {}


class BaselineNotConstant(PolicyGradient):
    """The gradient of the surrogate loss also flows through the baseline."""

    def loss(self, outputs: Tensor, labels: Tensor, draws: Draws) -> tuple[Tensor, Logs]:
        chosen = (F.log_softmax(self.scores(outputs), 1).detach() + draws["gumbel"]).argmax(1)
        of_chosen = F.log_softmax(self.scores(outputs), 1).gather(1, chosen[:, None]).squeeze(1)
        extra = torch.sigmoid(outputs[:, -1]) * of_chosen.detach()
        loss, logs = super().loss(outputs, labels, draws)
        return loss + (extra - extra.detach()).mean(), logs


def config(**own: Any) -> RunConfig:
    return run_config(**{"model": SMALL, **own})


def with_objective(objective: SoftmaxCrossEntropy | PolicyGradient) -> RunConfig:
    return config().model_copy(update={"objective": objective})


def student() -> RunConfig:
    pupil = {"suite": "tricks", "teacher": "small", "objective": STUDENT, "model": SMALL}
    return resolve({**PARAMS, "students": {"pupil": pupil}})["pupil"]


def gradients(settings: RunConfig, teacher: Tensor | None = None) -> checks.Result:
    """Return the result of the gradient check alone."""
    with checks._at_start(settings, IMAGES) as (net, place), pytest.MonkeyPatch.context() as patch:
        batches = Batches(IMAGES, inputs=settings.inputs, device=place)
        if settings.model.name == "resnet18":  # whose check makes hundreds of slow forward passes
            patch.setattr(checks, "GRADIENT_IMAGES", 1)
        return checks._gradients(settings, net, IMAGES, batches, teacher)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
def test_healthy_runs_pass(objective: dict[str, Any]) -> None:
    report = checks.check(config(objective=objective), EXPECTS, IMAGES)
    assert report.problems() == []
    assert [result.name for result in report.results] == ["initial_loss", "gradients", "overfit", "objective"]


def test_a_healthy_student_passes() -> None:
    teacher = replicas.train(config(epochs=20, lr=3e-3), data(count=120))
    report = checks.check(student(), EXPECTS, IMAGES, teacher)
    assert report.problems() == []


@pytest.mark.parametrize(
    ("broken", "fails"),
    [
        (with_objective(WrongSign(name="softmax_cross_entropy")), "objective"),
        (with_objective(ShuffledLabels(name="softmax_cross_entropy")), "objective"),
        (with_objective(HalfDetached(name="softmax_cross_entropy")), "gradients"),
        (run_config(model={"initializer": {"name": "gaussian", "std": 1e-6}}), "overfit"),  # dead
        (config(model={**SMALL, "initializer": {"name": "gaussian", "std": 1.0}}), "initial_loss"),
    ],
    ids=["wrong sign", "labels shuffled", "detached", "dead initialization", "large initialization"],
)
def test_broken_models_are_stopped(broken: RunConfig, fails: str) -> None:
    report = checks.check(broken, EXPECTS, IMAGES)
    assert fails in [result.name for result in report.results if not result.passed]
    with pytest.raises(UserError) as caught:
        report.raise_problems()
    [line] = [line for line in str(caught.value).splitlines() if f"failed its check {fails}: " in line]
    assert line.startswith("run small failed its check")
    assert "usual causes: " in line


# Gradients


class Scale(torch.autograd.Function):
    """The identity, with a wrong gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return ctx.factor * gradients[0], None


MODELS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "tf_cnn": ({"name": "tf_cnn"}, ["conv1", "conv2", "conv3", "dense", "head"]),
    "shallow": ({"name": "shallow"}, ["conv1", "conv2", "head"]),
    "three_layer": (SMALL, ["conv", "dense", "head"]),
    "convnet": (CONVNET, ["block1.0", "block2.0", "dense", "head"]),
    "convnet with global average": (
        {**CONVNET, "hidden_dim": 0, "global_average": True},
        ["block1.0", "block2.0", "conv"],
    ),
    "convnet with batch norm": ({**CONVNET, "batch_norm": True}, ["block1.0", "block1.1", "block2.1"]),
    "record_cnn": (
        {"name": "record_cnn", "widths": [4, 6], "output_scale": 1.0, "norm_memory": 0.6},
        ["first", "block1.conv1", "block2.conv2", "head"],
    ),
    "resnet18": ({"name": "resnet18", "stem_stride": 2}, ["conv1", "layer4.1.bn2"]),
}


def test_every_model_has_a_gradient_check() -> None:
    names = [choice["const"] for choice in _names("model")]
    assert {model["name"] for model, _ in MODELS.values()} == set(names)


def _names(key: str) -> list[dict[str, str]]:
    schema = RunConfig.model_json_schema()
    references = [one["$ref"].rpartition("/")[2] for one in schema["properties"][key]["oneOf"]]
    return [schema["$defs"][reference]["properties"]["name"] for reference in references]


@pytest.mark.parametrize(
    ("model", "layer", "factor"),
    [
        pytest.param(model, layer, factor, marks=pytest.mark.slow if model["name"] == "resnet18" else ())
        for model, layers in MODELS.values()
        for layer in layers
        # A gradient of 0 is further from the right one than 0.99 of it: it need not be tried where that takes seconds.
        for factor in ([0.99] if model["name"] == "resnet18" else [0.0, 0.99])
    ],
    ids=str,
)
def test_a_wrong_gradient_of_one_layer_is_found(
    model: dict[str, Any], layer: str, factor: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = torch.func.functional_call

    def wrong(net: nn.Module, parameters: dict[str, Tensor], images: tuple[Tensor]) -> Any:
        name = f"{layer}.weight"
        scaled: Tensor = Scale.apply(parameters[name], factor)
        return call(net, {**parameters, name: scaled}, images)

    monkeypatch.setattr(torch.func, "functional_call", wrong)
    assert not gradients(config(model=model)).passed


@pytest.mark.parametrize(
    "model",
    [pytest.param(model, marks=pytest.mark.slow if name == "resnet18" else ()) for name, (model, _) in MODELS.items()],
    ids=MODELS,
)
def test_right_gradients_of_each_model_pass(model: dict[str, Any]) -> None:
    assert gradients(config(model=model)).passed


@pytest.mark.parametrize("objective", [*OBJECTIVES, {**OBJECTIVES[2], "consistent": True}], ids=str)
def test_right_gradients_of_each_objective_pass(objective: dict[str, Any]) -> None:
    assert gradients(config(objective=objective)).passed


def test_right_gradients_of_a_student_pass() -> None:
    assert gradients(student(), torch.randn(120, 4)).passed


def test_a_part_that_must_be_held_constant_is_checked_against_the_closed_form() -> None:
    own = {"name": "policy_gradient", "entropy_weight": 0.04, "baseline": True}
    assert gradients(with_objective(PolicyGradient.model_validate(own))).passed
    assert not gradients(with_objective(BaselineNotConstant.model_validate(own))).passed


def test_a_kink_within_the_first_step_is_tried_again_with_a_smaller_one(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[float] = []

    def check(loss: Callable[..., Tensor], parameters: Any, *, eps: float, **_: Any) -> None:
        steps.append(eps)
        if eps == 1e-7:
            raise RuntimeError("the gradients differ")

    monkeypatch.setattr(torch.autograd, "gradcheck", check)
    assert gradients(config()).passed
    assert steps == [1e-7, 1e-8]


# Easy and difficult data


def digits(*classes: int) -> Dataset:
    """Return scikit-learn's digits of these classes as color images of 32×32 pixels."""
    from sklearn.datasets import load_digits

    images, digit = load_digits(return_X_y=True)
    chosen = np.isin(digit, classes)
    gray = (images[chosen] * 255 / 16).astype(np.uint8).reshape(-1, 1, 8, 8)
    pixels = np.ascontiguousarray(np.broadcast_to(gray.repeat(4, 2).repeat(4, 3), (len(gray), 3, 32, 32)))
    labels = np.searchsorted(classes, digit[chosen]).astype(np.int64)
    fractions = pixels / 255
    mean, std = fractions.mean((0, 2, 3)).tolist(), fractions.std((0, 2, 3)).tolist()
    return Dataset(pixels, labels, [str(c) for c in classes], mean, std, fractions.mean(0).astype(np.float32))


@pytest.mark.parametrize("objective", OBJECTIVES[:4], ids=str)
def test_easy_data_passes(objective: dict[str, Any]) -> None:
    """Two digits are learned within an epoch or two, which leaves no room for a gain."""
    settings = config(model="tf_cnn", objective=objective)
    result = checks._objective(
        settings.model_copy(update={"epochs": 40, "lr": 2e-3}), checks._sample(digits(0, 1), 100, 0), None
    )
    assert result.passed, result.says


def test_a_gain_is_required_of_a_network_that_does_not_predict_nearly_all_images(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def learned(early: float, late: float, losses: tuple[float, float] = (1.0, 0.5)) -> bool:
        accuracies = [early] * 5 + [late] * 5
        rows = [
            {"train_accuracy": accuracy, "train_loss": losses[0] if epoch == 0 else losses[1]}
            for epoch, accuracy in enumerate(accuracies)
        ]
        monkeypatch.setattr(checks, "_history", lambda *_: rows)
        return checks._objective(config(), replace(IMAGES, labels=IMAGES.labels[:100], classes=["a", "b"]), None).passed

    assert learned(0.5, 0.63)  # 4 standard errors of the difference of two means over 5 epochs of 100 images: 0.126
    assert not learned(0.5, 0.62)
    assert not learned(0.9, 0.95)
    assert learned(0.95, 0.99)
    assert learned(1.0, 1.0)
    assert not learned(1.0, 1.0, (1.0, 0.91))  # the loss must decrease by a tenth
    assert learned(1.0, 1.0, (-1.0, -1.1))


# The initial loss


def test_at_zero_outputs_the_losses_are_their_closed_forms() -> None:
    labels = torch.arange(1000) % 10
    half = math.log(10) / 2
    expected = [math.log(10), math.log(10), math.log(2)]
    expected += [-(0.5 - 0.1) * 2 * half + math.log(2) - 0.04 * 2 * half, 0.1 * 2 * half - 0.04 * 2 * half]
    for objective, value in zip(OBJECTIVES, expected, strict=True):
        settings = config(objective=objective)
        outputs = torch.zeros(1000, settings.objective.num_outputs(10))
        assert checks._mean_loss(settings, outputs, labels, None) == pytest.approx(value, abs=0.01), objective
    teacher = torch.randn(1000, 10, generator=torch.Generator().manual_seed(0))
    target = 0.5 * torch.softmax(teacher, 1) + 0.5 * torch.eye(10)[labels]
    entropy = float(-(target * target.log()).sum(1).mean())
    seen = checks._mean_loss(student(), torch.zeros(1000, 10), labels, teacher)
    assert seen == pytest.approx(math.log(10) - entropy, abs=1e-5)


def test_the_initial_loss_is_compared_with_its_value_at_zero_outputs() -> None:
    settings = config()
    with checks._at_start(settings, IMAGES) as (net, place):
        batches = Batches(IMAGES, inputs=settings.inputs, device=place)
        result = checks._initial_loss(settings, EXPECTS, net, batches, None)
        with torch.no_grad():
            loss = F.cross_entropy(net.eval()(batches.slice(0, 120)[0]), batches.labels)
        exact = EXPECTS.model_copy(update={"initial_loss_tolerance": abs(float(loss) - math.log(4)) / 2})
        assert not checks._initial_loss(settings, exact, net, batches, None).passed
    assert result.passed
    assert result.expected == pytest.approx(math.log(4))
    assert result.seen == pytest.approx(float(loss), abs=1e-5)


# The report


def test_an_expected_failure_must_happen() -> None:
    results = [
        checks.Result("overfit", 1.0, 0.5, False, "it reaches 50%"),
        checks.Result("gradients", 0.0, 0.0, True, "they agree"),
    ]
    report = checks.Report("small", results, [], 0, expected_to_fail=["overfit"])
    assert report.problems() == []
    report.raise_problems()
    [problem] = checks.Report("small", results, [], 0, expected_to_fail=["overfit", "gradients"]).problems()
    assert problem.startswith("run small passed its check gradients")
    assert problem.endswith("they agree; remove it from that list")
    [problem] = checks.Report("small", results, [], 0).problems()
    assert problem.startswith("run small failed its check overfit: it reaches 50%; usual causes: dead units")


def test_layers_are_those_of_the_network_at_its_start() -> None:
    settings = config(model={"name": "tf_cnn", "dropout_conv": 0.5})
    state = torch.random.get_rng_state()
    layers = checks.layers_at_start(settings, IMAGES)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert [layer.name for layer in layers] == ["conv1", "conv2", "conv3", "dense", "head"]
    torch.manual_seed(0)
    net = settings.model.build((3, 20, 20), 4)
    some = checks._sample(IMAGES, checks.IMAGES, 0)
    images, _ = Batches(some, inputs=settings.inputs, device=torch.device("cpu")).slice(0, 250)
    outputs = net.conv1(images).detach()
    first = layers[0]
    assert (first.mean, first.std) == pytest.approx((float(outputs.mean()), float(outputs.std())), rel=1e-4)
    assert first.never_positive == pytest.approx(float((outputs.amax((0, 2, 3)) <= 0).double().mean()))
    assert all(layer.gradient_std > 0 for layer in layers)


def test_units_that_are_never_positive_are_counted() -> None:
    outputs = torch.tensor([[1.0, -1.0, 0.0], [2.0, -3.0, 0.0]])
    assert checks._layer("dense", outputs, torch.zeros(3, 2)).never_positive == pytest.approx(2 / 3)
    maps = torch.full((2, 4, 3, 3), -1.0)
    maps[1, 2, 0, 0] = 0.5
    assert checks._layer("conv", maps, torch.zeros(4, 1, 1, 1)).never_positive == pytest.approx(3 / 4)


def test_the_saved_report_holds_what_its_picture_needs(tmp_path: Path) -> None:
    result = checks.Result("initial_loss", 2.3, math.inf, False, "it is infinite")
    layer = checks.Layer("head", math.nan, 1.23456789, 0.0, 0.0, 0.0)
    report = checks.Report("small", [result], [layer], 250, because="of its last layer")
    report.save(tmp_path / "small.json")
    saved = json.loads((tmp_path / "small.json").read_text())
    assert saved == {
        "passed": False,
        "because": "of its last layer",
        "checks": {"initial_loss": {"expected": 2.3, "seen": "inf", "passed": False, "says": "it is infinite"}},
        "layer_images": 250,
        "layers": {
            "head": {
                "mean": "nan",
                "std": 1.23457,
                "never_positive": 0.0,
                "gradient_mean": 0.0,
                "gradient_std": 0.0,
            }
        },
    }


def test_checks_restore_torchs_random_state_and_give_the_same_results_twice() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    first = checks.check(config(), EXPECTS, IMAGES)
    assert torch.equal(torch.rand(3), expected)
    assert checks.check(config(), EXPECTS, IMAGES) == first
    assert first.layer_images == 120
    assert first.layers == checks.layers_at_start(config(), IMAGES)


def test_dropout_and_regularization_are_off_while_a_small_set_is_memorized(monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[RunConfig] = []

    def history(settings: RunConfig, *_: Any) -> list[dict[str, float]]:
        used.append(settings)
        return [{"train_accuracy": 1.0, "train_loss": 1.0}]

    monkeypatch.setattr(checks, "_history", history)
    own: dict[str, Any] = {
        "model": {"name": "tf_cnn", "dropout_conv": 0.9, "dropout_dense": 0.9},
        "regularizers": [{"name": "max_norm", "limit": 0.01}],
        "optimizer": {"weight_decay": 10.0},
        "augmentation": ["flip"],
        "schedule": "cosine",
        "replicas": 3,
        "subset": 50,
        "validation": 0.5,
        "objective": OBJECTIVES[2],
    }
    checks.check(run_config(**own), EXPECTS, IMAGES)
    expected = run_config(
        model="tf_cnn", batch_size=50, epochs=60, lr=3e-3, objective={"name": "value_function", "epsilon": 0.2}
    )
    plain = expected.model_copy(update={"objective": SoftmaxCrossEntropy(name="softmax_cross_entropy")})
    assert [settings.model_copy(update={"code": expected.code}) for settings in used] == [plain, expected]
