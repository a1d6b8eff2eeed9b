"""What is predicted wrongly."""

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from trainlab.evaluation import mistakes
from trainlab.evaluation.metrics import Predictions

CLASSES = ("ant", "bee", "cat")


def scored(*rows: list[list[float]]) -> Predictions:
    """Return predictions: per replica, the scores of each image, whose labels are 0, 1, 2, 0."""
    return Predictions(np.array(rows, np.float32), np.array([0, 1, 2, 0]), CLASSES)


def test_the_surest_mistakes_come_first_and_right_predictions_never() -> None:
    found = mistakes.surest_mistakes(scored([[0, 2, 0], [5, 0, 0], [0, 0, 9], [9, 0, 0]]), count=9)
    assert [(mistake.image, mistake.actual, mistake.predicted) for mistake in found] == [
        (1, "bee", "ant"),
        (0, "ant", "bee"),
    ]
    assert found[0].confidence == pytest.approx(np.exp(5) / (np.exp(5) + 2), rel=1e-6)
    assert len(mistakes.surest_mistakes(scored([[0, 2, 0], [5, 0, 0], [0, 0, 9], [9, 0, 0]]), count=1)) == 1


def test_the_probabilities_are_means_over_the_replicas() -> None:
    one: list[list[float]] = [[9, 0, 0], [0, 9, 0], [0, 0, 9], [9, 0, 0]]
    other: list[list[float]] = [[0, 2, 0], [0, 9, 0], [0, 0, 9], [9, 0, 0]]
    assert mistakes.surest_mistakes(scored(one, other), count=9) == []  # the right class has more than half


def test_the_pairs_that_are_confused_most() -> None:
    runs = [scored([[0, 1, 0], [0, 1, 0], [0, 1, 0], [0, 1, 0]]), scored([[1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 1, 0]])]
    pairs = mistakes.confused_pairs(runs, count=2, examples=5)
    assert [(pair.actual, pair.predicted, pair.share, pair.models) for pair in pairs] == [
        ("cat", "bee", 1.0, 2),
        ("ant", "bee", 0.75, 2),  # two images, two models
    ]
    assert pairs[1].images == [(3, 2), (0, 1)]  # most models first
    assert pairs[0].images == [(2, 2)]
    assert mistakes.confused_pairs(runs, count=2, examples=1)[1].images == [(3, 2)]
    assert len(mistakes.confused_pairs(runs)) == 2  # no class is confused with a third one


def test_the_shares_are_those_of_the_confusion_matrices() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 200)
    runs = [Predictions(random.random((seeds, 200, 3)).astype(np.float32), labels, CLASSES) for seeds in (1, 3)]
    counts = sum(confusion_matrix(labels, of_replica.argmax(1)) for of_run in runs for of_replica in of_run.scores)
    shares = counts / counts.sum(1, keepdims=True)
    pairs = mistakes.confused_pairs(runs)
    assert [pair.share for pair in pairs] == sorted(shares[~np.eye(3, dtype=bool)], reverse=True)
    for pair in pairs:
        assert pair.share == shares[CLASSES.index(pair.actual), CLASSES.index(pair.predicted)]


def test_classes_that_are_never_confused_are_no_pair() -> None:
    right = scored([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]])
    assert mistakes.confused_pairs([right]) == []


def test_plain_values_have_three_digits() -> None:
    found = mistakes.to_dict({"one": scored([[0, 2, 0], [5, 0, 0], [0, 0, 9], [9, 0, 0]])})
    assert found["mistakes"] == {
        "one": [
            {"image": 1, "actual": "bee", "predicted": "ant", "confidence": 0.987},
            {"image": 0, "actual": "ant", "predicted": "bee", "confidence": 0.787},
        ]
    }
    assert found["pairs"] == [
        {"actual": "bee", "predicted": "ant", "share": 1.0, "images": [(1, 1)], "models": 1},
        {"actual": "ant", "predicted": "bee", "share": 0.5, "images": [(0, 1)], "models": 1},
    ]
