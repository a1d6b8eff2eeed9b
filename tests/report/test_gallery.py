"""Which images are shown, and how they are written."""

import base64
import io

import numpy as np
import pytest
from pandas import DataFrame
from PIL import Image

from trainlab.evaluation.metrics import Predictions
from trainlab.report import gallery

CLASSES = ("ant", "bee", "cat")


def scored(*rows: list[list[float]]) -> Predictions:
    """Return predictions: per replica, the scores of each image, whose labels are 0, 1, 2, 0."""
    return Predictions(np.array(rows, np.float32), np.array([0, 1, 2, 0]), CLASSES)


def test_the_surest_mistakes_come_first_and_right_predictions_never() -> None:
    found = gallery.surest_mistakes(scored([[0, 2, 0], [5, 0, 0], [0, 0, 9], [9, 0, 0]]), count=9)
    assert [(mistake.image, mistake.actual, mistake.predicted) for mistake in found] == [
        (1, "bee", "ant"),
        (0, "ant", "bee"),
    ]
    assert found[0].confidence == pytest.approx(np.exp(5) / (np.exp(5) + 2), rel=1e-6)
    assert len(gallery.surest_mistakes(scored([[0, 2, 0], [5, 0, 0], [0, 0, 9], [9, 0, 0]]), count=1)) == 1


def test_the_probabilities_are_means_over_the_replicas() -> None:
    one: list[list[float]] = [[9, 0, 0], [0, 9, 0], [0, 0, 9], [9, 0, 0]]
    other: list[list[float]] = [[0, 2, 0], [0, 9, 0], [0, 0, 9], [9, 0, 0]]
    assert gallery.surest_mistakes(scored(one, other), count=9) == []  # the right class has more than half


def test_the_pairs_that_are_confused_most() -> None:
    counts = DataFrame([[6, 4, 0], [1, 9, 0], [0, 5, 5]], CLASSES, CLASSES)
    runs = [scored([[0, 1, 0], [0, 1, 0], [0, 1, 0], [0, 1, 0]]), scored([[1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 1, 0]])]
    pairs = gallery.confused_pairs([counts, counts], runs, count=2, examples=5)
    assert [(pair.actual, pair.predicted, pair.share, pair.models) for pair in pairs] == [
        ("cat", "bee", 0.5, 2),
        ("ant", "bee", 0.4, 2),
    ]
    assert pairs[1].images == [(3, 2), (0, 1)]  # most models first
    assert gallery.confused_pairs([counts], runs, count=1, examples=5)[0].images == [(2, 2)]


def test_classes_that_are_never_confused_are_no_pair() -> None:
    right = DataFrame(np.eye(3, dtype=int), CLASSES, CLASSES)
    assert gallery.confused_pairs([right], [scored([[0, 1, 0]] * 4)], count=5, examples=1) == []


def opened(uri: str) -> Image.Image:
    kind, _, content = uri.partition(",")
    assert kind == "data:image/png;base64"
    return Image.open(io.BytesIO(base64.b64decode(content)))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_small_image_keeps_every_pixel(channels: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (channels, 5, 7)).astype(np.uint8)
    shown = np.asarray(opened(gallery.image_uri(pixels)))
    assert (shown.reshape(5, 7, channels) == pixels.transpose(1, 2, 0)).all()


def test_a_large_image_is_reduced_in_proportion() -> None:
    image = opened(gallery.image_uri(np.zeros((3, 100, 200), np.uint8)))
    assert image.size == (64, 32)


def test_a_picture_is_made_smaller() -> None:
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (300, 2200, 3)).astype(np.uint8)
    Image.fromarray(noise).save(file, format="PNG")
    picture = opened(gallery.picture_uri(file.getvalue()))
    assert picture.size == (1100, 150)
    assert len(picture.getcolors() or []) <= 64
