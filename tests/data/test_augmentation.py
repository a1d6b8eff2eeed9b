"""Augmentations, compared with a loop over images; distribution of their draws."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import Generator

from trainlab.data.augmentation import AlternatingFlip, Crop, Cutout, Flip
from trainlab.errors import UserError

ALL = [
    AlternatingFlip(name="alternating_flip"),
    Flip(name="flip"),
    Crop(name="crop", padding=4),
    Cutout(name="cutout", size=8),
]


def some(batch: int = 6, channels: int = 3, height: int = 9, width: int = 12) -> torch.Tensor:
    rows = torch.randn(batch, height, width, channels, generator=Generator().manual_seed(0))
    return rows.permute(0, 3, 1, 2)


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def applied(augmentation: Any, images: torch.Tensor, generator: Generator, epoch: int = 1) -> torch.Tensor:
    """Return images as one batch of an epoch that they fill."""
    own = augmentation.start(len(images), generator=generator)
    changed: torch.Tensor = augmentation.apply(images, generator=generator, own=own, epoch=epoch)
    return changed


def flipped(image: np.ndarray, flip: bool) -> np.ndarray:
    return image[:, :, ::-1] if flip else image


def cropped(image: np.ndarray, top: int, left: int, padding: int) -> np.ndarray:
    _, height, width = image.shape
    padded = np.pad(image, ((0, 0), (padding, padding), (padding, padding)), mode="reflect")
    return padded[:, top : top + height, left : left + width]


def cut_out(image: np.ndarray, row: int, column: int, size: int) -> np.ndarray:
    image, top, left = image.copy(), row - size // 2, column - size // 2
    image[:, max(top, 0) : top + size, max(left, 0) : left + size] = 0
    return image


def test_flip_equals_a_loop_over_images() -> None:
    draws = Flip(name="flip").draw(some(20).shape, generator=seeded())
    assert 0 < draws["flip"].sum() < 20
    expected = [flipped(image, flip) for image, flip in zip(some(20).numpy(), draws["flip"].tolist(), strict=True)]
    np.testing.assert_array_equal(applied(Flip(name="flip"), some(20), seeded()).numpy(), expected)


def test_alternating_flip_mirrors_each_image_in_every_other_epoch() -> None:
    images, flip = some(20), AlternatingFlip(name="alternating_flip")
    odd, even, third = (applied(flip, images, seeded(), epoch) for epoch in (1, 2, 3))
    coins = flip.start(20, generator=seeded())["flip"].tolist()
    assert 0 < sum(coins) < 20
    np.testing.assert_array_equal(odd.numpy(), list(map(flipped, images.numpy(), coins)))
    assert torch.equal(even, odd.flip(3))
    assert torch.equal(third, odd)


@given(st.integers(1, 8), st.integers(1, 4), st.integers(9, 13), st.integers(9, 13), st.integers(0, 2**31))
def test_crop_equals_a_loop_over_images(padding: int, channels: int, height: int, width: int, seed: int) -> None:
    images, crop = some(5, channels, height, width), Crop(name="crop", padding=padding)
    draws = crop.draw(images.shape, generator=seeded(seed))
    corners = zip(images.numpy(), draws["top"].tolist(), draws["left"].tolist(), strict=True)
    expected = [cropped(image, top, left, padding) for image, top, left in corners]
    np.testing.assert_array_equal(applied(crop, images, seeded(seed)).numpy(), expected)


@given(st.integers(1, 20), st.integers(1, 4), st.integers(1, 13), st.integers(1, 13), st.integers(0, 2**31))
def test_cutout_equals_a_loop_over_images(size: int, channels: int, height: int, width: int, seed: int) -> None:
    size = min(size, max(height, width))
    images, cutout = some(5, channels, height, width), Cutout(name="cutout", size=size)
    draws = cutout.draw(images.shape, generator=seeded(seed))
    centres = zip(images.numpy(), draws["row"].tolist(), draws["column"].tolist(), strict=True)
    expected = [cut_out(image, row, column, size) for image, row, column in centres]
    np.testing.assert_array_equal(applied(cutout, images, seeded(seed)).numpy(), expected)


def test_half_of_the_images_are_flipped() -> None:
    flip = Flip(name="flip").draw(torch.Size([10000, 3, 2, 2]), generator=seeded())["flip"]
    assert stats.binomtest(int(flip.sum()), 10000, 0.5).pvalue > 1e-3


def test_half_of_the_images_are_flipped_in_odd_epochs() -> None:
    coins = AlternatingFlip(name="alternating_flip").start(10000, generator=seeded())["flip"]
    assert stats.binomtest(int(coins.sum()), 10000, 0.5).pvalue > 1e-3


def test_shifts_are_equally_likely() -> None:
    draws = Crop(name="crop", padding=2).draw(torch.Size([25000, 3, 8, 8]), generator=seeded())
    times = np.bincount((5 * draws["top"] + draws["left"]).numpy(), minlength=25)
    assert len(times) == 25
    assert stats.chisquare(times).pvalue > 1e-3


def test_pixels_are_equally_likely_centres() -> None:
    draws = Cutout(name="cutout", size=4).draw(torch.Size([35000, 3, 5, 7]), generator=seeded())
    times = np.bincount((7 * draws["row"] + draws["column"]).numpy(), minlength=35)
    assert len(times) == 35
    assert stats.chisquare(times).pvalue > 1e-3


@pytest.mark.parametrize("augmentation", ALL, ids=lambda a: a.name)
@pytest.mark.parametrize("batch", [1, 6])
@pytest.mark.parametrize("channels", [1, 3])
def test_memory_is_channels_last_and_the_given_images_are_unchanged(
    augmentation: Any, batch: int, channels: int
) -> None:
    images = some(batch, channels)
    changed = applied(augmentation, images, seeded())
    assert changed.shape == images.shape
    assert changed.dtype == images.dtype
    assert changed.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(images, some(batch, channels))


@pytest.mark.parametrize("augmentation", ALL, ids=lambda a: a.name)
def test_the_result_depends_on_the_seed_only(augmentation: Any) -> None:
    images = some(64)
    once, again, other = (applied(augmentation, images, seeded(seed)) for seed in (1, 1, 2))
    assert once.numpy().tobytes() == again.numpy().tobytes()
    assert not torch.equal(once, other)


def test_one_generator_gives_each_batch_different_draws() -> None:
    generator = seeded()
    first, second = (applied(ALL[2], some(64), generator) for _ in range(2))
    assert not torch.equal(first, second)


def test_padding_of_the_image_size_or_more_is_an_error() -> None:
    with pytest.raises(UserError, match=r"padding is 9; for images of 9×12 pixels it must be at most 8$"):
        applied(Crop(name="crop", padding=9), some(), seeded())


def test_a_square_that_is_larger_than_the_images_is_refused() -> None:
    assert applied(Cutout(name="cutout", size=12), some(), seeded()).shape == some().shape
    with pytest.raises(UserError, match=r"size is 13; for images of 9×12 pixels it must be at most 12$"):
        applied(Cutout(name="cutout", size=13), some(), seeded())
