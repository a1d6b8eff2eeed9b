"""Stratified subsets: size, class shares and uniform draws."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainlab.data.subsets import stratified


@given(st.data())
def test_a_subset_has_its_size_no_duplicates_and_the_share_of_each_class(data: st.DataObject) -> None:
    labels = np.array(data.draw(st.lists(st.integers(0, 9), min_size=1, max_size=200)), dtype=np.int64)
    count, seed = data.draw(st.integers(1, len(labels))), data.draw(st.integers(0, 2**31))
    subset = stratified(labels, count, np.random.default_rng(seed))
    assert subset.dtype == np.int64
    assert subset.shape == (count,)
    assert (np.diff(subset) > 0).all()
    assert subset.min() >= 0
    assert subset.max() < len(labels)
    for c, size in zip(*np.unique(labels, return_counts=True), strict=True):
        assert abs((labels[subset] == c).sum() - size * count / len(labels)) < 1
    np.testing.assert_array_equal(subset, stratified(labels, count, np.random.default_rng(seed)))


def test_remaining_images_go_to_the_largest_remainders_then_to_the_first_classes() -> None:
    labels = np.repeat([0, 1, 2, 3], [5, 7, 4, 4])  # of 10: shares 2.5, 3.5, 2, 2
    assert np.bincount(labels[stratified(labels, 10, np.random.default_rng(0))]).tolist() == [3, 3, 2, 2]
    labels = np.repeat([0, 1, 2], [5, 6, 9])  # of 10: shares 2.5, 3, 4.5
    assert np.bincount(labels[stratified(labels, 10, np.random.default_rng(0))]).tolist() == [3, 3, 4]
    labels = np.repeat([0, 1, 2], [1, 4, 5])  # of 3: shares 0.3, 1.2, 1.5
    assert np.bincount(labels[stratified(labels, 3, np.random.default_rng(0))]).tolist() == [0, 1, 2]


def test_another_seed_draws_different_images() -> None:
    labels = np.arange(500) % 10
    first, second = (stratified(labels, 50, np.random.default_rng(seed)) for seed in (0, 1))
    assert not np.array_equal(first, second)


def test_images_of_a_class_are_equally_likely() -> None:
    labels = np.arange(20) % 2
    rng = np.random.default_rng(0)
    times = sum(np.bincount(stratified(labels, 6, rng), minlength=20) for _ in range(2000))
    np.testing.assert_allclose(times / 2000, 0.3, atol=0.05)  # deviation 0.01


def test_all_images_can_be_drawn() -> None:
    np.testing.assert_array_equal(stratified(np.arange(12) % 5, 12, np.random.default_rng(0)), np.arange(12))


@pytest.mark.parametrize("count", [-1, 0, 13])
def test_a_count_out_of_range_is_an_error(count: int) -> None:
    with pytest.raises(ValueError, match=r"count must be from 1 to 12$"):
        stratified(np.arange(12) % 5, count, np.random.default_rng(0))
