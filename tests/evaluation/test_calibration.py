import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from trainlab.evaluation.calibration import BINS, brier, probabilities, reliability

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def some_shares(replicas: int = 2, images: int = 300, classes: int = 4) -> tuple[Floats, NDArray[np.int64]]:
    generator = np.random.default_rng(0)
    return probabilities(generator.normal(size=(replicas, images, classes))), generator.integers(classes, size=images)


@st.composite
def predictions(draw: st.DrawFn) -> tuple[Floats, Bools]:
    """Confidence of any images, with ties, and whether their predictions are correct."""
    shape = draw(st.integers(1, 3)), draw(st.integers(1, 40))
    confidence = draw(hnp.arrays(np.float64, shape, elements=st.one_of(st.sampled_from([0.5, 1.0]), st.floats(0, 1))))
    return confidence, draw(hnp.arrays(np.bool_, shape))


def by_loops(confidence: Floats, correct: Bools, bins: int = BINS) -> list[dict[int, list[tuple[float, bool]]]]:
    """Return the images of each bin per replica, in plain Python."""
    found = []
    for of_replica, right in zip(confidence.tolist(), correct.tolist(), strict=True):
        members: dict[int, list[tuple[float, bool]]] = {}
        for value, is_right in zip(of_replica, right, strict=True):
            lower = sum(other < value for other in of_replica)
            members.setdefault(bins * lower // len(of_replica), []).append((value, is_right))
        found.append(members)
    return found


def test_four_images_in_two_bins_by_hand() -> None:
    found = reliability(np.array([[0.9, 0.5, 0.7, 0.6]]), np.array([[True, False, False, True]]), bins=2)
    assert found.images.tolist() == [[2, 2]]
    assert found.images.dtype == np.int64  # written to a table as 2, not 2.0
    assert found.confidence == pytest.approx(np.array([[0.55, 0.8]]))
    assert found.accuracy.tolist() == [[0.5, 0.5]]
    assert found.error == pytest.approx([(0.05 + 0.3) / 2])


@pytest.mark.parametrize("images", [15, 150, 10_000, 10_001])
def test_bins_have_equal_mass(images: int) -> None:
    confidence = np.random.default_rng(0).permutation(images)[None] / images
    found = reliability(confidence, confidence > 0.5)
    assert found.images.shape == (1, 15)
    assert found.images.sum() == images
    assert np.ptp(found.images) <= 1
    assert (np.diff(found.confidence) > 0).all()


def test_equal_confidences_are_in_one_bin_and_leave_others_empty() -> None:
    found = reliability(np.array([[0.2, 1.0, 1.0, 1.0, 1.0]]), np.array([[True, True, True, True, False]]), bins=5)
    assert found.images.tolist() == [[1, 4, 0, 0, 0]]
    assert found.accuracy[0, :2].tolist() == [1, 0.75]
    assert np.isnan(found.confidence[0, 2:]).all()
    assert np.isnan(found.accuracy[0, 2:]).all()
    assert found.error == pytest.approx([(1 * 0.8 + 4 * 0.25) / 5])


def test_fewer_images_than_bins() -> None:
    found = reliability(np.array([[0.25, 0.75]]), np.array([[False, True]]))
    assert found.images.sum() == 2
    assert found.images.max() == 1
    assert found.error == pytest.approx([0.25])


@pytest.mark.parametrize("decimals", [16, 2])  # with two decimals, there are many ties
def test_bins_of_two_classes_agree_with_scikit_learn(decimals: int) -> None:
    # Its bin edges are interpolated quantiles. The bins are the same if the number of images is a multiple of theirs.
    generator = np.random.default_rng(1)
    share = generator.uniform(size=(3, 300)).round(decimals)
    labels = generator.uniform(size=share.shape) < share**2
    found = reliability(share, labels)
    for replica in range(3):
        accuracy, confidence = calibration_curve(labels[replica], share[replica], n_bins=BINS, strategy="quantile")
        filled = found.images[replica] > 0
        assert found.confidence[replica, filled] == pytest.approx(confidence, rel=1e-13)
        assert found.accuracy[replica, filled] == pytest.approx(accuracy, rel=1e-13)


@given(predictions())
def test_error_agrees_with_loops(case: tuple[Floats, Bools]) -> None:
    confidence, correct = case
    found = reliability(confidence, correct)
    for replica, members in enumerate(by_loops(confidence, correct)):
        gaps = [
            abs(sum(right for _, right in of_bin) - sum(value for value, _ in of_bin)) for of_bin in members.values()
        ]
        assert found.images[replica].tolist() == [len(members.get(b, [])) for b in range(BINS)]
        assert found.error[replica] == pytest.approx(math.fsum(gaps) / confidence.shape[1], abs=1e-12)


@given(predictions())
def test_error_is_a_fraction_at_least_the_overall_gap(case: tuple[Floats, Bools]) -> None:
    confidence, correct = case
    error = reliability(confidence, correct).error
    assert ((error >= 0) & (error <= 1)).all()
    # The triangle inequality: bins can only add to the difference of the means.
    assert (error >= abs(confidence.mean(1) - correct.mean(1)) - 1e-12).all()
    assert reliability(confidence, correct, bins=1).error == pytest.approx(
        abs(confidence.mean(1) - correct.mean(1)), abs=1e-12
    )


@given(predictions(), st.randoms(use_true_random=False))
def test_the_order_of_the_images_does_not_matter(case: tuple[Floats, Bools], random: Any) -> None:
    confidence, correct = case
    order = random.sample(range(confidence.shape[1]), confidence.shape[1])
    found, shuffled = reliability(confidence, correct), reliability(confidence[:, order], correct[:, order])
    assert (found.images == shuffled.images).all()
    assert shuffled.error == pytest.approx(found.error, abs=1e-12)


def test_replicas_do_not_mix() -> None:
    generator = np.random.default_rng(2)
    confidence, correct = generator.uniform(size=(3, 50)), generator.uniform(size=(3, 50)) < 0.5
    found = reliability(confidence, correct).error
    assert found.tolist() == [reliability(confidence[[r]], correct[[r]]).error[0] for r in range(3)]


def test_a_calibrated_classifier_has_a_small_error() -> None:
    generator = np.random.default_rng(3)
    confidence = generator.uniform(size=(1, 100_000))
    correct = generator.uniform(size=confidence.shape)
    assert reliability(confidence, correct < confidence).error[0] < 0.01
    assert reliability(confidence, correct < confidence - 0.1).error[0] == pytest.approx(0.1, abs=0.01)


def test_probabilities_are_float64_and_stable() -> None:
    top = float(np.finfo(np.float32).max)
    shares = probabilities(np.array([[top, -top], [0, np.log(3)], [1e4, 1e4]], np.float32))
    assert shares.dtype == np.float64
    assert shares == pytest.approx(np.array([[1, 0], [0.25, 0.75], [0.5, 0.5]]), rel=1e-7)
    scores = np.array([0.1, 0.2, 0.7], np.float32)
    exact = [math.exp(float(score)) for score in scores]  # of the float32 scores, with the precision of float64
    assert probabilities(scores) == pytest.approx([value / math.fsum(exact) for value in exact], rel=1e-15)


def test_brier_agrees_with_scikit_learn_and_loops() -> None:
    shares, labels = some_shares()
    found = brier(shares, labels)
    for replica, of_replica in enumerate(shares):
        by_class = [brier_score_loss(labels == c, of_replica[:, c]) for c in range(4)]
        assert found[replica] == pytest.approx(sum(by_class), rel=1e-12)
        errors = [
            (share - (c == label)) ** 2
            for row, label in zip(of_replica.tolist(), labels.tolist(), strict=True)
            for c, share in enumerate(row)
        ]
        assert found[replica] == pytest.approx(math.fsum(errors) / len(labels), rel=1e-12)


def test_brier_is_0_for_certain_and_right_and_2_for_certain_and_wrong() -> None:
    labels = np.array([0, 1, 2])
    certain = np.eye(3)[None]
    assert brier(certain, labels).tolist() == [0]
    assert brier(certain[:, [1, 2, 0]], labels).tolist() == [2]
    assert brier(np.full((1, 3, 3), 1 / 3), labels) == pytest.approx([2 / 3])
