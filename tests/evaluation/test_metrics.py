import csv
import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import log_softmax
from sklearn.metrics import classification_report, log_loss, top_k_accuracy_score

from small import data, run_config
from trainlab.errors import UserError
from trainlab.evaluation import calibration
from trainlab.evaluation.metrics import SCORES, Predictions, evaluate, training_record
from trainlab.evaluation.statistics import accuracy_interval
from trainlab.training.model_file import TrainedModel
from trainlab.training.replicas import train

Scores = np.ndarray[Any, np.dtype[np.float32]]
Labels = np.ndarray[Any, np.dtype[np.int64]]
CLASSES = ("ant", "bee", "cow", "dog")


def some_scores(replicas: int = 2, images: int = 200, classes: int = 4, seed: int = 0) -> tuple[Scores, Labels]:
    generator = np.random.default_rng(seed)
    labels = generator.integers(classes, size=images)
    scores = generator.normal(size=(replicas, images, classes)).astype(np.float32)
    scores[:, np.arange(images), labels] += 1
    return scores, labels


@st.composite
def cases(draw: st.DrawFn) -> tuple[Scores, Labels, tuple[str, ...]]:
    """Scores of any finite float32 size, ties and absent classes included."""
    replicas, images, classes = draw(st.integers(1, 3)), draw(st.integers(1, 12)), draw(st.integers(2, 4))
    numbers = st.one_of(st.sampled_from([0.0, 1.0]), st.floats(width=32, allow_nan=False, allow_infinity=False))
    scores = draw(hnp.arrays(np.float32, (replicas, images, classes), elements=numbers))
    labels = draw(hnp.arrays(np.int64, images, elements=st.integers(0, classes - 1)))
    return scores, labels, CLASSES[:classes]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_three_images_by_hand() -> None:
    # Right, right, wrong (a bee taken for an ant); the scores of image 2 are log 3 apart.
    scores = np.array([[1.0, 0.0], [0.0, 0.0], [math.log(3), 0.0]])
    metrics = evaluate(scores, [0, 0, 1], CLASSES[:2])
    assert metrics.accuracy == pytest.approx([2 / 3])
    assert metrics.loss == pytest.approx([(math.log(1 + math.exp(-1)) + math.log(2) + math.log(4)) / 3], rel=1e-14)
    assert metrics.confusion.tolist() == [[[2, 0], [1, 0]]]
    assert metrics.precision.tolist() == [[pytest.approx(2 / 3), 0]]
    assert metrics.recall.tolist() == [[1, 0]]
    assert metrics.f1[0] == pytest.approx([0.8, 0])
    assert metrics.f1_macro == pytest.approx([0.4])
    assert metrics.f1_weighted == pytest.approx([2 / 3 * 0.8])
    assert metrics.support.tolist() == [2, 1]
    # Of the other class: 1 / (1 + e), 1/2, 3/4. Both errors of an image are equal.
    other = 1 / (1 + math.e)
    assert metrics.brier == pytest.approx([2 * (other**2 + 1 / 4 + 9 / 16) / 3], rel=1e-14)
    assert metrics.calibration_error == pytest.approx([(other + 1 / 2 + 3 / 4) / 3], rel=1e-14)
    assert metrics.top2_accuracy.tolist() == [1]


def test_agrees_with_the_classification_report_of_each_replica() -> None:
    scores, labels = some_scores(replicas=3)
    metrics = evaluate(scores, labels, CLASSES)
    for replica in range(3):
        report = classification_report(
            np.array(CLASSES)[labels], np.array(CLASSES)[scores[replica].argmax(1)], output_dict=True, zero_division=0
        )
        assert metrics.accuracy[replica] == pytest.approx(report["accuracy"])
        assert metrics.f1_macro[replica] == pytest.approx(report["macro avg"]["f1-score"])
        assert metrics.f1_weighted[replica] == pytest.approx(report["weighted avg"]["f1-score"])
        for i, name in enumerate(CLASSES):
            assert metrics.precision[replica, i] == pytest.approx(report[name]["precision"])
            assert metrics.recall[replica, i] == pytest.approx(report[name]["recall"])
            assert metrics.f1[replica, i] == pytest.approx(report[name]["f1-score"])
            assert metrics.support[i] == report[name]["support"]


def test_loss_agrees_with_scipy_and_scikit_learn() -> None:
    scores, labels = some_scores(replicas=1)
    expected = -log_softmax(scores[0].astype(np.float64), axis=1)[np.arange(len(labels)), labels].mean()
    [loss] = evaluate(scores, labels, CLASSES).loss
    assert loss == pytest.approx(expected, rel=1e-13)
    assert loss == pytest.approx(log_loss(labels, np.exp(log_softmax(scores[0].astype(np.float64), axis=1))), rel=1e-12)


def test_top2_accuracy_agrees_with_scikit_learn() -> None:
    scores, labels = some_scores(replicas=3)
    found = evaluate(scores, labels, CLASSES).top2_accuracy
    assert found.tolist() == [top_k_accuracy_score(labels, replica, k=2) for replica in scores]
    assert 0.5 < found.min() < found.max() < 1


def test_top2_accuracy_takes_the_first_of_equal_scores() -> None:
    for row, best in (([1.0, 1.0, 1.0, 0.0], {0, 1}), ([0.0, 1.0, 0.0, 0.0], {0, 1}), ([0.0, 0.0, 0.0, 1.0], {0, 3})):
        found = {label for label in range(4) if evaluate([row], [label], CLASSES).top2_accuracy == 1}
        assert found == best


def test_top2_accuracy_of_two_classes_is_1() -> None:
    scores, labels = some_scores(classes=2)
    assert evaluate(scores, labels, CLASSES[:2]).top2_accuracy.tolist() == [1, 1]


def test_calibration_is_of_the_predicted_class_per_replica() -> None:
    scores, labels = some_scores(replicas=3)
    metrics = evaluate(scores, labels, CLASSES)
    shares = np.exp(log_softmax(scores.astype(np.float64), axis=2))
    expected = calibration.reliability(shares.max(2), scores.argmax(2) == labels)
    assert metrics.calibration_error == pytest.approx(expected.error, rel=1e-12)
    assert (metrics.reliability.images == expected.images).all()
    assert metrics.brier == pytest.approx(calibration.brier(shares, labels), rel=1e-12)
    assert len({*metrics.calibration_error, *metrics.brier}) == 6


def test_the_prediction_is_by_scores_where_probabilities_are_equal() -> None:
    # Both probabilities round to 1/2; the second score is higher.
    metrics = evaluate(np.array([[0.0, 1e-30]], np.float32), [1], CLASSES[:2])
    assert metrics.accuracy.tolist() == [1]
    assert metrics.calibration_error == pytest.approx([0.5])
    assert metrics.reliability.accuracy[0, 0] == 1


@pytest.mark.parametrize("classes", [2, 10, 100])
def test_equal_scores_have_loss_log_c(classes: int) -> None:
    metrics = evaluate(np.zeros((classes, classes)), np.arange(classes), [str(i) for i in range(classes)])
    assert metrics.loss == pytest.approx([math.log(classes)], rel=1e-14)
    assert metrics.accuracy == pytest.approx([1 / classes])  # the first of equals is the prediction


def test_a_class_without_images_counts_in_the_macro_average() -> None:
    metrics = evaluate(np.eye(4)[[0, 1, 2]], [0, 1, 2], CLASSES)
    assert metrics.f1_macro == pytest.approx([0.75])
    assert metrics.f1_weighted == pytest.approx([1])
    assert metrics.support.tolist() == [1, 1, 1, 0]


@given(cases())
def test_invariants_for_any_scores(case: tuple[Scores, Labels, tuple[str, ...]]) -> None:
    scores, labels, classes = case
    metrics = evaluate(scores, labels, classes)
    assert metrics.f1_micro == pytest.approx(metrics.accuracy)
    assert np.isfinite(metrics.loss).all()
    assert (metrics.loss >= 0).all()
    assert metrics.confusion.sum() == scores.shape[0] * len(labels)
    assert (metrics.confusion.sum(2) == metrics.support).all()
    assert metrics.confusion.trace(axis1=1, axis2=2) / len(labels) == pytest.approx(metrics.accuracy)
    assert (metrics.top2_accuracy >= metrics.accuracy).all()
    assert ((metrics.brier >= 0) & (metrics.brier <= 2)).all()
    assert (metrics.reliability.images.sum(1) == len(labels)).all()
    of_bins = np.nansum(metrics.reliability.accuracy * metrics.reliability.images, axis=1)
    assert of_bins / len(labels) == pytest.approx(metrics.accuracy)
    fractions = ("precision", "recall", "f1", "f1_macro", "f1_weighted", "calibration_error", "top2_accuracy")
    for fraction in (getattr(metrics, name) for name in fractions):
        assert ((fraction >= 0) & (fraction <= 1)).all()


@given(cases(), st.randoms(use_true_random=False))
def test_the_order_of_the_images_does_not_matter(
    case: tuple[Scores, Labels, tuple[str, ...]], random: random.Random
) -> None:
    scores, labels, classes = case
    order = random.sample(range(len(labels)), len(labels))
    metrics, shuffled = evaluate(scores, labels, classes), evaluate(scores[:, order], labels[order], classes)
    for name in SCORES:
        assert getattr(shuffled, name) == pytest.approx(getattr(metrics, name), rel=1e-12, abs=1e-12)
    assert (shuffled.confusion == metrics.confusion).all()


def test_scores_without_a_replica_axis_are_one_replica() -> None:
    scores, labels = some_scores(replicas=1)
    assert (evaluate(scores[0], labels, CLASSES).confusion == evaluate(scores, labels, CLASSES).confusion).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s, y: (s * np.where(np.arange(200) == 7, np.nan, 1)[:, None], y), "replica 0, image 7, class 0 is nan"),
        (lambda s, y: (s + np.where(np.arange(200) == 7, np.inf, 0)[:, None], y), "replica 0, image 7, class 0 is inf"),
        (lambda s, y: (s[:, :, :3], y), "3 classes, but 4 are named"),
        (lambda s, y: (s[0, 0], y), r"shape \(4,\)"),
        (lambda s, y: (s[:, :0], y[:0]), "shape"),
        (lambda s, y: (s, y[:-1]), r"labels have shape \(199,\)"),
        (lambda s, y: (s, np.where(np.arange(200) == 9, 4, y)), "image 9 is 4"),
        (lambda s, y: (s, np.where(np.arange(200) == 9, -1, y)), "image 9 is -1"),
        (lambda s, y: (s, y.astype(float)), "labels are float64"),
        (lambda s, y: (s > 0, y), "scores are bool"),
    ],
)
def test_invalid_input_is_named(change: Callable[[Any, Any], tuple[Any, Any]], message: str) -> None:
    scores, labels = change(*some_scores())
    with pytest.raises(ValueError, match=message):
        evaluate(scores, labels, CLASSES)
    with pytest.raises(ValueError, match=message):
        Predictions(scores, labels, CLASSES)


RECORD = {"training": {"epochs": 3}, "model": {"parameters": 7}}


def test_saved_metrics(tmp_path: Path) -> None:
    scores, labels = some_scores(replicas=3)
    metrics = evaluate(scores, labels, CLASSES)
    assert metrics.replicas == 3
    metrics.save(tmp_path / "run.json", RECORD)
    saved = json.loads((tmp_path / "run.json").read_text())
    numbers = ["accuracy", "f1_micro", "f1_macro", "f1_weighted", "loss"]
    numbers += ["calibration_error", "brier", "top2_accuracy"]
    assert list(saved) == ["replicas", "test_images", "support", *numbers, "training", "model"]
    assert saved["replicas"] == 3
    assert saved["test_images"] == 200
    assert list(saved["support"].items()) == list(zip(CLASSES, np.bincount(labels).tolist(), strict=True))
    assert {key: saved[key] for key in RECORD} == RECORD
    for name in numbers:
        values = getattr(metrics, name).tolist()
        mean = math.fsum(values) / 3
        assert saved[name]["values"] == values
        assert saved[name]["mean"] == pytest.approx(mean)
        assert saved[name]["std"] == pytest.approx(math.sqrt(sum((v - mean) ** 2 for v in values) / 2))
    assert (saved["accuracy"]["low"], saved["accuracy"]["high"]) == accuracy_interval(scores.argmax(2) == labels)


def test_one_replica_has_no_standard_deviation(tmp_path: Path) -> None:
    evaluate(*some_scores(replicas=1), CLASSES).save(tmp_path / "one.json", RECORD)
    assert json.loads((tmp_path / "one.json").read_text())["accuracy"]["std"] is None
    evaluate(*some_scores(replicas=2), CLASSES).save(tmp_path / "two.json", RECORD)
    assert json.loads((tmp_path / "two.json").read_text())["accuracy"]["std"] > 0


def test_saved_report_and_confusion(tmp_path: Path) -> None:
    classes = ("ant", "bee, wild", 'the "cow"', "Hündchen")
    metrics = evaluate(*some_scores(replicas=3), classes)
    metrics.save_classes(tmp_path / "classes.csv")
    metrics.save_confusion(tmp_path / "confusion.csv")
    report, confusion = rows(tmp_path / "classes.csv"), rows(tmp_path / "confusion.csv")
    assert list(report[0]) == ["class", "precision", "recall", "f1", "support"]
    assert [row["class"] for row in report] == list(classes)
    for column in ("precision", "recall", "f1"):
        expected = [f"{value:.6f}" for value in getattr(metrics, column).mean(0)]
        assert [row[column] for row in report] == expected
        assert len(set(expected)) == 4
    assert [int(row["support"]) for row in report] == metrics.support.tolist()
    assert [(row["actual"], row["predicted"]) for row in confusion] == [(a, p) for a in classes for p in classes]
    assert [int(row["count"]) for row in confusion] == metrics.confusion.sum(0).ravel().tolist()
    assert list(confusion[0]) == ["actual", "predicted", "count"]


def test_saved_reliability_has_a_row_per_bin_with_images(tmp_path: Path) -> None:
    metrics = evaluate(*some_scores(images=200), CLASSES)
    metrics.save_reliability(tmp_path / "many.csv")
    saved = rows(tmp_path / "many.csv")
    assert list(saved[0]) == ["replica", "bin", "images", "confidence", "accuracy"]
    assert [(row["replica"], row["bin"]) for row in saved] == [(str(r), str(b)) for r in range(2) for b in range(15)]
    for column in ("images", "confidence", "accuracy"):
        values = [float(row[column]) for row in saved]
        assert values == pytest.approx(getattr(metrics.reliability, column).ravel(), abs=5e-7)
    gaps = [int(row["images"]) * abs(float(row["accuracy"]) - float(row["confidence"])) for row in saved[:15]]
    assert math.fsum(gaps) / 200 == pytest.approx(metrics.calibration_error[0], abs=1e-6)

    evaluate(*some_scores(images=3), CLASSES).save_reliability(tmp_path / "few.csv")
    assert [row["bin"] for row in rows(tmp_path / "few.csv")] == ["0", "5", "10"] * 2


def test_same_metrics_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        metrics = evaluate(*some_scores(), CLASSES)
        metrics.save(tmp_path / name / "run.json", RECORD)
        metrics.save_classes(tmp_path / name / "classes.csv")
        metrics.save_confusion(tmp_path / name / "confusion.csv")
        metrics.save_reliability(tmp_path / name / "reliability.csv")
    for file in (tmp_path / "one").iterdir():
        assert b"\r" not in file.read_bytes()
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()


def test_predictions_come_back_and_save_the_same_bytes(tmp_path: Path) -> None:
    from safetensors import safe_open

    scores, labels = some_scores()
    predictions = Predictions(np.asfortranarray(scores.astype(np.float64)), labels.astype(np.int32), CLASSES)
    predictions.save(tmp_path / "one.safetensors")
    back = Predictions.load(tmp_path / "one.safetensors")
    back.save(tmp_path / "two.safetensors")
    assert (back.scores == scores).all()
    assert (back.labels == labels).all()
    assert (back.scores.dtype.name, back.labels.dtype.name) == ("float32", "int64")
    assert back.classes == CLASSES
    assert (tmp_path / "one.safetensors").read_bytes() == (tmp_path / "two.safetensors").read_bytes()
    with safe_open(tmp_path / "one.safetensors", framework="numpy") as file:
        assert file.metadata() == {"trainlab": '{"classes": ["ant", "bee", "cow", "dog"]}'}
        assert sorted(file.keys()) == ["labels", "logits"]


def test_the_classes_of_predictions_are_a_tuple() -> None:
    classes: Any = list(CLASSES)
    assert Predictions(*some_scores(), classes).classes == CLASSES


def test_predictions_that_cannot_be_read_name_the_command(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.safetensors is missing: run `dvc repro compare@tricks`"):
        Predictions.load(tmp_path / "tricks" / "none.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(b"\x10\0\0\0")
    with pytest.raises(UserError, match=r"cut\.safetensors is damaged .*: delete it, then run `dvc repro compare@"):
        Predictions.load(tmp_path / "cut.safetensors")


def trained(**own: Any) -> TrainedModel:
    return train(run_config(**{"epochs": 1, **own}), data())


def test_the_record_states_how_a_run_was_trained() -> None:
    model = trained(subset=8, validation=0.25, replicas=2)
    model.trained_on.update(
        {"device": "cpu", "cpu_capability": "AVX2", "threads": 3, "torch": "2.0", "precision": "tf32"}
    )
    record = training_record(model)
    assert record["training"] == {
        "epochs": 1,
        "subset": 8,
        "validation": 0.25,
        "precision": "tf32",
        "trained_on": model.describe(),
        "threads": 3,
        "torch": "2.0",
    }
    assert set(record["model"]) == {"parameters", "weights", "near_zero"}
    assert list(record) == ["training", "model"]
    json.dumps(record)


def test_the_record_of_all_training_images_and_the_configured_precision() -> None:
    model = trained(epochs=2)
    model.trained_on.pop("precision", None)
    training = training_record(model)["training"]
    assert (training["epochs"], training["subset"], training["validation"]) == (2, None, None)
    assert training["precision"] == "float32"
