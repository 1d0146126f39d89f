"""Whitening filters: a first convolution whose outputs are uncorrelated from the start, made from images."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from neocog.data.loading import Batches, TrainingBatches
from neocog.errors import UsageError
from neocog.layers.norm import WSConv2d
from neocog.models._classifier import Classifier

EPS = 5e-4
"""What keeps directions in which images hardly differ from being blown up (Jordan 2024, section 3.2)."""

TOGETHER = 1 << 22  # numbers of patches that are held at once, in double precision
LARGE = 1 / 3  # of the largest entry of an eigenvector: entries of smooth patches are not near that


@torch.no_grad()
def whiten(conv: nn.Conv2d, images: Tensor | Iterable[Tensor], eps: float = EPS) -> None:
    """Make the first filters of a convolution from the principal directions of patches of images.

    With eigenvectors e and eigenvalues λ of the patches' second moments, taken about zero, filters are e / √(λ + ε), by
    falling λ, and then their opposites: what the first half returns is uncorrelated over the images, with a mean square
    of λ / (λ + ε), and of what an activation function takes from one half the other has the rest. Page 2018, "How to
    train your ResNet", part 8; Jordan 2024, "94% on CIFAR-10 in 3.29 seconds on a single GPU", arXiv:2404.00498,
    section 3.2.

    Moments and eigenvectors are computed in double precision. An eigenvector's sign is such that its first large entry
    is positive, so that machines agree; where eigenvalues coincide, they need not.

    Args:
        conv: of C channels and k_h x k_w pixels a filter; filters beyond the first 2 C k_h k_w stay as they are, as do
            its bias and what it pads with.
        images: `(N, C, H, W)`, normalised as they will be in training, or several such batches.
        eps: ε.

    Raises:
        UsageError: a convolution of groups, with too few filters, or images that do not fit it, with the numbers.
    """
    needed = filters_needed(conv)
    directions, variances = principal_patches([images] if isinstance(images, Tensor) else images, conv)
    filters = directions / (variances + eps).sqrt().unsqueeze(1)
    filters = torch.cat([filters, -filters]).view(needed, *conv.weight.shape[1:])
    conv.weight[:needed] = filters.to(conv.weight.device, conv.weight.dtype)


def principal_patches(batches: Iterable[Tensor], conv: nn.Conv2d) -> tuple[Tensor, Tensor]:
    """Return the eigenvectors `(D, D)`, a row each, and eigenvalues `(D,)`, falling, of patches of a filter's size.

    They are those of the second moments over all positions of all images: of D = C k_h k_w numbers. On the CPU, in
    double precision.
    """
    height, width = conv.kernel_size
    size = conv.in_channels * height * width
    moments: Tensor | float = 0.0
    count = 0
    for images in batches:
        if images.ndim != 4 or images.shape[1] != conv.in_channels or min(images.shape[-2:]) < max(height, width):
            raise UsageError(
                f"filters of {conv.in_channels} channels and {height}x{width} pixels cannot be made from images "
                f"{tuple(images.shape)}"
            )
        places = (images.shape[2] - height + 1) * (images.shape[3] - width + 1)
        for part in torch.split(images.double(), max(1, TOGETHER // (places * size))):
            patches = part.unfold(2, height, 1).unfold(3, width, 1)  # (n, C, h, w, k_h, k_w)
            patches = patches.permute(1, 4, 5, 0, 2, 3).reshape(size, -1)
            moments = moments + patches @ patches.T
            count += patches.shape[1]
    if not isinstance(moments, Tensor):
        raise UsageError("filters cannot be made from no image")
    # On the CPU: a GPU's solver takes longer to begin than this matrix takes to be solved, and rounds otherwise.
    values, vectors = torch.linalg.eigh(moments.cpu() / count)
    directions = vectors.T.flip(0)
    magnitudes = directions.abs()
    large = magnitudes > LARGE * magnitudes.amax(1, keepdim=True)
    first = large.int().argmax(1, keepdim=True)  # of equal maxima, the first
    return directions * directions.gather(1, first).sign(), values.flip(0).clamp(min=0)


def filters_needed(conv: nn.Module) -> int:
    """Return how many filters of a convolution whitening makes.

    Raises:
        UsageError: it is none, or of groups, or of fewer filters; the message has the numbers.
    """
    if not isinstance(conv, nn.Conv2d) or isinstance(conv, WSConv2d):
        raise UsageError(f"whitening makes the filters of an ordinary convolution, not of {type(conv).__name__}")
    if conv.groups > 1 or set(conv.dilation) != {1}:
        raise UsageError(
            f"whitening makes filters that see whole patches of all channels: not in {conv.groups} groups, or "
            f"dilated by {conv.dilation}"
        )
    pixels = math.prod(conv.kernel_size)
    needed = 2 * conv.in_channels * pixels
    if conv.out_channels < needed:
        raise UsageError(
            f"whitening takes 2 x {conv.in_channels} channels x {pixels} pixels = {needed} filters of "
            f"{'x'.join(map(str, conv.kernel_size))}, and the convolution has {conv.out_channels}"
        )
    return needed


def freeze_whitened(network: Classifier) -> None:
    """Keep the stem's weights, which are to be whitening ones, from moving.

    Raises:
        UsageError: they cannot be made such.
    """
    stem = network.get_submodule(network.stem_name)
    try:
        filters_needed(stem)
    except UsageError as error:
        raise UsageError(
            f"the stem of {network.name or type(network).__name__}, {network.stem_name}, cannot be whitened: {error}; "
            "--set whiten=0 leaves it as it is"
        ) from error
    stem.get_parameter("weight").requires_grad_(False)


def first_images(batches: Batches, count: int) -> Iterator[Tensor]:
    """Yield batches of the first `count` images of the first epoch, `(N, C, H, W)`; all, where there are not so many.

    They are as prediction would see them where `batches` can give them so, which varies nothing and is the same for
    every process; else as this process's part of the epoch has them.
    """
    if isinstance(batches, TrainingBatches):
        yield from (batch.images for batch in batches.unvaried(count))
        return
    micro_batches = (batch.images for step in batches.steps(0) for batch in step)
    for images in micro_batches:
        yield images[:count]
        count -= len(images)
        if count <= 0:
            return
