"""From an image file to what a network sees: decoding, resizing, normalising.

Training, evaluation and prediction all use this module, on Pillow and PyTorch alone, so that a network
meets in use the pixels it met in training. The centre crop is torchvision's `Resize` and `CenterCrop` on
Pillow images, pixel for pixel, and so timm's evaluation transform at the same crop fraction and
interpolation.
"""

from __future__ import annotations

import io
import math
import struct
import warnings
import zlib
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from neocog.data.color import in_cache
from neocog.errors import DataError

MAX_PIXELS = 178_956_970
"""Images of more pixels are refused as decompression bombs: 13,377 x 13,377, or half a gigabyte of RGB."""

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000")
"""The formats that are read. Those that Pillow hands to another program, such as EPS, are not among them."""

DAMAGE = (
    *(OSError, SyntaxError, ValueError, EOFError, LookupError, ArithmeticError),
    *(TypeError, RuntimeError, MemoryError, struct.error, zlib.error),
)
"""What decoders raise on damaged bytes: whatever the damage happens to lead to."""

_Source = str | Path | bytes | BinaryIO | Image.Image

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation to what makes the image upright (Exif 2.3, tag 0x0112)."""

ORIENTATION = 0x0112
"""The EXIF tag that says how an image is to be turned."""

_LONGEST = 32  # times the shorter side; see `resize_image`


class Preprocessing(BaseModel):
    """How an image becomes a network's input; part of every model file.

    Attributes:
        size: height and width of the input.
        fit: "crop" resizes so that the centre crop of `size` spans `crop_pct` of the shorter side; "squash"
            resizes both sides to `size`; "pad" centres the image on zeros and shrinks it only where it is
            larger (MNIST's 28 x 28 in LeNet-5's 32 x 32).
        crop_pct: for "crop": the share of the shorter side that is kept.
        interpolation: resampling filter, antialiased where it shrinks.
        mean: subtracted from each channel after scaling to [0, 1].
        std: divides each channel after that.
        channels: 3 for RGB, 1 for grey.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    size: tuple[int, int]
    fit: Literal["crop", "squash", "pad"] = "crop"
    crop_pct: float = Field(0.875, gt=0, le=1)
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] = "bilinear"
    mean: tuple[float, ...]
    std: tuple[float, ...]
    channels: Literal[1, 3] = 3

    @model_validator(mode="after")
    def _check(self) -> Preprocessing:
        if min(self.size) < 1:
            raise ValueError(f"size must be at least 1 x 1, not {self.size[0]} x {self.size[1]}")
        if len(self.mean) != self.channels or len(self.std) != self.channels:
            raise ValueError(f"mean and std must have one value for each of {self.channels} channels")
        if min(self.std) <= 0:
            raise ValueError(f"std must be above 0, not {min(self.std)}")
        return self


def preprocess(image: Image.Image, preprocessing: Preprocessing) -> Tensor:
    """Return `image` as a network's input, a float32 tensor `(C, H, W)`; add the batch dimension yourself."""
    return normalise(to_uint8(image, preprocessing), preprocessing)


def to_uint8(image: Image.Image, preprocessing: Preprocessing) -> Tensor:
    """Return `image` resized to the network's input as a uint8 tensor `(C, H, W)`, not yet normalised."""
    pixels = torch.from_numpy(np.array(resize_image(image, preprocessing)))
    return pixels.unsqueeze(0) if pixels.ndim == 2 else pixels.permute(2, 0, 1).contiguous()


def normalise(images: Tensor, preprocessing: Preprocessing, dtype: torch.dtype = torch.float32) -> Tensor:
    """Scale uint8 images to [0, 1], subtract the mean and divide by the standard deviation of each channel.

    Args:
        images: `(C, H, W)` or `(N, C, H, W)`, uint8; the result keeps their device and memory layout.
        preprocessing: holds mean and std.
        dtype: of the result; the arithmetic is float32's.
    """
    mean, std = (
        torch.tensor(values, dtype=torch.float32, device=images.device).view(-1, 1, 1)
        for values in (preprocessing.mean, preprocessing.std)
    )
    if images.device.type != "cpu" or images.ndim < 4:
        return images.to(torch.float32, copy=True).div_(255).sub_(mean).div_(std).to(dtype)
    result = torch.empty_like(images, dtype=torch.float32)
    rows, source = result, images
    if images.is_contiguous(memory_format=torch.channels_last) and not images.is_contiguous():
        # Row by row, since three channels in a row would leave vector instructions idle.
        rows, source = (each.permute(0, 2, 3, 1).flatten(2) for each in (result, images))
        mean, std = (each.view(-1).repeat(images.shape[3]) for each in (mean, std))
    size = in_cache(images)
    for values, pixels in zip(torch.split(rows, size), torch.split(source, size), strict=True):
        values.copy_(pixels).div_(255).sub_(mean).div_(std)
    return result.to(dtype)


def resize_image(image: Image.Image, preprocessing: Preprocessing) -> Image.Image:
    """Return `image` in the network's colours and size, as `preprocessing.fit` says.

    Rounding, for "crop": for a square input the shorter side becomes floor(size / crop_pct) and the longer
    one follows in proportion, rounded down, as torchvision does; for another input both sides are rounded
    to the nearest, as timm does; the crop's corner is rounded to the nearest, halves to even. Of an image
    more than 32 times as long as wide only the middle is resized, since the rest would cost gigabytes and
    be cropped away.
    """
    image = _recolour(image, preprocessing.channels)
    height, width = preprocessing.size
    if preprocessing.fit == "squash":
        return _resample(image, width, height, preprocessing)
    if preprocessing.fit == "pad":
        return _pad(image, width, height, preprocessing)
    longest = _LONGEST * min(image.size) * math.ceil(max(width, height) / min(width, height))
    if max(image.size) > longest:
        image = _crop(image, min(image.width, longest), min(image.height, longest))
    image = _resample(image, *_covering(image, width, height, preprocessing.crop_pct), preprocessing)
    return _crop(image, width, height)


def open_image(source: _Source, channels: int = 3, *, name: str | None = None) -> Image.Image:
    """Decode an image upright into RGB (`channels=3`) or grey (`channels=1`), eight bits a channel.

    EXIF rotation is applied. CMYK, palettes and grey are converted; transparency is laid on white. 16-bit
    grey is scaled by 1/257; float grey from 0 to 1 by 255; other 32-bit grey is kept where it lies within 0
    to 255, and otherwise stretched from its least to its greatest value. Of an animation the first frame is
    taken.

    Args:
        source: a path, an encoded image, a binary stream, or a Pillow image.
        channels: 3 or 1.
        name: how errors call the source, where it is not a path.

    Raises:
        DataError: the file is missing, unreadable, empty, damaged, not an image of `FORMATS`, or has more
            than `MAX_PIXELS` pixels.
    """
    name = name or _name(source)
    try:
        if isinstance(source, Image.Image):
            return _decode(source, channels)
        # Pillow warns at half the size that it refuses; the warning would be printed amid a user's results.
        with warnings.catch_warnings(action="ignore"), Image.open(_stream(source), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise Image.DecompressionBombError(f"{image.width} x {image.height} pixels")
            return _decode(image, channels)
    except Image.DecompressionBombError as error:
        raise DataError(
            f"{name}: too large to decode safely (at most {MAX_PIXELS:,} pixels are); make it smaller"
        ) from error
    except DAMAGE as error:
        raise DataError(f"{name}: {_reason(error, source)}") from error


def _decode(image: Image.Image, channels: int) -> Image.Image:
    image.load()  # which turns a TIFF by itself and then forgets its orientation
    return _recolour(_upright(image), channels)


def _stream(source: str | Path | bytes | BinaryIO) -> str | Path | BinaryIO:
    return io.BytesIO(source) if isinstance(source, bytes) else source


def _name(source: _Source) -> str:
    if isinstance(source, str | Path):
        return str(source)
    return str(getattr(source, "filename", "") or getattr(source, "name", "") or "the image given")


def _reason(error: Exception, source: _Source) -> str:
    """Return what is wrong with an image that could not be decoded, and what to do."""
    if isinstance(error, FileNotFoundError):
        return "there is no such file; check the path"
    if isinstance(error, PermissionError):
        return "may not be read; check its permissions"
    if isinstance(error, IsADirectoryError):
        return "is a folder, not an image; name the files in it"
    if isinstance(error, UnidentifiedImageError):
        if _is_empty(source):
            return "the file is empty; replace or remove it"
        return f"not an image of a readable kind ({', '.join(FORMATS)}); remove it"
    detail = " ".join(str(error).split()) or type(error).__name__
    return f"the image is damaged ({detail}); replace or remove it"


def _is_empty(source: _Source) -> bool:
    if isinstance(source, str | Path):
        return Path(source).stat().st_size == 0
    return source == b"" or (isinstance(source, io.IOBase) and source.seek(0, io.SEEK_END) == 0)


def _upright(image: Image.Image) -> Image.Image:
    """Turn an image as its EXIF orientation says; one whose EXIF cannot be read stays as it is."""
    try:
        turn = _TURNS.get(image.getexif().get(ORIENTATION, 1))
    except DAMAGE:
        return image
    return image if turn is None else image.transpose(turn)


def _recolour(image: Image.Image, channels: int) -> Image.Image:
    """Convert any of Pillow's modes to RGB or L, eight bits a channel, transparency on white."""
    mode = "RGB" if channels == 3 else "L"
    if image.mode[0] in "IF":
        image = Image.fromarray(_to_8_bits(np.asarray(image), image.mode))
    elif image.has_transparency_data:
        layer = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), layer).convert("RGB")
    return image if image.mode == mode else image.convert(mode)


def _to_8_bits(grey: np.ndarray, mode: str) -> np.ndarray:
    """Scale grey values `(H, W)` of 16 bits, 32 bits or float to uint8; see `open_image`."""
    if mode.startswith("I;16"):
        return ((grey.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
    values = np.nan_to_num(grey.astype(np.float64), posinf=0, neginf=0)
    low, high = values.min(), values.max()
    if mode == "F" and low >= 0 and high <= 1:
        values = values * 255
    elif low < 0 or high > 255:
        values = (values - low) * (255 / (high - low) if high > low else 0)
    return np.rint(values).astype(np.uint8)


def _covering(image: Image.Image, width: int, height: int, crop_pct: float) -> tuple[int, int]:
    """Return the width and height to resize to before the centre crop of `width` x `height`."""
    wide, tall = math.floor(width / crop_pct), math.floor(height / crop_pct)
    if wide != tall:
        ratio = min(image.width / wide, image.height / tall)
        return round(image.width / ratio), round(image.height / ratio)
    if image.width <= image.height:
        return wide, int(wide * image.height / image.width)
    return int(wide * image.width / image.height), wide


def _resample(image: Image.Image, width: int, height: int, preprocessing: Preprocessing) -> Image.Image:
    if image.size == (width, height):
        return image
    return image.resize((width, height), Image.Resampling[preprocessing.interpolation.upper()])


def _crop(image: Image.Image, width: int, height: int) -> Image.Image:
    if image.size == (width, height):
        return image
    left, top = round((image.width - width) / 2), round((image.height - height) / 2)
    return image.crop((left, top, left + width, top + height))


def _pad(image: Image.Image, width: int, height: int, preprocessing: Preprocessing) -> Image.Image:
    ratio = max(image.width / width, image.height / height)
    if ratio > 1:
        shrunk_width, shrunk_height = (max(1, round(side / ratio)) for side in image.size)
        image = _resample(image, shrunk_width, shrunk_height, preprocessing)
    canvas = Image.new(image.mode, (width, height))
    canvas.paste(image, ((width - image.width) // 2, (height - image.height) // 2))
    return canvas
