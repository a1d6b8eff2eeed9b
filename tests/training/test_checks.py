import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from small import PARAMS, data, dataset, run_config
from trainlab.config import CheckConfig, RunConfig, resolve
from trainlab.data.batches import Batches
from trainlab.errors import UserError
from trainlab.objectives.base import Draws, Logs
from trainlab.objectives.softmax_cross_entropy import SoftmaxCrossEntropy
from trainlab.training import checks, loop

EXPECTS = CheckConfig(**PARAMS["checks"])
IMAGES = dataset(count=120)
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


def with_objective(objective: SoftmaxCrossEntropy) -> RunConfig:
    return run_config().model_copy(update={"objective": objective})


def student() -> RunConfig:
    pupil = {"suite": "tricks", "teacher": "small", "objective": STUDENT}
    return resolve({**PARAMS, "students": {"pupil": pupil}})["pupil"]


def outcome(config: RunConfig, **expects: Any) -> dict[str, bool]:
    report = checks.check(config, EXPECTS.model_copy(update=expects), IMAGES)
    return {result.name: result.passed for result in report.results}


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_healthy_runs_pass(objective: dict[str, Any]) -> None:
    report = checks.check(run_config(objective=objective), EXPECTS, IMAGES)
    assert report.problems() == []
    assert [result.name for result in report.results] == ["initial_loss", "gradients", "overfit", "objective"]


def test_a_healthy_student_passes() -> None:
    teacher = loop.train(run_config(epochs=20, lr=3e-3), data(count=120))
    report = checks.check(student(), EXPECTS, data(count=120).train, teacher)
    assert report.problems() == []


@pytest.mark.parametrize(
    ("broken", "fails"),
    [
        (with_objective(WrongSign(name="softmax_cross_entropy")), "objective"),
        (with_objective(ShuffledLabels(name="softmax_cross_entropy")), "objective"),
        (with_objective(HalfDetached(name="softmax_cross_entropy")), "gradients"),
        (run_config(model={"initializer": {"name": "gaussian", "std": 1e-6}}), "overfit"),  # dead
        (run_config(model={"initializer": {"name": "gaussian", "std": 1.0}}), "initial_loss"),
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


def test_at_zero_outputs_the_losses_are_their_closed_forms() -> None:
    """What an initial loss is compared with, for 10 classes: see the definitions of the objectives."""
    labels = torch.arange(1000) % 10
    half = math.log(10) / 2
    expected = [math.log(10), math.log(10), math.log(2)]
    expected += [-(0.5 - 0.1) * 2 * half + math.log(2) - 0.04 * 2 * half, 0.1 * 2 * half - 0.04 * 2 * half]
    for objective, value in zip(OBJECTIVES, expected, strict=True):
        config = run_config(objective=objective)
        outputs = torch.zeros(1000, config.objective.num_outputs(10))
        assert checks._mean_loss(config, outputs, labels, None) == pytest.approx(value, abs=0.01), objective
    teacher = torch.randn(1000, 10, generator=torch.Generator().manual_seed(0))
    target = 0.5 * torch.softmax(teacher, 1) + 0.5 * torch.eye(10)[labels]
    entropy = float(-(target * target.log()).sum(1).mean())
    seen = checks._mean_loss(student(), torch.zeros(1000, 10), labels, teacher)
    assert seen == pytest.approx(math.log(10) - entropy, abs=1e-5)


def test_a_failure_can_be_expected_and_must_then_happen() -> None:
    large = run_config(model={"initializer": {"name": "gaussian", "std": 1e-6}})
    report = checks.check(large, EXPECTS.model_copy(update={"expected_to_fail": ["overfit", "objective"]}), IMAGES)
    assert report.problems() == []
    healthy = EXPECTS.model_copy(update={"expected_to_fail": ["overfit"]})
    [problem] = checks.check(run_config(), healthy, IMAGES).problems()
    assert "run small passed its check overfit" in problem
    assert "remove it from that list" in problem


def test_layers_are_those_of_the_network_at_its_start() -> None:
    config = run_config(model={"dropout_conv": 0.5})
    report = checks.check(config, EXPECTS, IMAGES)
    assert [layer.name for layer in report.layers] == ["conv1", "conv2", "conv3", "dense", "head"]
    torch.manual_seed(0)
    net = config.model.build((3, 20, 20), 4)
    some = checks._sample(IMAGES, checks.IMAGES, 0)
    images, _ = Batches(some, inputs=config.inputs, device=torch.device("cpu")).slice(0, 250)
    outputs = net.conv1(images).detach()
    first = report.layers[0]
    assert (first.mean, first.std) == pytest.approx((float(outputs.mean()), float(outputs.std())), rel=1e-4)
    assert first.never_positive == pytest.approx(float((outputs.amax((0, 2, 3)) <= 0).double().mean()))
    assert all(layer.gradient_std > 0 for layer in report.layers)


def test_layers_can_be_looked_at_without_the_checks() -> None:
    state = torch.random.get_rng_state()
    assert checks.layers_at_start(run_config(), IMAGES) == checks.check(run_config(), EXPECTS, IMAGES).layers
    assert torch.equal(torch.random.get_rng_state(), state)


def test_dead_units_are_counted() -> None:
    outputs = torch.tensor([[1.0, -1.0, 0.0], [2.0, -3.0, 0.0]])
    assert checks._layer("dense", outputs, torch.zeros(3, 2)).never_positive == pytest.approx(2 / 3)
    maps = torch.full((2, 4, 3, 3), -1.0)
    maps[1, 2, 0, 0] = 0.5
    assert checks._layer("conv", maps, torch.zeros(4, 1, 1, 1)).never_positive == pytest.approx(3 / 4)


def test_the_report_is_saved_also_where_numbers_are_not_finite(tmp_path: Path) -> None:
    result = checks.Result("initial_loss", 2.3, math.inf, False, "it is infinite")
    layer = checks.Layer("head", math.nan, 1.23456789, 0.0, 0.0, 0.0)
    checks.Report("small", [result], [layer], because="of its last layer").save(tmp_path / "small.json")
    saved = json.loads((tmp_path / "small.json").read_text())
    assert saved["passed"] is False
    assert saved["because"] == "of its last layer"
    assert saved["checks"]["initial_loss"]["seen"] == "inf"
    assert saved["layers"]["head"] == {
        "mean": "nan",
        "std": 1.23457,
        "never_positive": 0.0,
        "gradient_mean": 0.0,
        "gradient_std": 0.0,
    }


def test_checks_leave_torchs_random_state_alone_and_repeat_themselves() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    first = checks.check(run_config(), EXPECTS, IMAGES)
    assert torch.equal(torch.rand(3), expected)
    np.random.default_rng().random()
    assert checks.check(run_config(), EXPECTS, IMAGES) == first


def test_dropout_and_regularizers_are_off_while_a_small_set_is_learned() -> None:
    own = {"model": {"dropout_conv": 0.9, "dropout_dense": 0.9}, "regularizers": [{"name": "max_norm", "limit": 0.01}]}
    assert outcome(run_config(**own, optimizer={"weight_decay": 10.0}))["overfit"]
