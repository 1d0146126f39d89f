"""Classical filters as convolutions that are not trained: what a first layer was before it learned.

Each is a cross-correlation, as every convolution of a network is: the kernel lies over the image as it is printed. Rows
go down and columns to the right, so that the y of a formula goes down too.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neocog.errors import UnknownNameError, UsageError
from neocog.layers.conv import require_finite

Padding = Literal["replicate", "reflect", "circular", "zeros"]


class FrozenFilter(nn.Module):
    """Cross-correlate every channel of an image with the same kernels.

    The kernels are a buffer, so no optimiser sees them. The output is as large as the input, which is padded first:
    by default its border is repeated ("replicate", `mode="nearest"` in scipy), so that a border is no edge. "reflect"
    (scipy's "mirror"), "circular" ("wrap") and "zeros" ("constant") are torch's.

    Shapes: `(N, C, H, W)` to `(N, C * K, H, W)`, the K answers to a channel beside each other.

    Args:
        kernels: `(K, kh, kw)`, or `(kh, kw)` for one; both sides odd.
        padding: what the image is continued with.

    Raises:
        UsageError: kernels with an even side or of another shape, or an unknown padding.
    """

    kernels: Tensor

    def __init__(self, kernels: Tensor, padding: Padding = "replicate") -> None:
        super().__init__()
        kernels = kernels.unsqueeze(0) if kernels.ndim == 2 else kernels
        if kernels.ndim != 3 or any(side % 2 == 0 for side in kernels.shape[1:]):
            raise UsageError(f"kernels are (K, kh, kw) with odd sides, not {tuple(kernels.shape)}")
        if padding not in get_args(Padding):
            raise UnknownNameError("padding", padding, get_args(Padding))
        self.padding = padding
        self.register_buffer("kernels", kernels.unsqueeze(1).float())

    def forward(self, x: Tensor) -> Tensor:
        """Return the answers to `x`; `UsageError` where it is too small to be reflected or wrapped so far."""
        count, height, width = len(self.kernels), *self.kernels.shape[2:]
        for size, reach in zip(x.shape[2:], (height // 2, width // 2), strict=True):
            if self.padding in ("reflect", "circular") and size < reach + (self.padding == "reflect"):
                raise UsageError(
                    f"a side of {size} pixels cannot be continued by {reach} with padding {self.padding!r}"
                )
        border = (width // 2, width // 2, height // 2, height // 2)
        mode = "constant" if self.padding == "zeros" else self.padding
        channels = F.pad(x.flatten(0, 1).unsqueeze(1), border, mode)  # each an image of its own
        return F.conv2d(channels, self.kernels).reshape(len(x), x.shape[1] * count, *x.shape[2:])

    def extra_repr(self) -> str:
        """Return what `repr` shows."""
        count, _, height, width = self.kernels.shape
        return f"kernels={count}x{height}x{width}, padding={self.padding!r}"


SOBEL_X = ((-1.0, 0.0, 1.0), (-2.0, 0.0, 2.0), (-1.0, 0.0, 1.0))
SHARPEN = ((0.0, -1.0, 0.0), (-1.0, 5.0, -1.0), (0.0, -1.0, 0.0))


class SobelX(FrozenFilter):
    """The difference between right and left, smoothed along the edge: positive where it gets brighter to the right.

    Sobel and Feldman 1968, "A 3x3 isotropic gradient operator for image processing". `scipy.ndimage.sobel(axis=-1)`.

    Shapes: `(N, C, H, W)` to the same.
    """

    def __init__(self, padding: Padding = "replicate") -> None:
        super().__init__(torch.tensor(SOBEL_X), padding)


class SobelY(FrozenFilter):
    """The difference between below and above: positive where it gets brighter downwards.

    Shapes: `(N, C, H, W)` to the same.
    """

    def __init__(self, padding: Padding = "replicate") -> None:
        super().__init__(torch.tensor(SOBEL_X).T, padding)


class Sobel(FrozenFilter):
    """How fast brightness changes in whatever direction, √(Gx² + Gy²) of `SobelX` and `SobelY`.

    Shapes: `(N, C, H, W)` to the same.
    """

    def __init__(self, padding: Padding = "replicate") -> None:
        super().__init__(torch.stack([torch.tensor(SOBEL_X), torch.tensor(SOBEL_X).T]), padding)

    def forward(self, x: Tensor) -> Tensor:
        """Return the length of the gradient of `x`."""
        length: Tensor = torch.linalg.vector_norm(torch.unflatten(super().forward(x), 1, (-1, 2)), dim=2)
        return length


class Gaussian(FrozenFilter):
    """A blur: the mean over the neighbourhood with weights exp(-(x² + y²) / 2σ²). `scipy.ndimage.gaussian_filter`.

    Shapes: `(N, C, H, W)` to the same.

    Args:
        sigma: σ in pixels.
        truncate: the kernel reaches so many σ to each side, rounded to whole pixels.
        padding: what the image is continued with.
    """

    def __init__(self, sigma: float = 2.0, *, truncate: float = 4.0, padding: Padding = "replicate") -> None:
        weights, _ = _bell(sigma, truncate)
        super().__init__(torch.outer(weights, weights), padding)


class Sharpen(FrozenFilter):
    """Five times a pixel less its four neighbours: the image less its Laplacian, which makes edges steeper.

    Shapes: `(N, C, H, W)` to the same.
    """

    def __init__(self, padding: Padding = "replicate") -> None:
        super().__init__(torch.tensor(SHARPEN), padding)


class Unsharp(FrozenFilter):
    """Unsharp masking: x + amount (x - blurred x), the photographers' way to sharpen, as one kernel.

    Shapes: `(N, C, H, W)` to the same.

    Args:
        sigma: of the `Gaussian` that blurs, in pixels.
        amount: how much of what the blur takes away is added.
        truncate: the kernel reaches so many σ to each side.
        padding: what the image is continued with.
    """

    def __init__(
        self, sigma: float = 2.0, amount: float = 1.0, *, truncate: float = 4.0, padding: Padding = "replicate"
    ) -> None:
        require_finite(amount=amount)
        weights, places = _bell(sigma, truncate)
        kernel = -amount * torch.outer(weights, weights)
        middle = len(places) // 2
        kernel[middle, middle] += 1 + amount
        super().__init__(kernel, padding)


class LaplacianOfGaussian(FrozenFilter):
    """The sum of both second derivatives of a blurred image: zero at edges, and largest in blobs of radius σ√2.

    Marr and Hildreth 1980, "Theory of edge detection", find edges where it changes its sign. Positive where the image
    is darker than around. `scipy.ndimage.gaussian_laplace`, but for one thing: second derivatives of the bell, which
    are (x² - σ²) / σ⁴ times it, sum to zero only over all of the plane. Here the σ² of the difference is the variance
    of the weights that there are, so that a flat image gives nothing.

    Shapes: `(N, C, H, W)` to the same.

    Args:
        sigma: σ in pixels.
        truncate: the kernel reaches so many σ to each side.
        padding: what the image is continued with.
    """

    def __init__(self, sigma: float = 2.0, *, truncate: float = 4.0, padding: Padding = "replicate") -> None:
        weights, places = _bell(sigma, truncate)
        variance = (weights * places.square()).sum()
        second = weights * (places.square() - variance) / sigma**4
        super().__init__(torch.outer(second, weights) + torch.outer(weights, second), padding)


class GaborBank(FrozenFilter):
    """Waves under a bell, in several directions: each answers to stripes of its own direction and width.

    g(x, y) = exp(-(x'² + γ² y'²) / 2σ²) cos(2π x' / λ + ψ), where x' = x cos θ + y sin θ goes across the stripes and y'
    along them (Daugman 1985; Jones and Palmer 1987 found them in a cat's visual cortex, AlexNet in its first layer).
    Kernel k has θ = kπ / K: the first answers to upright stripes, the middle one to level ones.

    The bell's share of the wave is taken out, so that a flat image gives nothing, and each kernel is scaled such that
    stripes from -1 to 1 of its own direction, width and phase give 1.

    Shapes: `(N, C, H, W)` to `(N, C * orientations, H, W)`.

    Args:
        orientations: K, directions between 0° and 180°.
        wavelength: λ, pixels from stripe to stripe.
        phase: ψ; 0 answers to bright lines, π/2 to edges.
        sigma: σ across the stripes, in pixels; None for 0.56 λ, which lets one octave of frequencies pass.
        aspect: γ; the bell is 1 / γ times as long as wide.
        padding: what the image is continued with.

    Raises:
        UsageError: no direction, a number that is not finite, or stripes, bell or aspect that are not positive.
    """

    def __init__(
        self,
        orientations: int = 8,
        wavelength: float = 6.0,
        *,
        phase: float = 0.0,
        sigma: float | None = None,
        aspect: float = 0.5,
        padding: Padding = "replicate",
    ) -> None:
        sigma = 0.56 * wavelength if sigma is None else sigma
        require_finite(wavelength=wavelength, phase=phase, sigma=sigma, aspect=aspect)
        if orientations < 1:
            raise UsageError(f"a bank of Gabor filters has at least 1 orientation, not {orientations}")
        if min(wavelength, sigma, aspect) <= 0:
            raise UsageError(
                f"wavelength, sigma and aspect of Gabor filters are positive, not {wavelength}, {sigma} and {aspect}"
            )
        radius = math.ceil(2.5 * sigma * max(1, 1 / aspect))  # where the bell has fallen to 4 %
        places = torch.arange(-radius, radius + 1, dtype=torch.float64)
        y, x = places[:, None], places[None, :]
        kernels = []
        for number in range(orientations):
            angle = math.pi * number / orientations
            across = x * math.cos(angle) + y * math.sin(angle)
            along = y * math.cos(angle) - x * math.sin(angle)
            bell = torch.exp(-(across.square() + (aspect * along).square()) / (2 * sigma**2))
            wave = torch.cos(2 * math.pi * across / wavelength + phase)
            kernel = bell * (wave - (bell * wave).sum() / bell.sum())
            kernels.append(kernel / (kernel * wave).sum())
        super().__init__(torch.stack(kernels), padding)
        self.angles = tuple(180.0 * number / orientations for number in range(orientations))


def _bell(sigma: float, truncate: float) -> tuple[Tensor, Tensor]:
    """Return a sampled Gaussian that sums to 1, and the places where it was sampled."""
    require_finite(sigma=sigma, truncate=truncate)
    if sigma <= 0 or truncate <= 0:
        raise UsageError(f"a blur's sigma and truncate are positive, not {sigma} and {truncate}")
    radius = int(truncate * sigma + 0.5)
    places = torch.arange(-radius, radius + 1, dtype=torch.float64)
    weights = torch.exp(-places.square() / (2 * sigma**2))
    return weights / weights.sum(), places
