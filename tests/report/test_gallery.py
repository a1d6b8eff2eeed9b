"""How images are written."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from trainlab.report import gallery


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
