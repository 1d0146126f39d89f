"""Decoding, resizing and normalising, against torchvision, timm and Pillow's own tools."""

from __future__ import annotations

import io
import math
import random
import struct
import subprocess
import sys
import warnings
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from pydantic import ValidationError

from neocog.data.preprocess import Preprocessing, normalise, open_image, preprocess, resize_image, to_uint8
from neocog.errors import DataError

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def settings(size: tuple[int, int] = (224, 224), **changes) -> Preprocessing:
    return Preprocessing(**{"size": size, "mean": MEAN, "std": STD, **changes})


def picture(width: int, height: int, mode: str = "RGB", seed: int = 0) -> Image.Image:
    """A smooth picture with detail, unlike under every flip and rotation."""
    noise = np.random.default_rng(seed).integers(0, 256, (height // 4 + 2, width // 4 + 2, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC).convert(mode)


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def torchvision_crop(image: Image.Image, size: int, crop_pct: float, interpolation: str) -> torch.Tensor:
    from torchvision.transforms import InterpolationMode, v2

    mode = InterpolationMode(interpolation)
    resize = v2.Resize(math.floor(size / crop_pct), interpolation=mode, antialias=True)
    return v2.functional.pil_to_tensor(v2.CenterCrop(size)(resize(image)))


@pytest.mark.parametrize(
    ("width", "height"), [(640, 427), (427, 640), (301, 300), (255, 257), (256, 256), (97, 33), (1, 1), (200, 7)]
)
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos"])
def test_centre_crop_is_torchvisions_pixel_for_pixel(width, height, interpolation):
    image = picture(width, height)
    for size, crop_pct in [(224, 0.875), (32, 0.9), (63, 1.0), (99, 0.95)]:
        ours = to_uint8(image, settings((size, size), crop_pct=crop_pct, interpolation=interpolation))
        assert torch.equal(ours, torchvision_crop(image, size, crop_pct, interpolation))


def test_centre_crop_of_photographs_is_torchvisions_pixel_for_pixel(shared_data: Path):
    for path in sorted((shared_data / "photos").iterdir())[::10]:
        image = Image.open(path).convert("RGB")
        for interpolation in ("bilinear", "bicubic"):
            ours = to_uint8(open_image(path), settings(interpolation=interpolation))
            assert torch.equal(ours, torchvision_crop(image, 224, 0.875, interpolation)), path.name


@pytest.mark.parametrize("size", [(224, 224), (299, 299), (160, 224), (224, 96)])
@pytest.mark.parametrize("crop_pct", [0.875, 0.9, 0.95, 1.0])
def test_agrees_with_timms_evaluation_transform(size, crop_pct):
    from timm.data import create_transform

    theirs = create_transform(
        input_size=(3, *size), is_training=False, crop_pct=crop_pct, interpolation="bicubic", mean=MEAN, std=STD
    )
    ours = settings(size, crop_pct=crop_pct, interpolation="bicubic")
    for width, height in [(640, 427), (333, 500), (120, 121)]:
        image = picture(width, height)
        torch.testing.assert_close(preprocess(image, ours), theirs(image), rtol=0, atol=1e-6)


def test_normalise_is_torchvisions_to_the_last_bit_and_leaves_its_input():
    from torchvision.transforms.v2.functional import normalize

    images = torch.randint(0, 256, (4, 3, 9, 7), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    before = images.clone()
    assert torch.equal(normalise(images, settings()), normalize(images.float() / 255, MEAN, STD))
    floats = images.float()
    normalise(floats, settings())
    assert torch.equal(images, before)
    assert torch.equal(floats, before.float())


def test_normalise_keeps_the_memory_layout_and_rounds_once_to_bfloat16():
    images = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8).contiguous(memory_format=torch.channels_last)
    result = normalise(images, settings(), dtype=torch.bfloat16)
    assert result.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(result, normalise(images, settings()).bfloat16())


def test_squash_keeps_everything_and_ignores_proportions():
    image = picture(90, 30)
    expected = image.resize((20, 40), Image.Resampling.BILINEAR)
    assert resize_image(image, settings((40, 20), fit="squash")).tobytes() == expected.tobytes()


def test_pad_centres_on_zeros_without_enlarging():
    image = Image.new("L", (28, 28), 200)
    grey = settings((32, 32), fit="pad", mean=(0.5,), std=(0.5,), channels=1)
    pixels = to_uint8(image, grey)
    assert pixels.shape == (1, 32, 32)
    assert pixels[0, 2:30, 2:30].eq(200).all()
    assert int(pixels.sum()) == 28 * 28 * 200
    wide = to_uint8(Image.new("L", (64, 16), 200), grey)
    assert wide[0, 12:20].eq(200).all()
    assert int(wide.sum()) == 32 * 8 * 200


def test_a_very_long_image_costs_no_more_than_its_middle():
    stripe = Image.new("RGB", (20_000, 1), "red")
    stripe.paste("blue", (9_990, 0, 10_010, 1))
    pixels = to_uint8(stripe, settings((224, 224)))
    assert pixels[2].min() == 255
    assert pixels[0].max() == 0


def test_grey_and_colour_networks_take_both_kinds_of_images():
    colour, grey = picture(40, 30), picture(40, 30, "L")
    one = settings((16, 16), mean=(0.5,), std=(0.5,), channels=1)
    assert preprocess(colour, one).shape == (1, 16, 16)
    assert preprocess(grey, settings((16, 16))).shape == (3, 16, 16)
    assert torch.equal(to_uint8(colour, one), to_uint8(colour.convert("L"), one))


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": (0, 224)},
        {"mean": (0.5,)},
        {"std": (0.2, 0.0, 0.2)},
        {"crop_pct": 0},
        {"crop_pct": 1.1},
        {"fit": "zoom"},
    ],
)
def test_settings_that_cannot_be_meant_are_refused(wrong):
    with pytest.raises(ValidationError):
        settings(**wrong)


def test_settings_survive_json():
    assert Preprocessing.model_validate_json(settings().model_dump_json()) == settings()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_rotation_is_applied_once(orientation, kind):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(picture(24, 16), kind, exif=exif)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    upright = open_image(data)
    assert upright.size == ((16, 24) if orientation >= 5 else (24, 16))
    assert upright.tobytes() == expected.convert("RGB").tobytes()
    assert open_image(Image.open(io.BytesIO(data))).tobytes() == upright.tobytes()


def test_broken_exif_is_no_reason_to_refuse_an_image():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(picture(24, 16), "WEBP", exif=exif)
    broken = data.replace(b"MM\0*", b"MM\0\0")
    assert broken != data
    assert open_image(broken).size == (24, 16)


def test_transparency_is_laid_on_white():
    clear_red = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    half_black = Image.new("RGBA", (4, 4), (0, 0, 0, 128))
    opaque = picture(4, 4)
    assert open_image(encoded(clear_red, "PNG")).getpixel((0, 0)) == (255, 255, 255)
    assert open_image(encoded(half_black, "PNG")).getpixel((0, 0)) == (127, 127, 127)
    assert open_image(encoded(opaque.convert("RGBA"), "PNG")).tobytes() == opaque.tobytes()
    assert open_image(encoded(Image.new("LA", (4, 4), (9, 0)), "PNG"), channels=1).getpixel((0, 0)) == 255
    for mode in ("La", "RGBa"):
        straight = Image.new({"La": "LA", "RGBa": "RGBA"}[mode], (2, 2))
        assert open_image(straight.convert(mode)).getpixel((0, 0)) == (255, 255, 255)


def test_palettes_become_their_colours_and_their_clear_colour_white():
    flat = Image.new("P", (4, 4), 1)
    flat.putpalette([10, 20, 30, 200, 100, 50])
    assert open_image(encoded(flat, "PNG")).getpixel((0, 0)) == (200, 100, 50)
    assert open_image(encoded(flat, "PNG", transparency=1)).getpixel((0, 0)) == (255, 255, 255)
    assert open_image(encoded(flat, "GIF", transparency=0)).getpixel((0, 0)) == (200, 100, 50)


def test_cmyk_and_other_colour_spaces_become_rgb():
    image = Image.new("RGB", (16, 16), (200, 30, 90))
    for data in (encoded(image.convert("CMYK"), "JPEG", quality=95), encoded(image.convert("CMYK"), "TIFF")):
        assert np.abs(np.subtract(open_image(data).getpixel((8, 8)), (200, 30, 90))).max() <= 8
    assert open_image(image.convert("HSV")).mode == "RGB"
    assert open_image(image.convert("1")).mode == "RGB"


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_not_clipped(kind):
    values = np.array([[0, 128, 257, 32768, 65406, 65535]], dtype=np.uint16)
    grey = open_image(encoded(Image.fromarray(values), kind), channels=1)
    assert np.asarray(grey).tolist() == [[0, 0, 1, 128, 254, 255]]
    assert open_image(encoded(Image.fromarray(values), kind)).getpixel((3, 0)) == (128, 128, 128)


def test_big_endian_16_bit_grey_is_the_same_grey():
    pixels = np.array([[0, 257, 65535]], dtype=">u2").tobytes()
    data = encoded(Image.frombytes("I;16B", (3, 1), pixels), "TIFF")
    assert np.asarray(open_image(data, channels=1)).tolist() == [[0, 1, 255]]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255]),
        ([0.0, 100.0, 255.0], [0, 100, 255]),
        ([-1.0, 0.0, 1.0], [0, 128, 255]),
        ([0.0, 1000.0, 4000.0], [0, 64, 255]),
        ([0.0, math.nan, 1.0], [0, 0, 255]),
        ([7000.0, 7000.0, 7000.0], [0, 0, 0]),
    ],
)
def test_float_grey_keeps_the_scales_that_are_used_and_stretches_others(values, expected):
    data = encoded(Image.fromarray(np.array([values], dtype=np.float32)), "TIFF")
    assert np.asarray(open_image(data, channels=1)).tolist() == [expected]


def test_32_bit_grey_within_eight_bits_is_kept():
    data = encoded(Image.fromarray(np.array([[0, 7, 255]], dtype=np.int32)), "TIFF")
    assert np.asarray(open_image(data, channels=1)).tolist() == [[0, 7, 255]]


def test_the_first_frame_of_an_animation_is_taken():
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert open_image(data).getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000"])
def test_every_format_is_read_from_a_path_bytes_and_a_stream(tmp_path: Path, kind):
    data = encoded(picture(17, 13), kind)
    path = tmp_path / "a picture, ünïcode.with.an.odd.name"
    path.write_bytes(data)
    pixels = open_image(path).tobytes()
    assert open_image(str(path)).tobytes() == pixels
    assert open_image(data).tobytes() == pixels
    assert open_image(io.BytesIO(data)).tobytes() == pixels
    with Image.open(path) as image:
        assert image.convert("RGB").tobytes() == pixels


def test_errors_name_the_file_and_the_reason(tmp_path: Path):
    whole = encoded(picture(64, 48), "JPEG")
    contents = {
        "truncated.jpg": (whole[: len(whole) // 2], "damaged"),
        "nothing.png": (b"", "empty"),
        "letter.jpg": (b"Dear reader, this is a letter.", "not an image"),
        "page.eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
    }
    for name, (data, reason) in contents.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(DataError, match=reason) as caught:
            open_image(tmp_path / name)
        assert str(caught.value).startswith(str(tmp_path / name))
        assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="no such file"):
        open_image(tmp_path / "absent.jpg")
    with pytest.raises(DataError, match="is a folder"):
        open_image(tmp_path)
    with pytest.raises(DataError, match=r"^cifar10/test\[12\]: the file is empty"):
        open_image(b"", name="cifar10/test[12]")


def test_a_file_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_args, **_options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Image, "open", refuse)
    with pytest.raises(DataError, match=r"secret\.jpg: may not be read"):
        open_image(tmp_path / "secret.jpg")


def test_a_decompression_bomb_is_refused():
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 0, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000)))
    with pytest.raises(DataError, match=r"^bomb\.png: too large"):
        open_image(bomb, name="bomb.png")


def test_a_big_photograph_is_opened_without_a_warning(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 200)  # 300 pixels: where Pillow warns but does not refuse
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert open_image(encoded(picture(20, 15), "PNG")).size == (20, 15)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000"])
def test_damage_anywhere_gives_an_image_or_a_data_error(kind):
    source, chance = encoded(picture(24, 24), kind), random.Random(kind)
    for _ in range(60):
        data = bytearray(source[: chance.randrange(1, len(source))] if chance.random() < 0.3 else source)
        for _ in range(chance.choice([1, 4, 16])):
            data[chance.randrange(min(len(data), chance.choice([64, 100_000])))] = chance.randrange(256)
        with suppress(DataError):  # any other error fails the test
            assert open_image(bytes(data)).mode == "RGB"


def test_importing_it_imports_neither_torchvision_nor_datasets():
    code = (
        "import sys, neocog.data.preprocess; from neocog.data import open_image, Preprocessing; "
        "print([m for m in ('torchvision', 'datasets', 'sklearn', 'pandas', 'matplotlib') if m "
        "in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
