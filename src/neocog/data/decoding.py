"""Decoding for training: a random box of a photograph, straight to the input's size.

Nearly all photographs are JPEGs, and decoding them takes most of the time of a data path. torchvision's decoder gives
tightly packed RGB, which PyTorch resizes with vector instructions, antialiased as Pillow does it; where the box has
many times the input's pixels, Pillow decodes fewer of them. Whatever is not a plain JPEG, and whatever goes wrong,
is left to `neocog.data.preprocess.open_image`, so that every format is read, and every error reported, as it is in
evaluation. There nothing here is used: networks are measured on Pillow's pixels.
"""

from __future__ import annotations

import io
import os
import struct
import warnings
from collections.abc import Sequence
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from neocog.data.augment import Interpolation
from neocog.data.preprocess import DAMAGE, FORMATS, MAX_PIXELS, ORIENTATION, open_image

SPARE = 2
"""A JPEG is decoded at a lower resolution only where that keeps this many times as many pixels a side as are needed."""

_FRAMES = (0xC0, 0xC1, 0xC2)  # baseline, extended and progressive JPEG, Huffman coded
_OTHER_FRAMES = (0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF)  # lossless, hierarchical, arithmetic
_BARE = (0x01, *range(0xD0, 0xD8))  # markers without a length
_APP1, _SCAN = 0xE1, 0xDA
_VECTORISED = ("bilinear", "bicubic")  # the filters that PyTorch has

# EXIF orientation: whether the stored image is to be transposed, then mirrored top to bottom and left to right.
_UPRIGHT = {
    1: (False, False, False),
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


class Header(NamedTuple):
    """What the markers before a JPEG's pixels say.

    Attributes:
        height: of the stored image, in pixels.
        width: of the stored image, in pixels.
        orientation: EXIF's, from 1 to 8.
    """

    height: int
    width: int
    orientation: int


class Photograph:
    """An encoded image that is decoded only as far as it is needed.

    Args:
        source: the encoded image, or its file.
        channels: 3 for RGB, 1 for grey.

    Raises:
        DataError: it cannot be decoded.
    """

    def __init__(self, source: bytes | Path, channels: int) -> None:
        self._channels = channels
        self._encoded = _contents(source, channels)
        self._header = jpeg_header(self._encoded)
        if self._header is None:
            self._whole = open_image(bytes(self._encoded), channels)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the upright image, in pixels."""
        if self._header is None:
            return self._whole.height, self._whole.width
        height, width, orientation = self._header
        return (width, height) if _UPRIGHT[orientation][0] else (height, width)

    def crop(self, box: Sequence[float], size: tuple[int, int], interpolation: Interpolation) -> Tensor:
        """Return a box of the upright image resized to `size`: uint8 `(C, H, W)`.

        Args:
            box: top, left, height and width in pixels of the upright image; its edges are rounded to whole pixels
                of what is decoded.
            size: height and width of the result.
            interpolation: resampling filter, antialiased where it shrinks.

        Raises:
            DataError: the image cannot be decoded.
        """
        if self._header is not None:
            try:
                return self._crop_jpeg(self._header, box, size, interpolation)
            except DAMAGE:
                pass  # `open_image` says what is wrong, or reads what is wrong for torchvision alone
        pixels = packed(self._whole)
        return resize_box(pixels, on_pixels(box, self.size, pixels), size, interpolation)

    def shrunk(self, side: int) -> Tensor:
        """Return the upright image with a shorter side of at most `side` pixels: uint8 `(H, W, C)`.

        It is never enlarged. A long side of a shrunk image is rounded to the nearest pixel.

        Raises:
            DataError: the image cannot be decoded.
        """
        height, width = self.size
        size = shrunk_size(height, width, side)
        if size == (height, width) and self._header is None:
            return packed(self._whole)
        return self.crop((0, 0, height, width), size, "bicubic").permute(1, 2, 0).contiguous()

    @cached_property
    def _whole(self) -> Image.Image:
        return open_image(bytes(self._encoded), self._channels)

    def _crop_jpeg(
        self, header: Header, box: Sequence[float], size: tuple[int, int], interpolation: Interpolation
    ) -> Tensor:
        transposed, down, across = _UPRIGHT[header.orientation]
        top, left, tall, wide = box
        height, width = self.size
        if down:
            top = height - top - tall
        if across:
            left = width - left - wide
        stored, wanted = (top, left, tall, wide), size
        if transposed:
            stored, wanted = (left, top, wide, tall), (size[1], size[0])
        surplus = min(stored[2] / wanted[0], stored[3] / wanted[1]) / SPARE
        if surplus >= 2:
            pixels = self._drafted(max(scale for scale in (2, 4, 8) if scale <= surplus))
        else:
            pixels = _decode_jpeg(self._encoded, self._channels)
        part = resize_box(pixels, on_pixels(stored, header[:2], pixels), wanted, interpolation)
        if transposed:
            part = part.transpose(1, 2)
        turned = [axis for axis, flipped in ((1, down), (2, across)) if flipped]
        return part.flip(turned) if turned else part

    def _drafted(self, scale: int) -> Tensor:
        """Decode a JPEG at 1/2, 1/4 or 1/8 of its resolution, which for a telephone's saves most of the time."""
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(self._encoded), formats=FORMATS) as image:
            image.draft(image.mode, (image.width // scale, image.height // scale))
            return packed(image.convert("RGB" if self._channels == 3 else "L"))


def jpeg_header(encoded: bytes | bytearray) -> Header | None:
    """Return what a JPEG says of itself, or None for anything that torchvision might not decode as Pillow does.

    That is: another format, four colours or more than eight bits each, a coding that is hardly ever met, a damaged
    header, an orientation written elsewhere than in EXIF, or too many pixels.
    """
    if encoded[:2] != b"\xff\xd8":
        return None
    frame, orientation, place = None, 1, 2
    try:
        while (marker := encoded[place + 1]) != _SCAN:
            if encoded[place] != 0xFF or marker in _OTHER_FRAMES:
                return None
            if marker in _BARE or marker == 0xFF:  # any number of the latter may fill the space between markers
                place += 1 if marker == 0xFF else 2
                continue
            (length,) = struct.unpack_from(">H", encoded, place + 2)
            if marker in _FRAMES:
                bits, height, width, colours = struct.unpack_from(">BHHB", encoded, place + 4)
                if bits != 8 or colours not in (1, 3) or not 0 < height * width <= MAX_PIXELS:
                    return None
                frame = height, width
            elif marker == _APP1:
                segment = encoded[place + 4 : place + 2 + length]
                if segment.startswith(b"Exif\0\0"):
                    orientation = _exif_orientation(bytes(segment))
                elif b"tiff:Orientation" in segment:
                    return None
            place += 2 + length
    except (IndexError, struct.error):
        return None
    return None if frame is None else Header(*frame, orientation)


def shrunk_size(height: int, width: int, side: int) -> tuple[int, int]:
    """Return the size of an image whose shorter side is shrunk to `side` pixels; a smaller one keeps its own."""
    shorter = min(height, width)
    if shorter <= side:
        return height, width
    return max(side, round(height * side / shorter)), max(side, round(width * side / shorter))


def resize_box(
    pixels: Tensor, box: tuple[int, int, int, int], size: tuple[int, int], interpolation: Interpolation
) -> Tensor:
    """Cut a box from an image and resize it.

    Args:
        pixels: uint8 `(H, W, C)`.
        box: top, left, height and width.
        size: height and width of the result.
        interpolation: resampling filter, antialiased where it shrinks.

    Returns:
        uint8 `(C, height, width)`.
    """
    top, left, tall, wide = box
    part = pixels[top : top + tall, left : left + wide]
    if (tall, wide) == size:
        return part.permute(2, 0, 1)
    if interpolation in _VECTORISED:
        return interpolate(part.permute(2, 0, 1).unsqueeze(0), size, mode=interpolation, antialias=True)[0]
    image = unpacked(part)
    return packed(image.resize((size[1], size[0]), Image.Resampling[interpolation.upper()])).permute(2, 0, 1)


def packed(image: Image.Image) -> Tensor:
    """Return an RGB or grey image as a uint8 tensor `(H, W, C)`."""
    pixels = torch.from_numpy(np.array(image))
    return pixels if pixels.ndim == 3 else pixels.unsqueeze(2)


def unpacked(pixels: Tensor) -> Image.Image:
    """Return a uint8 tensor `(H, W, C)` as an RGB or grey image."""
    return Image.fromarray(pixels.squeeze(2).numpy() if pixels.shape[2] == 1 else pixels.numpy())


def rounded_box(box: Sequence[float] | npt.NDArray[np.float64], height: int, width: int) -> tuple[int, int, int, int]:
    """Return a box with its edges rounded to whole pixels, at least one pixel high and wide, within the image."""
    top, left, tall, wide = box
    first, start = min(round(top), height - 1), min(round(left), width - 1)
    last, end = min(round(top + tall), height), min(round(left + wide), width)
    return first, start, max(1, last - first), max(1, end - start)


def on_pixels(box: Sequence[float], size: Sequence[int], pixels: Tensor) -> tuple[int, int, int, int]:
    """Return a box of an image of `size`, height and width, on `pixels`, the same image at another resolution."""
    height, width = pixels.shape[:2]
    down, across = height / size[0], width / size[1]
    return rounded_box((box[0] * down, box[1] * across, box[2] * down, box[3] * across), height, width)


def prepare_decoder() -> None:
    """Load torchvision, which takes a second or two, before workers are started that would each have to."""
    import_module("torchvision.io")


def _decode_jpeg(encoded: bytearray, channels: int) -> Tensor:
    """Return the pixels of a JPEG, as they are stored: uint8 `(H, W, C)`."""
    from torchvision.io import ImageReadMode, decode_jpeg

    mode = ImageReadMode.RGB if channels == 3 else ImageReadMode.GRAY
    pixels: Tensor = decode_jpeg(torch.frombuffer(encoded, dtype=torch.uint8), mode=mode)
    return pixels.permute(1, 2, 0)


def _contents(source: bytes | Path, channels: int) -> bytearray:
    """Return an encoded image in memory that PyTorch takes without a copy, for which it must be writable."""
    if isinstance(source, bytes):
        return bytearray(source)
    try:
        with open(source, "rb", buffering=0) as file:
            content = bytearray(os.fstat(file.fileno()).st_size)
            if file.readinto(content) == len(content) and content:
                return content
    except OSError:
        open_image(source, channels)  # says what is wrong
        raise
    return bytearray(source.read_bytes())


def _exif_orientation(segment: bytes) -> int:
    """Return the orientation in an EXIF segment; 1, which is upright, where there is none or the segment is damaged."""
    exif = Image.Exif()
    try:
        with warnings.catch_warnings(action="ignore"):
            exif.load(segment)
            found = exif.get(ORIENTATION, 1)
    except DAMAGE:
        return 1
    return found if found in _UPRIGHT else 1
