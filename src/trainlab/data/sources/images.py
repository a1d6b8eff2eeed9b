"""Convert an image file of any mode to 8-bit RGB."""

import struct

import numpy as np
from PIL import ExifTags, Image, ImageFile, ImageOps

# Pillow decodes 16-bit PNG files with color or alpha to the high byte of each sample only. The low bytes are read with a
# second raw mode. `RGB;16L` is little-endian, so of big-endian samples it gives the low byte; "LA" has no such raw mode,
# but its four bytes per pixel can be read as "RGBA": gray high, gray low, alpha high, alpha low.
_LOW_BYTES = {"RGB;16B": "RGB;16L", "RGBA;16B": "RGBA;16L", "LA;16B": "RGBA"}
# Pillow scales 2-bit and 4-bit gray to 8 bits, but not the transparent gray value of the same file.
_GRAY_STEP = {"L;2": 85, "L;4": 17}


def to_rgb(image: Image.Image) -> Image.Image:
    """Return an upright, opaque 8-bit RGB copy of an image.

    - The EXIF orientation is applied; EXIF data that cannot be parsed is ignored.
    - Transparent pixels (alpha channel, palette or transparent color) are composited on white.
    - 16 bits per channel are scaled to 8 bits, rounded to the nearest value.
    - 1-bit, gray, palette and CMYK images are converted as Pillow does. Color profiles are ignored.

    Parameters
    ----------
    image
        As :func:`PIL.Image.open` returns it. It must not be loaded yet: loading cuts 16-bit color to 8 bits.

    Raises
    ------
    ValueError
        If the pixels are 32-bit integers or floats (modes `I` and `F`), which have no fixed range, or if the file has
        16-bit color in a format other than PNG.
    """
    rawmode = _rawmode(image)
    if image.mode.startswith("I;16") or (image.format == "PNG" and ";16" in rawmode):
        plain = _scaled_to_8_bits(image, rawmode)
    elif image.mode in ("I", "F") or ";16" in rawmode:
        raise ValueError(
            f"its pixels cannot be scaled to 8 bits (mode {image.mode}, format {image.format}): "
            "save it as PNG with 8 or 16 bits per channel"
        )
    else:
        plain = image.copy()
        plain.info = {key: value for key, value in image.info.items() if key == "transparency"}
        if plain.info and rawmode in _GRAY_STEP:
            plain.info["transparency"] *= _GRAY_STEP[rawmode]
    # `plain` has no other metadata, because `exif_transpose` fails if any EXIF tag of a file is invalid.
    plain.getexif()[ExifTags.Base.Orientation] = _orientation(image)
    upright = ImageOps.exif_transpose(plain)
    if not upright.has_transparency_data:
        return upright.convert("RGB")
    white = Image.new("RGBA", upright.size, "white")
    return Image.alpha_composite(white, upright.convert("RGBA")).convert("RGB")


def _rawmode(image: Image.Image) -> str:
    """Return how the file stores its pixels, such as ``RGB;16B``, or an empty string if that is not known."""
    if not (isinstance(image, ImageFile.ImageFile) and image.tile):
        return ""
    arguments = image.tile[0].args
    return str(arguments[0] if isinstance(arguments, tuple) and arguments else arguments)


def _scaled_to_8_bits(image: Image.Image, rawmode: str) -> Image.Image:
    """Return a 16-bit image as 8-bit RGB or RGBA, without metadata."""
    low = _low_bytes(image, rawmode) if rawmode in _LOW_BYTES else None
    values = np.asarray(image).astype(np.uint16)
    values = np.dstack([values] * 3) if low is None else values << 8 | low
    pixels = (values // 257 + (values % 257 > 128)).astype(np.uint8)  # 65,535 / 255 = 257; uint16, to save memory
    if (transparent := image.info.get("transparency")) is not None:
        pixels = np.dstack([pixels, np.where((values == transparent).all(2), 0, 255).astype(np.uint8)])
    return Image.fromarray(pixels)


def _low_bytes(image: Image.Image, rawmode: str) -> np.ndarray:
    """Return the low byte of each sample of a 16-bit PNG, in the shape of the decoded image."""
    assert isinstance(image, ImageFile.ImageFile)
    assert image.fp is not None
    again = Image.open(image.fp, formats=["PNG"])
    assert isinstance(again, ImageFile.ImageFile)
    again.tile = [again.tile[0]._replace(args=_LOW_BYTES[rawmode])]
    low = np.asarray(again)
    return low[..., [1, 1, 1, 3]] if rawmode == "LA;16B" else low


def _orientation(image: Image.Image) -> object:
    """Return the EXIF orientation, 1 to 8; 1 (upright) if there is none."""
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    except (SyntaxError, struct.error):  # Pillow's errors for EXIF data that cannot be parsed
        return 1
