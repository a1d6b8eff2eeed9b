import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import log_softmax
from sklearn.metrics import classification_report, log_loss

from trainlab.errors import UserError
from trainlab.evaluation.metrics import Predictions, evaluate

CLASSES = ("ant", "bee", "cow", "dog")


def some_scores(replicas=2, images=200, classes=4, seed=0):
    random = np.random.default_rng(seed)
    labels = random.integers(classes, size=images)
    scores = random.normal(size=(replicas, images, classes)).astype(np.float32)
    scores[:, np.arange(images), labels] += 1
    return scores, labels


@st.composite
def cases(draw):
    """Scores of any finite float32 size, ties and absent classes included."""
    replicas, images, classes = draw(st.integers(1, 3)), draw(st.integers(1, 12)), draw(st.integers(2, 4))
    numbers = st.one_of(st.sampled_from([0.0, 1.0]), st.floats(width=32, allow_nan=False, allow_infinity=False))
    scores = draw(hnp.arrays(np.float32, (replicas, images, classes), elements=numbers))
    labels = draw(hnp.arrays(np.int64, images, elements=st.integers(0, classes - 1)))
    return scores, labels, CLASSES[:classes]


def rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_three_images_by_hand():
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


def test_agrees_with_the_classification_report_of_each_replica():
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


def test_loss_agrees_with_scipy_and_scikit_learn():
    scores, labels = some_scores(replicas=1)
    expected = -log_softmax(scores[0].astype(np.float64), axis=1)[np.arange(len(labels)), labels].mean()
    [loss] = evaluate(scores, labels, CLASSES).loss
    assert loss == pytest.approx(expected, rel=1e-13)
    assert loss == pytest.approx(log_loss(labels, np.exp(log_softmax(scores[0].astype(np.float64), axis=1))), rel=1e-12)


@pytest.mark.parametrize("classes", [2, 10, 100])
def test_equal_scores_have_loss_log_c(classes):
    metrics = evaluate(np.zeros((classes, classes)), np.arange(classes), [str(i) for i in range(classes)])
    assert metrics.loss == pytest.approx([math.log(classes)], rel=1e-14)
    assert metrics.accuracy == pytest.approx([1 / classes])  # the first of equals is the prediction


def test_a_class_without_images_counts_in_the_macro_average():
    metrics = evaluate(np.eye(4)[[0, 1, 2]], [0, 1, 2], CLASSES)
    assert metrics.f1_macro == pytest.approx([0.75])
    assert metrics.f1_weighted == pytest.approx([1])
    assert metrics.support.tolist() == [1, 1, 1, 0]


@given(cases())
@settings(max_examples=60, deadline=None)
def test_what_holds_for_any_scores(case):
    scores, labels, classes = case
    metrics = evaluate(scores, labels, classes)
    assert metrics.f1_micro == pytest.approx(metrics.accuracy)
    assert np.isfinite(metrics.loss).all()
    assert (metrics.loss >= 0).all()
    assert metrics.confusion.sum() == scores.shape[0] * len(labels)
    assert (metrics.confusion.sum(2) == metrics.support).all()
    assert metrics.confusion.trace(axis1=1, axis2=2) / len(labels) == pytest.approx(metrics.accuracy)
    for fraction in (metrics.precision, metrics.recall, metrics.f1, metrics.f1_macro, metrics.f1_weighted):
        assert ((fraction >= 0) & (fraction <= 1)).all()


@given(cases(), st.randoms(use_true_random=False))
@settings(max_examples=30, deadline=None)
def test_the_order_of_the_images_changes_nothing(case, random):
    scores, labels, classes = case
    order = random.sample(range(len(labels)), len(labels))
    metrics, shuffled = evaluate(scores, labels, classes), evaluate(scores[:, order], labels[order], classes)
    for name in ("accuracy", "f1_macro", "f1_weighted", "loss"):
        assert getattr(shuffled, name) == pytest.approx(getattr(metrics, name), rel=1e-12)
    assert (shuffled.confusion == metrics.confusion).all()


def test_scores_without_a_replica_axis_are_one_replica():
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
def test_bad_input_is_named(change, message):
    scores, labels = change(*some_scores())
    with pytest.raises(ValueError, match=message):
        evaluate(scores, labels, CLASSES)
    with pytest.raises(ValueError, match=message):
        Predictions(scores, labels, CLASSES)


def test_saved_metrics(tmp_path):
    scores, labels = some_scores(replicas=3)
    metrics = evaluate(scores, labels, CLASSES)
    metrics.save(tmp_path / "run.json", trained_on="cpu (AVX512), 2 threads")
    saved = json.loads((tmp_path / "run.json").read_text())
    assert list(saved) == ["replicas", "accuracy", "f1_micro", "f1_macro", "f1_weighted", "loss", "trained_on"]
    assert saved["replicas"] == 3
    for name in ("accuracy", "f1_macro", "loss"):
        values = getattr(metrics, name).tolist()
        mean = math.fsum(values) / 3
        assert saved[name]["values"] == values
        assert saved[name]["mean"] == pytest.approx(mean)
        assert saved[name]["std"] == pytest.approx(math.sqrt(sum((v - mean) ** 2 for v in values) / 2))


def test_one_replica_has_no_standard_deviation(tmp_path):
    evaluate(*some_scores(replicas=1), CLASSES).save(tmp_path / "run.json")
    saved = json.loads((tmp_path / "run.json").read_text())
    assert saved["accuracy"]["std"] is None
    assert "trained_on" not in saved


def test_saved_report_and_confusion(tmp_path):
    classes = ("ant", "bee, wild", 'the "cow"', "Hündchen")
    metrics = evaluate(*some_scores(), classes)
    metrics.save_classes(tmp_path / "classes.csv")
    metrics.save_confusion(tmp_path / "confusion.csv")
    report, confusion = rows(tmp_path / "classes.csv"), rows(tmp_path / "confusion.csv")
    assert [row["class"] for row in report] == list(classes)
    assert [float(row["f1"]) for row in report] == pytest.approx(metrics.f1.mean(0), abs=1e-6)
    assert [int(row["support"]) for row in report] == metrics.support.tolist()
    assert [(row["actual"], row["predicted"]) for row in confusion] == [(a, p) for a in classes for p in classes]
    assert [int(row["count"]) for row in confusion] == metrics.confusion.sum(0).ravel().tolist()
    assert list(confusion[0]) == ["actual", "predicted", "count"]


def test_same_metrics_same_bytes(tmp_path):
    for name in ("one", "two"):
        metrics = evaluate(*some_scores(), CLASSES)
        metrics.save(tmp_path / name / "run.json", trained_on="cpu")
        metrics.save_classes(tmp_path / name / "classes.csv")
        metrics.save_confusion(tmp_path / name / "confusion.csv")
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()


def test_predictions_come_back_and_save_the_same_bytes(tmp_path):
    from safetensors import safe_open

    scores, labels = some_scores()
    predictions = Predictions(np.asfortranarray(scores), labels, CLASSES)
    predictions.save(tmp_path / "one.safetensors")
    back = Predictions.load(tmp_path / "one.safetensors")
    back.save(tmp_path / "two.safetensors")
    assert (back.scores == scores).all()
    assert (back.labels == labels).all()
    assert (back.scores.dtype, back.labels.dtype, back.classes) == (np.float32, np.int64, CLASSES)
    assert (tmp_path / "one.safetensors").read_bytes() == (tmp_path / "two.safetensors").read_bytes()
    with safe_open(tmp_path / "one.safetensors", framework="numpy") as file:
        assert file.metadata() == {"trainlab": '{"classes": ["ant", "bee", "cow", "dog"]}'}
        assert sorted(file.keys()) == ["labels", "logits"]


def test_predictions_that_cannot_be_read_say_what_to_do(tmp_path):
    with pytest.raises(UserError, match=r"missing.*dvc repro"):
        Predictions.load(tmp_path / "none.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(b"\x10\0\0\0")
    with pytest.raises(UserError, match=r"cut\.safetensors holds no predictions.*delete it"):
        Predictions.load(tmp_path / "cut.safetensors")


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "run.safetensors"
    path.write_text("old")

    def fail(aside, content):
        aside.write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OSError, match="space"):
        Predictions(*some_scores(), CLASSES).save(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
