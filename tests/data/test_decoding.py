"""Decoding for training: the pixels that Pillow gives, but for rounding, from whatever a user has."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import encoded, picture
from PIL import Image

from neocog.data import decoding
from neocog.data.decoding import Photograph, jpeg_header, resize_box, rounded_box, shrunk_size
from neocog.data.preprocess import MAX_PIXELS, open_image
from neocog.errors import DataError

SIZE = (24, 32)
BOX = (11, 20, 50, 70)  # top, left, height, width


def smooth(height: int = 97, width: int = 131, mode: str = "RGB", seed: int = 0) -> Image.Image:
    """A picture that JPEG keeps nearly as it is."""
    return picture(5, 4, seed=seed).resize((width, height), Image.Resampling.BICUBIC).convert(mode)


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def pillow(source: bytes, box: tuple[float, ...] = BOX, channels: int = 3, kind: str = "bilinear") -> np.ndarray:
    """A box of what Pillow decodes, cut and resized as torchvision's RandomResizedCrop does."""
    top, left, tall, wide = box
    part = open_image(source, channels).crop((left, top, left + wide, top + tall))
    pixels = np.asarray(part.resize(SIZE[::-1], Image.Resampling[kind.upper()]))
    return pixels.reshape(*SIZE, channels).transpose(2, 0, 1).astype(int)


def difference(got: torch.Tensor, expected: np.ndarray) -> np.ndarray:
    assert got.dtype == torch.uint8
    assert tuple(got.shape) == expected.shape
    return np.abs(got.numpy().astype(int) - expected)


@pytest.mark.parametrize("kind", ["nearest", "bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize(
    "options", [{}, {"subsampling": 0}, {"subsampling": 2}, {"progressive": True}, {"optimize": True}]
)
def test_a_crop_of_a_jpeg_is_pillows(options: dict, kind: str) -> None:
    source = encoded(smooth(), quality=95, **options)
    got = Photograph(source, 3).crop(BOX, SIZE, kind)
    assert difference(got, pillow(source, kind=kind)).max() <= 1


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_and_colours_are_pillows(orientation: int, mode: str, channels: int) -> None:
    source = encoded(smooth(mode=mode), quality=95, exif=turned(orientation))
    photograph = Photograph(source, channels)
    whole = open_image(source, channels)
    assert photograph.size == (whole.height, whole.width)
    assert jpeg_header(source) == (97, 131, orientation)
    assert difference(photograph.crop(BOX, SIZE, "bilinear"), pillow(source, BOX, channels)).max() <= 2


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("channels", [1, 3])
def test_a_large_jpeg_decoded_at_a_lower_resolution_looks_the_same(orientation: int, channels: int) -> None:
    source = encoded(smooth(600, 800), quality=98, exif=turned(orientation))
    photograph = Photograph(source, channels)
    for box in ((0, 0, *photograph.size), (100, 50, 400, 450), (37, 61, 211, 333)):
        apart = difference(photograph.crop(box, SIZE, "bilinear"), pillow(source, box, channels))
        # Edges are rounded to whole pixels of what is decoded, two or more to one of the result.
        assert apart.mean() < 2
        assert apart.max() < 8


@pytest.mark.parametrize(("box", "scale"), [((0, 0, 600, 800), 8), ((0, 0, 200, 300), 4), ((0, 0, 95, 127), None)])
def test_a_jpeg_is_decoded_at_a_lower_resolution_where_much_is_left(
    box: tuple[int, ...], scale: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    scales = []

    def watch(self: Photograph, scale: int) -> torch.Tensor:
        scales.append(scale)
        return torch.zeros((600 // scale, 800 // scale, 3), dtype=torch.uint8)

    monkeypatch.setattr(Photograph, "_drafted", watch)
    source = encoded(smooth(600, 800))
    Photograph(source, 3).crop(box, SIZE, "nearest")
    assert scales == ([] if scale is None else [scale])


@pytest.mark.parametrize(
    ("kind", "mode", "options"),
    [
        ("PNG", "RGB", {}),
        ("PNG", "L", {}),
        ("PNG", "RGBA", {}),
        ("PNG", "P", {}),
        ("PNG", "1", {}),
        ("PNG", "I;16", {}),
        ("GIF", "P", {}),
        ("WEBP", "RGB", {"lossless": True}),
        ("BMP", "RGB", {}),
        ("TIFF", "RGB", {}),
        ("TIFF", "CMYK", {}),
        ("TIFF", "RGB", {"exif": turned(6)}),
        ("PNG", "RGB", {"exif": turned(8)}),
        ("JPEG", "CMYK", {}),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_whatever_is_no_plain_jpeg_is_pillows_to_the_bit(kind: str, mode: str, options: dict, channels: int) -> None:
    image = smooth(mode="I" if mode == "I;16" else mode)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(smooth(mode="L")).astype(np.uint16) * 257)
    source = encoded(image, kind, **options)
    photograph = Photograph(source, channels)
    whole = open_image(source, channels)
    assert jpeg_header(source) is None
    assert photograph.size == (whole.height, whole.width)
    assert difference(photograph.crop(BOX, SIZE, "nearest"), pillow(source, BOX, channels, "nearest")).max() == 0
    assert difference(photograph.crop(BOX, SIZE, "bilinear"), pillow(source, BOX, channels)).max() <= 1


def test_an_orientation_in_xmp_is_left_to_pillow() -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf tiff:Orientation="6"/></x:xmpmeta>'
    source = encoded(smooth(), quality=95, xmp=xmp)
    assert jpeg_header(source) is None
    assert Photograph(source, 3).size == (131, 97)


@pytest.mark.filterwarnings("error")
def test_a_damaged_exif_is_upright() -> None:
    source = encoded(smooth(), exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert jpeg_header(source) == (97, 131, 1)


def test_markers_may_be_filled_and_bare() -> None:
    source = encoded(smooth())
    assert jpeg_header(source[:2] + b"\xff\xff\xff\x01" + source[2:]) == (97, 131, 1)


def test_a_header_that_cannot_be_read_is_nobodys() -> None:
    source = encoded(smooth())
    frame = source.index(b"\xff\xc0")
    for wrong in (b"", b"\xff\xd8", b"no image at all", source[: frame + 6], source[:20], b"\xff\xd8" + b"\0" * 100):
        assert jpeg_header(wrong) is None
    arithmetic = source[:frame] + b"\xff\xc9" + source[frame + 2 :]
    bits = source[: frame + 4] + b"\x0c" + source[frame + 5 :]
    huge = source[: frame + 5] + struct.pack(">HH", 60000, 60000) + source[frame + 9 :]
    for wrong in (arithmetic, bits, huge):
        assert jpeg_header(wrong) is None
    assert MAX_PIXELS < 60000**2


def test_random_bytes_after_the_mark_of_a_jpeg_are_no_header() -> None:
    generator = np.random.default_rng(0)
    found = [jpeg_header(b"\xff\xd8\xff" + generator.bytes(200)) for _ in range(300)]
    assert found == [None] * 300


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "header"])
def test_a_damaged_image_has_the_error_that_evaluation_gives(tmp_path: Path, damage: str) -> None:
    whole = encoded(picture(200, 300))
    content = {"truncated": whole[: len(whole) // 2], "empty": b"", "text": b"no image", "header": whole[:40]}[damage]
    path = tmp_path / "photograph.jpg"
    path.write_bytes(content)
    messages = []
    for source in (content, path):
        with pytest.raises(DataError) as expected:
            open_image(content)
        with pytest.raises(DataError) as caught:
            Photograph(source, 3).crop(BOX, SIZE, "bilinear")
        assert str(caught.value) == str(expected.value)
        messages.append(str(caught.value))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.jpg: there is no such file"):
        Photograph(tmp_path / "gone.jpg", 3)


def test_what_only_pillow_can_decode_is_decoded_by_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise RuntimeError("unsupported")

    source = encoded(smooth())
    monkeypatch.setattr(decoding, "_decode_jpeg", refuse)
    got = Photograph(source, 3).crop(BOX, SIZE, "nearest")
    assert difference(got, pillow(source, kind="nearest")).max() == 0


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_photograph_is_shrunk_and_never_enlarged(kind: str, orientation: int) -> None:
    source = encoded(smooth(60, 90), kind, exif=turned(orientation))
    upright = (60, 90, 3) if orientation == 1 else (90, 60, 3)
    for side, short, long in ((30, 30, 45), (60, 60, 90), (100, 60, 90)):
        pixels = Photograph(source, 3).shrunk(side)
        assert tuple(pixels.shape) == ((short, long, 3) if orientation == 1 else (long, short, 3))
        assert pixels.is_contiguous()
    whole = np.asarray(open_image(source)).astype(int)
    assert whole.shape == upright
    assert np.abs(Photograph(source, 3).shrunk(100).numpy() - whole).max() <= 1


def test_a_long_photographs_shorter_side_has_a_pixel_at_least() -> None:
    assert shrunk_size(1, 5000, 256) == (1, 5000)
    assert shrunk_size(300, 9001, 256) == (256, 7681)
    assert shrunk_size(9001, 300, 256) == (7681, 256)


def test_edges_are_rounded_and_stay_within() -> None:
    assert rounded_box((0.4, 1.6, 2.2, 3.0), 10, 10) == (0, 2, 3, 3)
    assert rounded_box((9.8, 9.9, 0.2, 0.1), 10, 10) == (9, 9, 1, 1)
    assert rounded_box((3.5, 3.5, 0.1, 0.1), 10, 10) == (4, 4, 1, 1)


def test_a_box_of_the_wanted_size_is_only_cut() -> None:
    pixels = torch.arange(5 * 6 * 3, dtype=torch.uint8).view(5, 6, 3)
    assert torch.equal(resize_box(pixels, (1, 2, 3, 4), (3, 4), "bicubic"), pixels[1:4, 2:6].permute(2, 0, 1))


def test_crops_of_real_photographs_are_pillows(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "SIZE", (96, 128))  # so large that none is decoded at a lower resolution
    paths = sorted((shared_data / "photos").iterdir())[::7]
    for path in paths:
        photograph = Photograph(path, 3)
        height, width = photograph.size
        box = (height // 5, width // 7, height // 2, width // 2)
        apart = difference(photograph.crop(box, (96, 128), "bicubic"), pillow(path.read_bytes(), box, kind="bicubic"))
        assert apart.mean() < 0.5
        assert apart.max() < 10
