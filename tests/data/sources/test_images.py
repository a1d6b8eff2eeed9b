"""Conversion of image files of every mode to 8-bit RGB, compared with known pixels."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainlab.data.sources.images import to_rgb

GRAY, RGB, PALETTE, GRAY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6  # color types of PNG
ORIENTATION = (0x0112, 3, 1)  # EXIF tag, type (short), count


def png(samples: np.ndarray, *, depth: int, color: int, exif: bytes = b"", **chunks: bytes) -> bytes:
    """Encode samples ``[height, width, channels]`` as PNG; Pillow cannot write 16-bit color."""
    height, width, _ = samples.shape
    bits = np.unpackbits(samples.astype(">u2")[..., None].view(np.uint8), axis=-1)[..., 16 - depth :]
    rows = np.packbits(bits.reshape(height, -1), axis=1)
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    parts = [(b"IHDR", header), *((name.encode(), content) for name, content in chunks.items())]
    parts += [(b"IDAT", zlib.compress(np.pad(rows, ((0, 0), (1, 0))).tobytes()))]  # filter 0 in front of each row
    parts += [(b"eXIf", exif)] if exif else []
    encoded = (
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in [*parts, (b"IEND", b"")]
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(encoded)


def exif(orientation: int, *others: tuple[int, int, int, bytes]) -> bytes:
    """Encode EXIF data: big-endian TIFF with one directory."""
    entries = sorted([(*ORIENTATION, struct.pack(">HH", orientation, 0)), *others])
    directory = b"".join(struct.pack(">HHI4s", *entry) for entry in entries)
    return b"MM\0*\0\0\0\x08" + struct.pack(">H", len(entries)) + directory + bytes(4)


def saved(image: Image.Image, suffix: str, **options: object) -> bytes:
    """Encode an image with Pillow."""
    buffer = io.BytesIO()
    image.save(buffer, suffix, **options)
    return buffer.getvalue()


def decoded(content: bytes) -> np.ndarray:
    """Convert an image file to RGB and return its pixels ``[height, width, 3]``."""
    result = to_rgb(Image.open(io.BytesIO(content)))
    assert result.mode == "RGB"
    return np.array(result, dtype=np.int64)


def on_white(color: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Composite colors ``[..., 3]`` on white; ``alpha`` is in [0, 1]."""
    composited: np.ndarray = color * alpha[..., None] + 255 * (1 - alpha[..., None])
    return composited


def noise(channels: int, limit: int = 256) -> np.ndarray:
    """Random samples ``[5, 7, channels]``; every pixel differs from the others."""
    return np.random.default_rng(0).permuted(np.arange(limit))[: 35 * channels].reshape(5, 7, channels)


def with_alpha(limit: int, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """Random samples whose last channel is alpha: transparent, opaque and in between; and alpha in [0, 1]."""
    samples = noise(channels, limit)
    samples[..., -1] = np.resize([0, limit - 1, limit // 3], (5, 7))
    return samples, samples[..., -1] / (limit - 1)


UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),  # clockwise
    7: lambda stored: stored[::-1, ::-1].swapaxes(0, 1),
    8: lambda stored: np.rot90(stored, 1),
}


@pytest.mark.parametrize("suffix", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_orientation_is_applied(orientation: int, suffix: str) -> None:
    squares = np.array([[[250, 10, 10], [10, 250, 10], [10, 10, 250]], [[0, 0, 0], [130, 130, 130], [250, 250, 250]]])
    stored = squares.astype(np.uint8).repeat(16, 0).repeat(16, 1)  # the blocks of JPEG
    options: dict[str, dict[str, object]] = {"WEBP": {"lossless": True}, "JPEG": {"quality": 95, "subsampling": 0}}
    content = saved(Image.fromarray(stored), suffix, exif=b"Exif\0\0" + exif(orientation), **options.get(suffix, {}))
    np.testing.assert_allclose(decoded(content), UPRIGHT[orientation](stored), atol=4 if suffix == "JPEG" else 0)


@pytest.mark.parametrize("depth", [8, 16])
def test_exif_orientation_after_the_pixels_is_applied(depth: int) -> None:
    samples = noise(3) * (1 if depth == 8 else 257)
    content = png(samples, depth=depth, color=RGB, exif=exif(6))
    np.testing.assert_array_equal(decoded(content), np.rot90(noise(3), -1))


def test_an_invalid_exif_tag_does_not_hide_the_orientation() -> None:
    width_as_text = (0x0100, 2, 4, b"abc\0")
    content = png(noise(3), depth=8, color=RGB, exif=exif(6, width_as_text))
    np.testing.assert_array_equal(decoded(content), np.rot90(noise(3), -1))


@pytest.mark.parametrize("invalid", [b"not EXIF", b"MM\0*\0\0\0", exif(63)])
def test_exif_data_that_cannot_be_parsed_is_ignored(invalid: bytes) -> None:
    content = png(noise(3), depth=8, color=RGB, exif=invalid)
    np.testing.assert_array_equal(decoded(content), noise(3))


def test_alpha_is_composited_on_white() -> None:
    samples, alpha = with_alpha(256, 4)
    expected = on_white(samples[..., :3], alpha)
    for content in (
        png(samples, depth=8, color=RGB_ALPHA),
        saved(Image.fromarray(samples.astype(np.uint8)), "WEBP", lossless=True, exact=True),
    ):
        np.testing.assert_allclose(decoded(content), expected, atol=0.6)
    gray, alpha = with_alpha(256, 2)
    expected = on_white(gray[..., :1].repeat(3, 2), alpha)
    np.testing.assert_allclose(decoded(png(gray, depth=8, color=GRAY_ALPHA)), expected, atol=0.6)


def test_opaque_pixels_are_unchanged() -> None:
    for alpha in (np.zeros((16, 16, 0)), np.full((16, 16, 1), 255)):
        ramp = np.arange(256).reshape(16, 16, 1).repeat(3, 2)
        color = RGB_ALPHA if alpha.size else RGB
        np.testing.assert_array_equal(decoded(png(np.dstack([ramp, alpha]), depth=8, color=color)), ramp)


@pytest.mark.parametrize("alphas", [bytes([255, 0, 255]), bytes([255, 51, 0])])  # one transparent entry, and several
def test_transparent_palette_entries_become_white(alphas: bytes) -> None:
    palette = np.array([[10, 20, 30], [200, 0, 100], [7, 8, 9], [0, 255, 0]])
    indices = np.arange(12).reshape(3, 4, 1) % 4
    content = png(indices, depth=8, color=PALETTE, PLTE=palette.astype(np.uint8).tobytes(), tRNS=alphas)
    alpha = np.array([*alphas, 255]) / 255
    np.testing.assert_allclose(decoded(content), on_white(palette, alpha)[indices[..., 0]], atol=0.6)


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_a_transparent_gray_value_becomes_white(depth: int) -> None:
    last = 2**depth - 1
    samples = np.array([[0, last // 3, last // 3, last]])[..., None] if depth > 1 else np.array([[0, 1]])[..., None]
    transparent = int(samples[0, 1, 0]) if depth > 1 else 0
    content = png(samples, depth=depth, color=GRAY, tRNS=struct.pack(">H", transparent))
    expected = np.where(samples == transparent, 255, np.round(samples * 255 / last)).repeat(3, 2)
    np.testing.assert_array_equal(decoded(content), expected)


@pytest.mark.parametrize("depth", [8, 16])
def test_a_transparent_color_becomes_white(depth: int) -> None:
    samples = noise(3, 2**depth)
    samples[0, 0] = samples[2, 3] + [0, 0, 1]  # almost the transparent color
    samples[4, 4] = samples[2, 3]
    content = png(samples, depth=depth, color=RGB, tRNS=struct.pack(">HHH", *samples[2, 3].tolist()))
    expected = np.round(samples * 255 / (2**depth - 1))
    expected[[2, 4], [3, 4]] = 255
    np.testing.assert_array_equal(decoded(content), expected)


@pytest.mark.parametrize("color", [GRAY, RGB])
def test_16_bits_are_rounded_to_8(color: int) -> None:
    all_values = np.arange(65536).reshape(256, 256)
    samples = np.dstack([all_values, all_values.T, all_values[::-1]] if color == RGB else [all_values])
    expected = np.broadcast_to(np.round(samples / 257), (256, 256, 3))
    np.testing.assert_array_equal(decoded(png(samples, depth=16, color=color)), expected)


@pytest.mark.parametrize("color", [GRAY_ALPHA, RGB_ALPHA])
def test_16_bits_with_alpha_are_composited_on_white(color: int) -> None:
    samples, alpha = with_alpha(65536, 4 if color == RGB_ALPHA else 2)
    colors = np.broadcast_to(samples[..., :-1], (5, 7, 3))
    np.testing.assert_allclose(decoded(png(samples, depth=16, color=color)), on_white(colors / 257, alpha), atol=1.1)
    samples[..., -1] = 65535
    np.testing.assert_array_equal(decoded(png(samples, depth=16, color=color)), np.round(colors / 257))


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_gray_is_repeated_in_three_channels(depth: int) -> None:
    samples = noise(1) % 2**depth
    expected = (samples * (255 // (2**depth - 1))).repeat(3, 2)
    np.testing.assert_array_equal(decoded(png(samples, depth=depth, color=GRAY)), expected)
    flat = Image.new("L", (16, 16), 90)
    np.testing.assert_allclose(decoded(saved(flat, "JPEG")), 90, atol=2)


def test_cmyk_is_converted() -> None:
    magenta_and_yellow = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    expected = np.broadcast_to([255, 0, 0], (16, 16, 3))
    np.testing.assert_allclose(decoded(saved(magenta_and_yellow, "JPEG", quality=100)), expected, atol=3)


@pytest.mark.parametrize("mode", ["I", "F"])
def test_pixels_without_a_fixed_range_are_an_error(mode: str) -> None:
    content = saved(Image.new(mode, (4, 4), 100), "TIFF")
    with pytest.raises(ValueError, match=rf"cannot be scaled to 8 bits \(mode {mode}, format TIFF\): save it as PNG"):
        decoded(content)


def test_16_bit_color_that_pillow_would_cut_is_an_error() -> None:
    bits, width = b"\x10\0" * 3, struct.pack("<HH", 1, 0)
    entries: list[tuple[int, int, int, bytes]] = [
        (256, 3, 1, width),
        (257, 3, 1, width),  # height
        (258, 3, 3, struct.pack("<I", 122)),  # offset of the bits per sample
        (259, 3, 1, width),  # no compression
        (262, 3, 1, b"\2\0\0\0"),  # RGB
        (273, 4, 1, struct.pack("<I", 128)),  # offset of the pixels
        (277, 3, 1, b"\3\0\0\0"),  # samples per pixel
        (278, 3, 1, width),  # rows per strip
        (279, 4, 1, struct.pack("<I", 6)),  # bytes of the pixels
    ]
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHI4s", *entry) for entry in entries)
    content = b"II*\0" + struct.pack("<I", 8) + directory + bytes(4) + bits + bytes(6)
    assert len(content) == 134
    with pytest.raises(ValueError, match=r"cannot be scaled to 8 bits \(mode RGB, format TIFF\)"):
        decoded(content)


@pytest.mark.parametrize("color", [RGB, GRAY_ALPHA])
def test_the_given_image_stays_usable(tmp_path: Path, color: int) -> None:
    samples = noise(3 if color == RGB else 2) * 257
    (tmp_path / "1.png").write_bytes(png(samples, depth=16, color=color))
    with Image.open(tmp_path / "1.png") as image:
        expected = np.asarray(Image.open(tmp_path / "1.png"))
        assert to_rgb(image).size == (7, 5)
        np.testing.assert_array_equal(np.asarray(image), expected)
