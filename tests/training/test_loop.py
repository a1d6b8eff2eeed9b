import dataclasses
import math
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from small import PARAMS, data, dataset, run_config, scored
from trainlab.config import resolve
from trainlab.data.augmentation import AlternatingFlip, Flip
from trainlab.data.batches import Batches
from trainlab.data.stored import Data, Dataset
from trainlab.errors import UserError
from trainlab.models.base import Network
from trainlab.models.record_cnn import whitening_filters
from trainlab.objectives.sampled_softmax import SampledSoftmax
from trainlab.objectives.value_function import ValueFunction
from trainlab.optimizers import Sgd
from trainlab.training import loop
from trainlab.training.inference import outputs_of
from trainlab.training.loop import Row, Step
from trainlab.training.model_file import TrainedModel
from trainlab.training.replicas import train

SMALL = {"name": "three_layer", "num_filters": 4, "filter_size": 3, "hidden_dim": 16}
COLUMNS = ["replica", "epoch", "lr", "train_loss", "train_accuracy", "test_loss", "test_accuracy"]
ONE_CYCLE = {"name": "one_cycle", "warmup": 0.4, "start": 0.1, "end": 0.01}


def trained(images: Data | None = None, **own: Any) -> tuple[TrainedModel, list[Row]]:
    rows: list[Row] = []
    model = train(run_config(**{"model": SMALL, **own}), images or data(), on_epoch=rows.append)
    return model, rows


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def network(seed: int = 0, **own: Any) -> Network:
    """Return the network of a run as training starts it."""
    torch.manual_seed(seed)
    net: Network = run_config(**{"model": SMALL, **own}).model.build((3, 20, 20), 4)
    return net


def inputs(images: Dataset) -> Tensor:
    mean, std = (np.array(values, dtype=np.float32).reshape(3, 1, 1) for values in (images.mean, images.std))
    return torch.tensor((images.images / np.float32(255) - mean) / std)


def orders(count: int, epochs: int, seed: int = 0) -> list[Tensor]:
    """Return the order of the images in each epoch."""
    stream = loop._generator(seed, "order", torch.device("cpu"))
    return [torch.randperm(count, generator=stream) for _ in range(epochs)]


# What is computed


def test_training_learns_and_reports_each_epoch() -> None:
    model, rows = trained(model="tf_cnn", epochs=30, lr=3e-3)
    assert [row["epoch"] for row in rows] == list(range(1, 31))
    assert list(rows[0]) == COLUMNS
    assert rows[0]["train_loss"] == pytest.approx(math.log(4), abs=0.2)
    assert rows[-1]["train_loss"] < 0.1
    assert rows[-1]["train_accuracy"] == 1
    assert rows[-1]["test_accuracy"] == 1
    scores, labels = torch.tensor(model.scores(scored())), torch.tensor(scored().labels)
    assert (scores[0].argmax(1) == labels).double().mean() == rows[-1]["test_accuracy"]
    assert rows[-1]["test_loss"] == pytest.approx(float(F.cross_entropy(scores[0], labels)))


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [
        ("constant", [[1.0, 1.0, 1.0]] * 3),
        ({"name": "exponential", "gamma": 0.5}, [[1.0] * 3, [0.5] * 3, [0.25] * 3]),
        # Half cosines up from 0.1 to 1 in the first 3.6 of 9 steps, then down to 0.01.
        (
            ONE_CYCLE,
            np.reshape(
                [0.1 + 0.9 * (1 - math.cos(math.pi * step / 3.6)) / 2 for step in range(4)]
                + [0.01 + 0.99 * (1 + math.cos(math.pi * (step - 3.6) / 5.4)) / 2 for step in range(4, 9)],
                (3, 3),
            ).tolist(),
        ),
    ],
    ids=["constant", "exponential", "one_cycle"],
)
def test_training_is_the_textbook_loop(
    schedule: Any, factors: list[list[float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compare with plain PyTorch: the same network, order, batches and rates, with torch.optim.SGD."""
    used: list[float] = []
    step = Sgd.step

    def spy(self: Sgd, parameters: Any, gradients: Any, state: Any, lr: float) -> None:
        used.append(lr)
        step(self, parameters, gradients, state, lr)

    monkeypatch.setattr(Sgd, "step", spy)
    own: dict[str, Any] = {"epochs": 3, "lr": 0.05, "optimizer": {"name": "sgd", "momentum": 0.9}, "schedule": schedule}
    model, rows = trained(**own)
    assert used == pytest.approx([0.05 * factor for epoch in factors for factor in epoch])
    assert [row["lr"] for row in rows] == used[::3]  # of the epoch's first step

    net, images = network(), dataset()
    optimizer = torch.optim.SGD(net.parameters(), 0.05, momentum=0.9)
    for order, epoch_factors in zip(orders(40, 3), factors, strict=True):
        for index, factor in zip(order.split(16), epoch_factors, strict=True):
            optimizer.param_groups[0]["lr"] = 0.05 * factor
            optimizer.zero_grad()
            loss = F.cross_entropy(net(inputs(images)[index]), torch.tensor(images.labels)[index])
            loss.backward()
            optimizer.step()
    for name, parameter in net.named_parameters():
        torch.testing.assert_close(model.weights[0][name], parameter.detach(), rtol=1e-4, atol=1e-5)


def test_losses_are_means_over_images_if_the_last_batch_is_smaller() -> None:
    steps: list[tuple[int, float]] = []
    rows: list[Row] = []
    objective = {"name": "policy_gradient", "entropy_weight": 0}
    train(
        run_config(model=SMALL, epochs=1, lr=1e-9, objective=objective),
        data(count=17),
        on_epoch=rows.append,
        on_step=lambda step: steps.append((step.images, float(step.loss))),
    )
    assert [images for images, _ in steps] == [16, 1]
    assert rows[0]["train_loss"] == pytest.approx((16 * steps[0][1] + steps[1][1]) / 17, rel=1e-6)
    assert rows[0]["entropy"] == pytest.approx(math.log(4), abs=0.1)  # of each image


def test_training_accuracy_counts_the_predictions_before_each_update() -> None:
    _, [row] = trained(epochs=1, batch_size=40)
    labels = torch.tensor(dataset().labels)
    with torch.no_grad():
        correct = (network()(inputs(dataset())).argmax(1) == labels).sum()
    assert row["train_accuracy"] == float(correct) / 40


@pytest.mark.parametrize(
    ("objective", "logs"),
    [
        ({"name": "sampled_softmax", "n_samples": 3}, []),
        ({"name": "value_function", "epsilon": 0.2}, ["reward"]),
        (
            {"name": "policy_gradient", "entropy_weight": 0.04, "baseline": True},
            ["reward", "entropy", "baseline", "baseline_loss"],
        ),
        ({"name": "policy_gradient", "entropy_weight": 0.04}, ["reward", "entropy"]),
        ({"name": "value_function", "epsilon": 0.2, "consistent": True}, ["reward"]),
    ],
    ids=str,
)
def test_every_objective_learns_and_the_history_has_its_logs(objective: dict[str, Any], logs: list[str]) -> None:
    model, rows = trained(objective=objective, epochs=40, lr=1e-2)
    assert list(rows[0])[7:] == logs
    assert rows[-1]["test_accuracy"] > 0.7  # of 4 classes
    if "reward" in logs:
        assert rows[-1]["reward"] > rows[0]["reward"] + 0.2
    assert model.scores(scored()).shape == (1, 12, 4)


def test_sampled_softmax_computes_only_the_rows_that_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SampledSoftmax, "loss", None)
    objective = {"name": "sampled_softmax", "n_samples": 3}
    few, rows = trained(objective=objective)
    monkeypatch.undo()
    monkeypatch.setattr(SampledSoftmax, "needs_head", False)
    whole, expected = trained(objective=objective)
    for name, tensor in whole.weights[0].items():
        torch.testing.assert_close(few.weights[0][name], tensor, rtol=1e-3, atol=1e-5)
    assert [row["train_accuracy"] for row in rows] == [row["train_accuracy"] for row in expected]


def test_regularizers_change_the_gradient_and_constrain_the_weights() -> None:
    limited, _ = trained(regularizers=[{"name": "max_norm", "limit": 0.5}])
    norms = [w.flatten(1).norm(dim=1).max() for name, w in limited.weights[0].items() if name.endswith("weight")]
    assert max(norms) <= 0.5 + 1e-6
    sgd: dict[str, Any] = {"optimizer": "sgd", "lr": 0.05}
    penalized, _ = trained(**sgd, regularizers=[{"name": "elastic_net", "l1": 1e-12, "l2": 0.1}])
    plain, _ = trained(**sgd)
    assert sum(w.norm() for w in penalized.weights[0].values()) < sum(w.norm() for w in plain.weights[0].values())


def test_layer_statistics_are_means_over_steps() -> None:
    own: dict[str, Any] = {"optimizer": "sgd", "lr": 0.05, "epochs": 1}
    layers = ["conv", "dense", "head"]
    _, [row] = trained(layer_statistics=True, batch_size=40, **own)  # one step: the ratio is lr·‖g‖ / ‖w‖
    assert list(row)[7:] == [f"{what}.{layer}" for layer in layers for what in ("gradient_norm", "update_ratio")]
    net = network()
    for layer in layers:
        norm = sum(float(p.detach().norm()) ** 2 for p in net.get_submodule(layer).parameters()) ** 0.5
        assert row[f"update_ratio.{layer}"] == pytest.approx(0.05 * row[f"gradient_norm.{layer}"] / norm, rel=1e-4)
    _, [two_steps] = trained(layer_statistics=True, batch_size=20, **own)
    assert 0.2 < two_steps["gradient_norm.head"] / row["gradient_norm.head"] < 5
    assert same(trained(layer_statistics=True)[0].weights[0], trained()[0].weights[0])


# Random numbers


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_same_seed_gives_the_same_bits_whatever_ran_before(precision: str) -> None:
    own: dict[str, Any] = {
        "precision": precision,
        "model": {"name": "tf_cnn", "dropout_conv": 0.2, "dropout_dense": 0.2},
    }
    first, rows = trained(**own)
    torch.randn(1000)
    torch.manual_seed(99)
    trained(seed=5, model={"name": "tf_cnn", "dropout_conv": 0.5}, epochs=1)
    second, again = trained(**own)
    assert same(first.weights[0], second.weights[0])
    assert rows == again
    assert not same(first.weights[0], trained(**own, seed=1)[0].weights[0])


@pytest.mark.slow
def test_another_process_gives_the_same_bits(tmp_path: Path) -> None:
    here, _ = trained(model={"name": "tf_cnn", "dropout_conv": 0.2})
    here.save(tmp_path / "here.safetensors")
    script = (
        "import sys; sys.path[:0] = sys.argv[1:3]\n"
        "from pathlib import Path; from small import data, run_config; from trainlab.training.replicas import train\n"
        "train(run_config(model={'name': 'tf_cnn', 'dropout_conv': 0.2}), data()).save(Path(sys.argv[3]))\n"
    )
    there = tmp_path / "there.safetensors"
    tests = Path(__file__).parents[1]
    subprocess.run([sys.executable, "-c", script, tests, tests.parent / "src", there], check=True, timeout=300)
    assert there.read_bytes() == (tmp_path / "here.safetensors").read_bytes()


def test_training_restores_torchs_random_state() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    trained(epochs=1)
    assert torch.equal(torch.rand(3), expected)


def test_a_replica_is_the_run_with_its_seed() -> None:
    both, rows = trained(replicas=2, seed=3)
    assert [(row["replica"], row["epoch"]) for row in rows] == [(0, 1), (0, 2), (1, 1), (1, 2)]
    for replica in range(2):
        alone, _ = trained(seed=3 + replica)
        assert same(both.weights[replica], alone.weights[0])


def spied(monkeypatch: pytest.MonkeyPatch, owner: type, method: str, **own: Any) -> list[Any]:
    """Train, and return all results of one method of a class; of `take`, the positions."""
    calls: list[Any] = []
    original = getattr(owner, method)

    def spy(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(self, *args, **kwargs)
        calls.append(args[0].tolist() if method == "take" else {name: t.tolist() for name, t in result.items()})
        return result

    with monkeypatch.context() as patch:
        patch.setattr(owner, method, spy)
        trained(**own)
    return calls


BANDIT = {"name": "value_function", "epsilon": 0.5}


def test_each_epoch_and_replica_has_an_order_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    batches = spied(monkeypatch, Batches, "take", epochs=3, replicas=2)
    seen = [[i for batch in batches[start : start + 3] for i in batch] for start in range(0, 18, 3)]
    expected = [order.tolist() for seed in range(2) for order in orders(40, 3, seed)]
    assert seen == expected
    assert all(sorted(order) == list(range(40)) for order in seen)
    assert all(a != b for a, b in pairwise(seen))


@pytest.mark.parametrize(
    "own",
    [
        {"model": {"name": "tf_cnn", "dropout_conv": 0.5, "dropout_dense": 0.5}},
        {"objective": BANDIT},
        {"augmentation": ["flip"]},
        {"model": {**SMALL, "initializer": {"name": "gaussian", "std": 0.1}}},
    ],
    ids=str,
)
def test_nothing_else_changes_the_order(own: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    assert spied(monkeypatch, Batches, "take", **own) == spied(monkeypatch, Batches, "take")


@pytest.mark.parametrize(
    ("owner", "own", "others"),
    [
        (ValueFunction, {"objective": BANDIT}, {"augmentation": ["flip"]}),
        (Flip, {"augmentation": ["flip"]}, {"objective": BANDIT}),
    ],
    ids=["objective", "augmentation"],
)
def test_draws_differ_between_steps_and_replicas_and_are_independent_of_others(
    owner: type, own: dict[str, Any], others: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = spied(monkeypatch, owner, "draw", **own, replicas=2, batch_size=20)
    assert len(alone) == 2 * 2 * 2
    assert all(a != b for i, a in enumerate(alone) for b in alone[:i])
    dropout = {"model": {"name": "tf_cnn", "dropout_dense": 0.5}}
    assert spied(monkeypatch, owner, "draw", **own, **others, **dropout, replicas=2, batch_size=20) == alone
    assert spied(monkeypatch, owner, "draw", **own, seed=1, batch_size=20) == alone[4:]


def test_dropout_and_augmentation_change_no_initial_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    starts: list[dict[str, Tensor]] = []
    build = loop.build

    def spy(*args: Any) -> Network:
        net = build(*args)
        starts.append({name: tensor.clone() for name, tensor in net.state_dict().items()})
        return net

    monkeypatch.setattr(loop, "build", spy)
    for own in ({}, {"augmentation": ["flip"]}, {"objective": BANDIT}, {"layer_statistics": True}):
        trained(epochs=1, seed=3, **own)
    assert all(same(start, starts[0]) for start in starts)
    assert same(starts[0], network(3).state_dict())


def test_augmentation_changes_the_result() -> None:
    flipped, _ = trained(augmentation=["flip", {"name": "crop", "padding": 2}])
    assert not same(flipped.weights[0], trained()[0].weights[0])


# Precision


@pytest.mark.parametrize("objective", ["softmax_cross_entropy", {"name": "sampled_softmax", "n_samples": 2}], ids=str)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_layers_compute_in_the_configured_precision_in_training_and_in_float32_in_scoring(
    precision: str, objective: Any
) -> None:
    seen: dict[bool, set[torch.dtype]] = {True: set(), False: set()}

    def record(layer: nn.Module, _: Any, output: Tensor) -> None:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            seen[layer.training].add(output.dtype)

    handle = nn.modules.module.register_module_forward_hook(record)
    try:
        model, rows = trained(precision=precision, objective=objective)
    finally:
        handle.remove()
    assert seen == {True: {getattr(torch, precision)}, False: {torch.float32}}
    net = network()
    net.load_state_dict(model.weights[0])
    with torch.no_grad():
        scores = net(inputs(scored()))
    np.testing.assert_allclose(model.scores(scored())[0], scores, rtol=1e-4, atol=1e-5)
    assert rows[-1]["test_loss"] == pytest.approx(float(F.cross_entropy(scores, torch.tensor(scored().labels))))
    assert {tensor.dtype for tensor in model.weights[0].values()} == {torch.float32}


def test_bfloat16_gives_other_weights() -> None:
    assert not same(trained(precision="bfloat16")[0].weights[0], trained()[0].weights[0])


def test_tf32_is_on_in_training_with_tf32_alone_and_off_in_scoring(monkeypatch: pytest.MonkeyPatch) -> None:
    conv: Any = torch.backends.cudnn.conv  # type: ignore[attr-defined]
    seen: set[tuple[bool, str, str]] = set()
    features = Network.forward

    def spy(self: Network, images: Tensor) -> Tensor:
        seen.add((self.training, conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision))
        return features(self, images)

    monkeypatch.setattr(Network, "forward", spy)
    steps: set[str] = set()
    for precision, arithmetic in (("tf32", "tf32"), ("float32", "ieee"), ("bfloat16", "ieee")):
        seen.clear()
        steps.clear()
        config = run_config(model=SMALL, precision=precision, epochs=1)
        train(config, data(), on_epoch=lambda row: None, on_step=lambda step: steps.add(conv.fp32_precision))
        assert seen == {(True, arithmetic, arithmetic), (False, "ieee", "ieee")}
        assert steps == {arithmetic}  # of the backward pass, too
        assert conv.fp32_precision == "ieee"


def test_on_a_cpu_tf32_is_float32() -> None:
    model, _ = trained(precision="tf32")
    assert same(model.weights[0], trained()[0].weights[0])
    assert model.trained_on["precision"] == "float32"


# Students


def student(images: Data, teacher_outputs: np.ndarray, alpha: float, **own: Any) -> tuple[TrainedModel, list[Row]]:
    params = {**PARAMS, "students": {"pupil": {"suite": "tricks", "teacher": "small", "model": SMALL, **own}}}
    params["students"]["pupil"]["objective"] = {"name": "teacher_student", "alpha": alpha, "temperature": 1.0}
    rows: list[Row] = []
    config = resolve(params)["pupil"]
    return train(config, images, teacher_outputs=teacher_outputs, on_epoch=rows.append), rows


def sure(labels: np.ndarray) -> np.ndarray:
    """Return the outputs of a teacher that is certain of these labels."""
    outputs: np.ndarray = 20 * np.eye(4, dtype=np.float32)[labels % 4][None]
    return outputs


def test_a_student_learns_the_answers_of_its_teacher() -> None:
    images = data()
    wrong = images.train.labels + 1
    model, rows = student(images, sure(wrong), 1.0, epochs=30, lr=1e-2)
    assert list(rows[0])[7:] == ["teacher_agreement", "label_agreement"]
    assert rows[-1]["teacher_agreement"] == 1
    assert rows[-1]["label_agreement"] == rows[-1]["train_accuracy"] == 0
    assert (model.scores(images.train)[0].argmax(1) == wrong % 4).all()


def test_a_student_at_alpha_0_is_trained_with_its_labels_alone() -> None:
    images = data()
    taught, _ = student(images, np.random.default_rng(0).normal(size=(1, 40, 4)).astype(np.float32), 0.0)
    plain, _ = trained(images)
    for name, tensor in plain.weights[0].items():
        torch.testing.assert_close(taught.weights[0][name], tensor, rtol=1e-4, atol=1e-6)


def test_each_replica_of_a_student_has_its_own_teacher() -> None:
    images = data()
    outputs = np.concatenate([sure(images.train.labels + r) for r in range(2)])
    _, rows = student(images, outputs, 1.0, replicas=3, epochs=30, lr=1e-2)
    assert [row["train_accuracy"] for row in rows if row["epoch"] == 30] == [1, 0, 1]


def test_a_students_subset_gets_the_outputs_for_its_own_images() -> None:
    images = data()
    _, rows = student(images, sure(images.train.labels + 1), 1.0, epochs=30, lr=1e-2, subset=16, validation=0.2)
    assert rows[-1]["teacher_agreement"] == 1
    assert rows[-1]["train_accuracy"] == 0


# Validation and subsets


def test_validation_images_are_held_out_and_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    images = data(count=80)
    config = run_config(model=SMALL, validation=0.25, lr=1e-2, epochs=4)
    used = {i for batch in spied(monkeypatch, Batches, "take", images=images, validation=0.25) for i in batch}
    assert used == set(range(60))  # positions in the images that are left
    positions, held_out = loop._split(config, images.train)
    assert sorted([*positions, *held_out]) == list(range(80))

    model, rows = trained(images, validation=0.25, lr=1e-2, epochs=4)
    assert list(rows[0]) == [*COLUMNS, "validation_loss", "validation_accuracy", "accuracy_gap"]
    labels = images.train.labels[held_out]
    scores = torch.tensor(model.scores(images.train)[0][held_out])
    assert rows[-1]["validation_loss"] == pytest.approx(float(F.cross_entropy(scores, torch.tensor(labels))))
    assert rows[-1]["validation_accuracy"] == (scores.argmax(1).numpy() == labels).mean()
    assert rows[-1]["accuracy_gap"] == rows[-1]["train_accuracy"] - rows[-1]["validation_accuracy"]


@pytest.mark.parametrize(("fraction", "left"), [(0.25, 60), (0.5, 40), (0.001, 79)])
def test_the_validation_fraction_is_rounded_to_at_least_one_image(fraction: float, left: int) -> None:
    positions, held_out = loop._split(run_config(validation=fraction), dataset(count=80))
    assert (len(positions), len(held_out)) == (left, 80 - left)


@pytest.mark.parametrize(("validation", "count"), [(0.99, 40), (0.95, 38), (0.999, 40)])
def test_validation_must_leave_images_of_each_class(validation: float, count: int) -> None:
    with pytest.raises(UserError) as caught:
        trained(validation=validation)
    assert str(caught.value).startswith(
        f"run small: validation is {validation}, which holds out {count} of 40 training images and leaves none of class"
    )
    assert str(caught.value).endswith("to train on: lower it")
    assert "\n" not in str(caught.value)
    assert len(trained(validation=0.9)[1]) == 2  # one image of each of 4 classes is left


def test_a_subset_is_the_same_for_each_replica_and_keeps_the_fraction_of_each_class() -> None:
    images = dataset(count=80)
    positions, held_out = loop._split(run_config(subset=20, validation=0.5), images)
    assert (len(positions), len(held_out)) == (20, 40)
    assert not set(positions) & set(held_out)
    assert np.bincount(images.labels[positions]).tolist() == [5] * 4
    assert np.bincount(images.labels[held_out]).tolist() == [10] * 4
    assert (loop._split(run_config(subset=20, validation=0.5, seed=1), images)[0] != positions).any()


def test_a_subset_is_all_that_is_trained_on(monkeypatch: pytest.MonkeyPatch) -> None:
    used = {i for batch in spied(monkeypatch, Batches, "take", subset=8) for i in batch}
    assert used == set(range(8))
    assert not same(trained(subset=8)[0].weights[0], trained()[0].weights[0])
    with pytest.raises(UserError, match="run small: subset is 41, and there are 40 images to train on: lower it"):
        trained(subset=41)


def test_without_test_images_nothing_is_scored() -> None:
    images = data()
    rows: list[Row] = []
    alone = train(run_config(model=SMALL), Data(images.train, None), on_epoch=rows.append)
    assert list(rows[0]) == COLUMNS[:5]
    assert same(alone.weights[0], trained(images)[0].weights[0])


# Callbacks and errors


def test_the_network_is_shown_after_each_epoch() -> None:
    seen: list[tuple[float, Tensor]] = []
    model = train(
        run_config(model=SMALL, epochs=3),
        data(),
        on_network=lambda row, net: seen.append((row["epoch"], net.head.weight.detach().clone())),
    )
    assert [epoch for epoch, _ in seen] == [1, 2, 3]
    assert torch.equal(seen[-1][1], model.weights[0]["head.weight"])


def test_steps_report_progress() -> None:
    seen: list[Step] = []
    train(run_config(model=SMALL, replicas=2), data(), on_step=seen.append)
    assert [(s.replica, s.epoch, s.done, s.steps) for s in seen] == [
        (r, e, d, 3) for r in range(2) for e in (1, 2) for d in (1, 2, 3)
    ]


def test_a_loss_that_is_not_finite_stops_the_run() -> None:
    done: list[int] = []
    with pytest.raises(UserError) as caught:
        train(
            run_config(model=SMALL, optimizer="sgd", lr=1e30, epochs=5),
            data(),
            on_step=lambda step: done.append(step.done),
        )
    assert str(caught.value).startswith("run small: the loss is ")
    assert "in epoch 1, step 2 of 3 (replica 0), so training stopped" in str(caught.value)
    assert "lr is 1e+30" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert done == [1]


@pytest.mark.parametrize(("start", "value", "step"), [(0, "nan", 2), (1, "nan", 2), (2, "inf", 4)])
def test_the_first_loss_that_is_not_finite_is_named(start: int, value: str, step: int) -> None:
    """On a GPU the losses are read only every few steps."""
    config = run_config(model=SMALL)
    images = loop.images_on(torch.device("cpu"), config, data())
    sums = loop.EpochSums(7, 40, 10, torch.device("cpu"))
    for loss in (1.0, math.nan, 2.0, math.inf):
        sums.add(0.1, torch.tensor(loss), torch.tensor(0), {})
    with pytest.raises(UserError, match=rf"the loss is {value} in epoch 7, step {step} of 4 \(replica 3\)"):
        loop.Replica(config, network(), images, 3)._check_finite(sums, start)


def test_images_that_are_too_small_for_the_model() -> None:
    small = Data(*(dataclasses.replace(part, images=part.images[:, :, :8, :8]) for part in (dataset(), scored())))
    with pytest.raises(UserError, match=r"run small: .*at least 18×18.*data.image_size"):
        train(run_config(), small)


def test_scoring_restores_the_networks_mode() -> None:
    batches = Batches(scored(), inputs="raw", device=torch.device("cpu"))
    for training in (True, False):
        net = network().train(training)
        outputs_of(net, batches)
        assert net.training is training


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_missing_gpu() -> None:
    with pytest.raises(UserError, match="finds no GPU: set `device: auto`"):
        trained(device="cuda")
    assert trained(device="auto")[0].trained_on["device"] == "cpu"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_same_bits_twice() -> None:
    own: dict[str, Any] = {"device": "cuda", "model": {"name": "tf_cnn", "dropout_conv": 0.2}}
    assert same(trained(**own)[0].weights[0], trained(**own)[0].weights[0])


def test_the_record_describes_where_training_ran() -> None:
    model, _ = trained(precision="bfloat16")
    assert model.trained_on == {
        "device": "cpu",
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": 1,
        "torch": torch.__version__,
        "precision": "bfloat16",
    }


# Hooks of components


def test_a_network_sees_training_images_before_the_first_step() -> None:
    record = {"name": "record_cnn", "widths": [4], "output_scale": 0.1, "norm_memory": 0.6, "whitening_eps": 1e-3}
    model, _ = trained(model=record, epochs=1)
    batches = Batches(dataset(), inputs="standardized", device=torch.device("cpu"))
    expected = whitening_filters(batches.slice(0, 40)[0], 1e-3)
    torch.testing.assert_close(model.weights[0]["first.weight"], expected)
    assert same(train(run_config(model=record, epochs=1), data()).weights[0], model.weights[0])


def test_an_image_alternates_between_epochs_whatever_its_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Tensor] = []
    apply = AlternatingFlip.apply

    def spy(self: AlternatingFlip, images: Tensor, **own: Any) -> Tensor:
        changed = apply(self, images, **own)
        shown.append((changed != images).flatten(1).any(1))
        return changed

    monkeypatch.setattr(AlternatingFlip, "apply", spy)
    trained(augmentation=["alternating_flip"], epochs=4)
    flips = []
    for epoch, order in enumerate(orders(40, 4)):
        flip = torch.empty(40, dtype=torch.bool)
        flip[order] = torch.cat(shown[3 * epoch : 3 * epoch + 3])
        flips.append(flip)
    assert 0 < int(flips[0].sum()) < 40
    assert torch.equal(flips[1], ~flips[0])
    assert torch.equal(flips[2], flips[0])
    assert torch.equal(flips[3], ~flips[0])


def test_averaging_follows_each_step_with_the_fraction_of_training_done(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[float] = []
    monkeypatch.setattr(Sgd, "average", lambda self, parameters, state, fraction: done.append(fraction))
    trained(optimizer={"name": "sgd"}, epochs=3)
    assert done == pytest.approx([step / 9 for step in range(1, 10)])
    assert done[-1] == 1


def test_a_run_ends_with_the_slow_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    slow: list[Tensor] = []
    average = Sgd.average

    def spy(self: Sgd, parameters: list[Tensor], state: Any, fraction: float) -> None:
        average(self, parameters, state, fraction)
        slow[:] = [tensor.clone() for tensor in state.get("slow", [])]

    monkeypatch.setattr(Sgd, "average", spy)
    lookahead = {"every": 4, "decay": 0.8, "power": 3}  # of 6 steps
    model, _ = trained(optimizer={"name": "sgd", "lookahead": lookahead}, lr=0.05)
    parameters = [model.weights[0][name] for name, _ in network().named_parameters()]
    assert all(map(torch.equal, parameters, slow))
