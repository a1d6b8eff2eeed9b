"""Normalization of batches, compared with NumPy."""

import numpy as np
import torch

from small import dataset
from trainlab.data.batches import Batches
from trainlab.data.stored import Dataset

CPU = torch.device("cpu")


def test_raw_inputs_are_pixels_scaled_to_0_1() -> None:
    images = dataset(10)
    batch, labels = Batches(images, inputs="raw", device=CPU).take(torch.tensor([3, 0, 7]))
    assert batch.dtype == torch.float32
    assert batch.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_allclose(batch.numpy(), images.images[[3, 0, 7]] / 255, rtol=1e-6)
    assert labels.tolist() == images.labels[[3, 0, 7]].tolist()


def test_standardized_inputs_have_mean_0_and_deviation_1() -> None:
    images = dataset(200)
    batch, _ = Batches(images, inputs="standardized", device=CPU).slice(0, 200)
    mean, std = np.array(images.mean).reshape(3, 1, 1), np.array(images.std).reshape(3, 1, 1)
    np.testing.assert_allclose(batch.numpy(), (images.images / 255 - mean) / std, atol=1e-5)
    np.testing.assert_allclose(batch.mean((0, 2, 3)).numpy(), 0, atol=1e-4)
    np.testing.assert_allclose(batch.std((0, 2, 3)).numpy(), 1, atol=1e-3)


def test_means_are_subtracted_per_channel_or_per_pixel() -> None:
    images = dataset(50)
    pixels = images.images / 255
    channel, _ = Batches(images, inputs="channel_mean", device=CPU).slice(0, 50)
    np.testing.assert_allclose(channel.numpy(), pixels - pixels.mean((0, 2, 3), keepdims=True), atol=1e-6)
    image, _ = Batches(images, inputs="mean_image", device=CPU).slice(0, 50)
    np.testing.assert_allclose(image.numpy(), pixels - pixels.mean(0, keepdims=True), atol=1e-6)


def test_a_constant_channel_becomes_zero() -> None:
    images = np.full((4, 1, 20, 20), 51, dtype=np.uint8)
    constant = Dataset(images, np.zeros(4, dtype=np.int64), ["a", "b"], [0.2], [0.0], images[0] / np.float32(255))
    batch, _ = Batches(constant, inputs="standardized", device=CPU).slice(0, 4)
    np.testing.assert_allclose(batch.numpy(), 0, atol=1e-6)


def test_a_spread_covers_all_images() -> None:
    images = dataset(10)
    batches = Batches(images, inputs="raw", device=CPU)
    for count, positions in ((3, [0, 3, 6]), (10, range(10)), (99, range(10)), (1, [0])):
        np.testing.assert_allclose(batches.spread(count).numpy(), images.images[list(positions)] / 255, rtol=1e-6)
