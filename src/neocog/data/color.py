"""Changes of colour: brightness, contrast, saturation, and ImageNet's principal colours."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

_CACHE = 1 << 20  # bytes of float32 pixels that stay in a core's second-level cache
_LUMA = (0.299, 0.587, 0.114)  # of ITU-R 601, Pillow's grey

VARIANCES = (0.2175, 0.0188, 0.0045)
"""Of ImageNet's pixels, on the scale of [0, 1], along their principal components (eigenvalues of their covariance)."""

COMPONENTS = ((-0.5675, -0.5808, -0.5836), (0.7192, -0.0045, -0.6948), (0.4009, -0.8140, 0.4203))
"""These components, directions in (red, green, blue), as fb.resnet.torch published them (Gross and Wilber 2016)."""


def jitter(
    images: Tensor,
    brightness: Tensor | None,
    contrast: Tensor | None,
    saturation: Tensor | None,
    *,
    out: Tensor | None = None,
) -> Tensor:
    """Change brightness, then contrast, then saturation, each by its own factor for each image.

    Args:
        images: uint8 `(N, C, H, W)`.
        brightness: `(N,)` factors on the image; None leaves it as it is, here and below.
        contrast: `(N,)` factors on its distance from its mean grey.
        saturation: `(N,)` factors on its distance from grey.
        out: where the result is written, which may be `images`; None for new memory.

    Returns:
        uint8 `(N, C, H, W)`.
    """
    result = torch.empty_like(images, memory_format=torch.contiguous_format) if out is None else out
    if one_by_one(images):
        return _jitter_one_by_one(images, brightness, contrast, saturation, result)
    columns = [
        None if factors is None else factors.to(images.device, torch.float32).view(-1, 1, 1, 1)
        for factors in (brightness, contrast, saturation)
    ]
    for first in range(0, len(images), size := in_cache(images)):
        place = slice(first, first + size)
        lighter, sharper, fuller = (None if column is None else column[place] for column in columns)
        pixels = images[place].to(torch.float32)
        if lighter is not None:
            pixels = pixels.mul_(lighter).clamp_(0, 255)
        if sharper is not None:
            pixels = torch.lerp(_luma(pixels).mean((2, 3), keepdim=True), pixels, sharper).clamp_(0, 255)
        if fuller is not None:
            pixels = torch.lerp(_luma(pixels), pixels, fuller).clamp_(0, 255)
        result[place] = pixels.round_()
    return result


def in_cache(images: Tensor) -> int:
    """Return how many images `(N, C, H, W)` to treat at once: several passes over more would each fetch from memory."""
    if images.device.type != "cpu":
        return max(1, len(images))
    return max(1, _CACHE // (4 * images[0].numel())) if len(images) else 1


def one_by_one(images: Tensor) -> bool:
    """Whether to go through a batch image by image: photographs on a CPU, beside which a step of Python is nothing."""
    return images.device.type == "cpu" and in_cache(images) < 8


def _jitter_one_by_one(
    images: Tensor, brightness: Tensor | None, contrast: Tensor | None, saturation: Tensor | None, result: Tensor
) -> Tensor:
    """As `jitter`, with as few passes over the pixels as the changes allow.

    All three changes are affine where nothing is clamped, so that one product of a matrix with the pixels, and with a
    row of ones, makes them all. What a change would clamp is clamped before it, at the value that would become 0 or
    255. Some twenty pixels in a million come out one level apart, where another order of the sums crosses a half.
    """
    channels = images.shape[1]
    augmented = torch.ones(channels + 1, images[0, 0].numel())
    pixels, mixed = augmented[:channels], torch.empty(channels, augmented.shape[1])
    luma = torch.tensor(_LUMA if channels == 3 else (1.0,))
    same = torch.ones(len(images))
    # What is multiplied by nothing at all is divided by it below.
    lights = same if brightness is None else brightness.to(torch.float32).clamp(min=1e-6)
    sharps = same if contrast is None else contrast.to(torch.float32)
    fulls = same if saturation is None or channels == 1 else saturation.to(torch.float32)  # grey has no colours to move
    column = fulls.view(-1, 1, 1)
    colours = column * torch.eye(channels) + (1 - column) * luma  # (N, C, C), whose rows add up to 1
    products = torch.cat([colours * (lights * sharps).view(-1, 1, 1), torch.empty(len(images), channels, 1)], 2)
    factors = zip(lights.tolist(), sharps.tolist(), fulls.tolist(), strict=True)
    for source, place, product, (light, sharp, full) in zip(images, result, products, factors, strict=True):
        pixels.view(source.shape).copy_(source)
        if light > 1:
            pixels.clamp_(max=255 / light)
        added, factor = 0.0, light * sharp
        if contrast is not None:
            added = light * float(pixels.mean(1) @ luma) * (1 - sharp)
            if sharp > 1:
                pixels.clamp_(-added / factor, (255 - added) / factor)
        product[:, channels] = added + 0.5  # with the half, cutting off the fraction rounds
        torch.mm(product, augmented, out=mixed)
        if full > 1:
            mixed.clamp_(0, 255)
        # NumPy's conversion to bytes is vectorised, PyTorch's is not.
        np.copyto(place.view(channels, -1).numpy(), mixed.numpy(), casting="unsafe")
    return result


def lighting(shares: Tensor) -> Tensor:
    """Return what is added to each image's colours, on the scale of [0, 1]: `(N, 3)`.

    Krizhevsky et al. 2012, section 4.1: each component, times its variance, times a random share.

    Args:
        shares: `(N, 3)`, normal with the deviation of choice, 0.1 in the paper.
    """
    weights = torch.tensor(VARIANCES, dtype=shares.dtype, device=shares.device)
    components = torch.tensor(COMPONENTS, dtype=shares.dtype, device=shares.device)
    return (shares * weights) @ components


def grey(images: Tensor) -> Tensor:
    """Return the luma of uint8 RGB images, rounded down, as float32 `(N, 1, H, W)`; grey images are their own.

    With the weights and the order of torchvision's `rgb_to_grayscale`.
    """
    if images.shape[1] == 1:
        return images.to(torch.float32)
    red, green, blue = images.unbind(1)
    return (red * 0.2989).add_(green, alpha=0.587).add_(blue, alpha=0.114).floor_().unsqueeze(1)


def _luma(pixels: Tensor) -> Tensor:
    """Return the luma `(N, 1, H, W)` of float RGB images; grey images are their own."""
    if pixels.shape[1] == 1:
        return pixels
    weights = torch.tensor(_LUMA, device=pixels.device).view(1, 3, 1, 1)
    return (pixels * weights).sum(1, keepdim=True)
