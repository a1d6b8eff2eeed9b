"""Images as data URIs."""

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

LARGEST = 64  # pixels; larger images are reduced
PICTURE_WIDTH = 1100  # pixels
PICTURE_COLORS = 64


def image_uri(pixels: NDArray[np.uint8]) -> str:
    """Return an image ``[channels, height, width]`` as the data URI of a PNG of at most 64 pixels."""
    image = Image.fromarray(pixels[0] if len(pixels) != 3 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    image.thumbnail((LARGEST, LARGEST), Image.Resampling.BOX)
    return _uri(image)


def picture_uri(png: bytes) -> str:
    """Return a picture as the data URI of a smaller PNG: at most 1,100 pixels wide, 64 colors."""
    image = Image.open(io.BytesIO(png)).convert("RGB")
    if image.width > PICTURE_WIDTH:
        size = PICTURE_WIDTH, round(image.height * PICTURE_WIDTH / image.width)
        image = image.resize(size, Image.Resampling.LANCZOS)
    return _uri(image.quantize(PICTURE_COLORS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE))


def _uri(image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
