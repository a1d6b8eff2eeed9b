import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from trainlab.evaluation.statistics import wilson


@given(
    st.integers(1, 100_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.sampled_from([0.9, 0.95])
)
@settings(max_examples=100, deadline=None)
def test_wilson_agrees_with_scipy(counts: tuple[int, int], confidence: float) -> None:
    right, images = counts
    low, high = wilson(right / images, images, confidence)
    expected = binomtest(right, images).proportion_ci(confidence, method="wilson")
    assert low == pytest.approx(expected.low, abs=1e-9)
    assert high == pytest.approx(expected.high, abs=1e-9)
    assert 0 <= low <= right / images + 1e-12
    assert right / images - 1e-12 <= high <= 1


def test_the_default_confidence_is_95_percent() -> None:
    assert wilson(0.5, 100) == pytest.approx((0.403832, 0.596168), abs=1e-6)


def test_the_interval_never_leaves_zero_to_one() -> None:
    for images in range(1, 400):  # of some of them, rounding would put the end outside
        assert 0 <= wilson(0, images)[0] < 1e-12
        assert 1 >= wilson(1, images)[1] > 1 - 1e-12
