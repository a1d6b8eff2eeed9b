import dataclasses
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from small import PARAMS, data, run_config
from trainlab.config import resolve
from trainlab.data.stored import Data
from trainlab.errors import UserError
from trainlab.objectives.sampled_softmax import SampledSoftmax
from trainlab.training.loop import Row, Step, _generator, _split, train


def trained(images: Any = None, **own: Any) -> tuple[Any, list[Row]]:
    rows: list[Row] = []
    model = train(run_config(**own), images or data(), on_epoch=rows.append)
    return model, rows


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def test_it_learns_and_reports_each_epoch() -> None:
    model, rows = trained(epochs=30, lr=3e-3)
    assert [row["epoch"] for row in rows] == list(range(1, 31))
    assert list(rows[0]) == ["replica", "epoch", "lr", "train_loss", "train_accuracy", "test_loss", "test_accuracy"]
    assert rows[0]["train_loss"] == pytest.approx(math.log(4), abs=0.2)
    assert rows[-1]["train_loss"] < 0.1
    assert rows[-1]["train_accuracy"] == 1
    assert rows[-1]["test_accuracy"] == 1
    scores, labels = torch.tensor(model.scores(data().test)), torch.tensor(data().test.labels)
    assert (scores[0].argmax(1) == labels).double().mean() == rows[-1]["test_accuracy"]
    assert rows[-1]["test_loss"] == pytest.approx(float(F.cross_entropy(scores[0], labels)))


def test_one_epoch_is_the_textbook_loop() -> None:
    """The same network, order and batches through plain PyTorch, with a backward pass and torch.optim.SGD."""
    config = run_config(epochs=1, lr=0.05, optimizer={"name": "sgd", "momentum": 0.9}, batch_size=16)
    images = data()
    model = train(config, images)

    torch.manual_seed(config.seed)
    net = config.model.build((3, 20, 20), 4)
    optimizer = torch.optim.SGD(net.parameters(), 0.05, momentum=0.9)
    order = torch.randperm(40, generator=_generator(0, "order", torch.device("cpu"))).tolist()
    mean, std = (np.array(v, dtype=np.float32).reshape(3, 1, 1) for v in (images.train.mean, images.train.std))
    for start in range(0, 40, 16):
        index = order[start : start + 16]
        batch = torch.tensor((images.train.images[index] / np.float32(255) - mean) / std)
        optimizer.zero_grad()
        F.cross_entropy(net(batch), torch.tensor(images.train.labels[index])).backward()
        optimizer.step()
    for name, parameter in net.named_parameters():
        torch.testing.assert_close(model.weights[0][name], parameter.detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_same_seed_gives_the_same_bits_whatever_ran_before(precision: str) -> None:
    own = {"precision": precision, "model": {"dropout_conv": 0.2, "dropout_dense": 0.2}}
    first, rows = trained(**own)
    torch.randn(1000)
    torch.manual_seed(99)
    np.random.default_rng().random(10)
    trained(seed=5, model={"dropout_conv": 0.5})
    second, again = trained(**own)
    assert same(first.weights[0], second.weights[0])
    assert rows == again
    assert not same(first.weights[0], trained(**{**own, "seed": 1})[0].weights[0])


def test_training_leaves_torchs_random_state_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    trained()
    assert torch.equal(torch.rand(3), expected)


def test_another_process_gives_the_same_bits(tmp_path: Path) -> None:
    here, _ = trained(model={"dropout_conv": 0.2})
    here.save(tmp_path / "here.safetensors")
    script = (
        "import sys; sys.path[:0] = sys.argv[1:3]\n"
        "from pathlib import Path; from small import data, run_config; from trainlab.training.loop import train\n"
        "train(run_config(model={'dropout_conv': 0.2}), data()).save(Path(sys.argv[3]))\n"
    )
    there = tmp_path / "there.safetensors"
    tests = Path(__file__).parents[1]
    subprocess.run([sys.executable, "-c", script, tests, tests.parent / "src", there], check=True, timeout=120)
    assert there.read_bytes() == (tmp_path / "here.safetensors").read_bytes()


def test_a_replica_is_the_run_with_its_seed() -> None:
    both, rows = trained(replicas=2, seed=3)
    assert [(row["replica"], row["epoch"]) for row in rows] == [(0, 1), (0, 2), (1, 1), (1, 2)]
    for replica in range(2):
        alone, _ = trained(seed=3 + replica)
        assert same(both.weights[replica], alone.weights[0])


def test_dropout_shifts_no_order_and_the_order_no_initial_weights() -> None:
    """Every random stream is its own: with a rate of nearly 0 only the network's own draws may differ."""
    plain, _ = trained(epochs=1, lr=1e-12)
    dropped, _ = trained(epochs=1, lr=1e-12, model={"dropout_conv": 0.5})
    for name, tensor in plain.weights[0].items():
        torch.testing.assert_close(tensor, dropped.weights[0][name], rtol=0, atol=1e-9)


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
)
def test_every_objective_learns_and_its_logs_are_in_the_history(objective: dict, logs: list[str]) -> None:
    model, rows = trained(objective=objective, epochs=60, lr=3e-3)
    assert list(rows[0])[7:] == logs
    assert rows[-1]["test_accuracy"] > 0.7  # of 4 classes; the bandits are told only whether they were right
    if "reward" in logs:
        assert rows[-1]["reward"] > rows[0]["reward"] + 0.2
    assert model.scores(data().test).shape == (1, 12, 4)
    assert rows == trained(objective=objective, epochs=60, lr=3e-3)[1]


def student(images: Any, teacher_outputs: Any, alpha: float, **own: Any) -> tuple[Any, list[Row]]:
    params = {**PARAMS, "students": {"pupil": {"suite": "tricks", "teacher": "small", **own}}}
    params["students"]["pupil"]["objective"] = {"name": "teacher_student", "alpha": alpha, "temperature": 1.0}
    rows: list[Row] = []
    config = resolve(params)["pupil"]
    return train(config, images, teacher_outputs=teacher_outputs, on_epoch=rows.append), rows


def test_a_student_learns_its_teachers_answers_and_not_the_labels() -> None:
    images = data()
    wrong = (images.train.labels + 1) % 4  # a teacher who is sure, and always wrong
    outputs = 20 * np.eye(4, dtype=np.float32)[wrong][None]
    model, rows = student(images, outputs, 1.0, epochs=30, lr=3e-3)
    assert list(rows[0])[7:] == ["teacher_agreement", "label_agreement"]
    assert rows[-1]["teacher_agreement"] == 1
    assert rows[-1]["label_agreement"] == rows[-1]["train_accuracy"] == 0
    assert (model.scores(images.train)[0].argmax(1) == wrong).all()


def test_a_student_at_alpha_0_is_trained_by_its_labels_alone() -> None:
    images = data()
    taught, _ = student(images, np.random.default_rng(0).normal(size=(1, 40, 4)).astype(np.float32), 0.0)
    plain, _ = trained(images)
    for name, tensor in plain.weights[0].items():
        torch.testing.assert_close(taught.weights[0][name], tensor, rtol=1e-4, atol=1e-6)


def test_each_replica_of_a_student_has_its_own_teacher() -> None:
    images = data()
    outputs = np.stack([20 * np.eye(4, dtype=np.float32)[(images.train.labels + r) % 4] for r in range(2)])
    _, rows = student(images, outputs, 1.0, replicas=3, epochs=30, lr=3e-3)
    assert [row["train_accuracy"] for row in rows if row["epoch"] == 30] == [1, 0, 1]


def test_a_students_subset_gets_the_outputs_for_its_own_images() -> None:
    images = data()
    outputs = 20 * np.eye(4, dtype=np.float32)[(images.train.labels + 1) % 4][None]
    _, rows = student(images, outputs, 1.0, epochs=30, lr=3e-3, subset=16, validation=0.2)
    assert rows[-1]["teacher_agreement"] == 1
    assert rows[-1]["train_accuracy"] == 0


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


def test_validation_images_are_held_out_and_scored() -> None:
    images = data(count=80)
    _, rows = trained(images, validation=0.25, epochs=1)
    assert list(rows[0])[7:] == ["validation_loss", "validation_accuracy", "accuracy_gap"]
    assert rows[0]["accuracy_gap"] == rows[0]["train_accuracy"] - rows[0]["validation_accuracy"]
    for fraction, left in ((0.25, 60), (0.5, 40), (0.001, 79)):
        steps: list[Step] = []
        train(run_config(validation=fraction, epochs=1), images, on_step=steps.append)
        assert sum(step.images for step in steps) == left


def test_a_subset_is_the_same_for_each_replica_and_keeps_the_classes_shares() -> None:
    images = data(count=80)
    learned, held_out = _split(run_config(subset=20, validation=0.5), images.train)
    assert (len(learned), len(held_out)) == (20, 40)
    assert not set(learned) & set(held_out)
    assert np.bincount(images.train.labels[learned]).tolist() == [5] * 4
    assert np.bincount(images.train.labels[held_out]).tolist() == [10] * 4
    assert (_split(run_config(subset=20, validation=0.5, seed=1), images.train)[0] != learned).any()
    whole, few = (trained(images, **own)[0] for own in ({"epochs": 30, "lr": 3e-3}, {"subset": 8}))
    assert not same(whole.weights[0], few.weights[0])
    with pytest.raises(UserError, match="subset is 81, and there are 80 images"):
        trained(images, subset=81)


def test_without_test_images_nothing_is_scored_on_them() -> None:
    images = data()
    rows: list[Row] = []
    alone = train(run_config(), Data(images.train, None), on_epoch=rows.append)
    assert list(rows[0]) == ["replica", "epoch", "lr", "train_loss", "train_accuracy"]
    assert same(alone.weights[0], trained(images)[0].weights[0])


def test_augmentation_is_repeatable_and_shifts_no_other_random_stream() -> None:
    flipped, _ = trained(augmentation=["flip", {"name": "crop", "padding": 2}])
    again, _ = trained(augmentation=["flip", {"name": "crop", "padding": 2}])
    assert same(flipped.weights[0], again.weights[0])
    assert not same(flipped.weights[0], trained()[0].weights[0])
    still, plain = (trained(epochs=1, lr=1e-12, augmentation=a)[0] for a in (["flip"], []))
    for name, tensor in plain.weights[0].items():
        torch.testing.assert_close(tensor, still.weights[0][name], rtol=0, atol=1e-9)


def test_regularizers_join_the_gradient_and_constrain_the_weights() -> None:
    limited, _ = trained(regularizers=[{"name": "max_norm", "limit": 0.5}])
    norms = [w.flatten(1).norm(dim=1).max() for name, w in limited.weights[0].items() if name.endswith("weight")]
    assert max(norms) <= 0.5 + 1e-6
    sgd = {"optimizer": "sgd", "lr": 0.05}
    penalized, _ = trained(**sgd, regularizers=[{"name": "elastic_net", "l1": 1e-12, "l2": 0.1}])
    plain, _ = trained(**sgd)
    assert sum(w.norm() for w in penalized.weights[0].values()) < sum(w.norm() for w in plain.weights[0].values())


def test_layer_statistics_are_those_of_the_steps() -> None:
    own = {"optimizer": "sgd", "lr": 0.05, "epochs": 1, "batch_size": 40}  # one step: the ratio is lr·‖g‖ / ‖w‖
    _, [row] = trained(layer_statistics=True, **own)
    layers = ["conv1", "conv2", "conv3", "dense", "head"]
    assert list(row)[7:] == [f"{what}.{layer}" for layer in layers for what in ("gradient_norm", "update_ratio")]
    torch.manual_seed(0)
    net = run_config().model.build((3, 20, 20), 4)
    for layer in layers:
        norm = sum(float(p.detach().norm()) ** 2 for p in getattr(net, layer).parameters()) ** 0.5
        assert row[f"update_ratio.{layer}"] == pytest.approx(0.05 * row[f"gradient_norm.{layer}"] / norm, rel=1e-4)
    assert same(trained(layer_statistics=True)[0].weights[0], trained()[0].weights[0])


def test_the_network_can_be_looked_at_after_each_epoch() -> None:
    seen: list[tuple[float, torch.Tensor]] = []
    model = train(
        run_config(epochs=3),
        data(),
        on_network=lambda row, net: seen.append((row["epoch"], net.head.weight.detach().clone())),
    )
    assert [epoch for epoch, _ in seen] == [1, 2, 3]
    assert torch.equal(seen[-1][1], model.weights[0]["head.weight"])


def test_the_schedule_is_followed() -> None:
    _, rows = trained(epochs=3, lr=2e-3, schedule={"name": "exponential", "gamma": 0.8})
    assert [row["lr"] for row in rows] == pytest.approx([2e-3, 1.6e-3, 1.28e-3])


def test_losses_are_means_over_images_also_where_the_last_batch_is_smaller() -> None:
    images = data(count=17)
    steps: list[tuple[int, float]] = []
    rows: list[Row] = []
    train(
        run_config(epochs=1),
        images,
        on_epoch=rows.append,
        on_step=lambda step: steps.append((step.images, float(step.loss))),
    )
    assert [images for images, _ in steps] == [16, 1]
    assert rows[0]["train_loss"] == pytest.approx((16 * steps[0][1] + steps[1][1]) / 17, rel=1e-6)


def test_steps_tell_where_training_is() -> None:
    seen: list[Step] = []
    train(run_config(replicas=2), data(), on_step=seen.append)
    assert [(s.replica, s.epoch, s.done, s.steps) for s in seen] == [
        (r, e, d, 3) for r in range(2) for e in (1, 2) for d in (1, 2, 3)
    ]


def test_a_loss_that_is_not_finite_stops_the_run_with_its_causes() -> None:
    with pytest.raises(UserError) as caught:
        trained(optimizer="sgd", lr=1e30, epochs=5)
    message = str(caught.value)
    assert "run small: the loss is" in message
    assert "epoch 1, step 2 of 3" in message
    assert "lr is 1e+30" in message
    assert len(message.splitlines()) == 1


def test_images_too_small_for_the_model() -> None:
    train_images, test_images = data()
    small = [dataclasses.replace(d, images=d.images[:, :, :8, :8]) for d in (train_images, test_images)]
    with pytest.raises(UserError, match=r"at least 18×18.*data.image_size"):
        train(run_config(), type(data())(*small))


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_gpu_that_is_not_there() -> None:
    with pytest.raises(UserError, match="finds no GPU: set `device: auto`"):
        trained(device="cuda")
    assert trained(device="auto")[0].trained_on["device"] == "cpu"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_same_bits_twice() -> None:
    own = {"device": "cuda", "model": {"dropout_conv": 0.2}}
    assert same(trained(**own)[0].weights[0], trained(**own)[0].weights[0])


def test_the_record_says_where_it_was_trained() -> None:
    model, _ = trained()
    assert model.trained_on == {
        "device": "cpu",
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": 1,
        "torch": torch.__version__,
        "precision": "float32",
    }
