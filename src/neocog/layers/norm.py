"""Normalisation: one formula over different axes, AlexNet's of neighbouring channels, and that of weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neocog.errors import UsageError
from neocog.layers.activation import relu6
from neocog.layers.conv import require_finite


def normalise(x: Tensor, over: Sequence[int], eps: float = 1e-5) -> Tensor:
    """Return (x - μ) / √(σ² + ε), with mean μ and variance σ² over the axes `over`: to read, not to train with.

    Of a tensor `(N, C, H, W)`, and before their weights and biases,

    - batch norm (Ioffe and Szegedy 2015, arXiv:1502.03167) is `normalise(x, over=(0, 2, 3))`,
    - layer norm (Ba, Kiros and Hinton 2016, arXiv:1607.06450) is `normalise(x, over=(1, 2, 3))`,
    - instance norm (Ulyanov, Vedaldi and Lempitsky 2016, arXiv:1607.08022) is `normalise(x, over=(2, 3))`,
    - group norm (Wu and He 2018, arXiv:1803.08494, figure 2) is layer norm of each group of channels, that is
      `normalise(x.unflatten(1, (groups, -1)), over=(2, 3, 4)).flatten(1, 2)`.

    The variance is that of the numbers themselves, divided by their count.
    """
    axes = tuple(over)
    mean = x.mean(axes, keepdim=True)
    variance = (x - mean).square().mean(axes, keepdim=True)
    return (x - mean) / (variance + eps).sqrt()


class BatchNormReLU6(nn.BatchNorm2d):
    """A batch norm and min(max(x, 0), 6) as one module, so that the second may write over what the first returned.

    No one else sees that: what the module returns is the activated map, and a hook or `tap` reads just that. It does so
    where no gradient is wanted, which makes MobileNetV2 predict faster, because half of the memory need not be touched.
    For a backward pass torch's activation in place would keep a copy of its argument; `relu6` keeps its result alone.
    Parameters are those of the norm.

    Shapes: `(N, num_features, H, W)` to the same.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalised maps between 0 and 6."""
        x = super().forward(input)
        return relu6(x) if x.requires_grad else F.relu6(x, inplace=True)


class LocalResponseNorm(nn.Module):
    """Divide each number by what it and its neighbours among the channels amount to.

    b_i = a_i / (k + α Σ a_j²)^β, where j runs over the n channels around i, as far as there are any: Krizhevsky,
    Sutskever and Hinton 2012, "ImageNet classification with deep convolutional neural networks", section 3.3, whose
    constants are the defaults.

    `torch.nn.LocalResponseNorm(size=n)` divides its alpha by n, as Caffe does: what it calls alpha is n times α here.

    Shapes: `(N, C, ...)` to the same.

    Args:
        n: channels in the sum, an odd number.
        k: added to the sum.
        alpha: multiplies it.
        beta: the power.

    Raises:
        UsageError: an `n` that is even or not positive, a `k` that is not positive, or a number that is not finite.
    """

    def __init__(self, n: int = 5, *, k: float = 2.0, alpha: float = 1e-4, beta: float = 0.75) -> None:
        super().__init__()
        require_finite(k=k, alpha=alpha, beta=beta)
        if n < 1 or n % 2 == 0:
            raise UsageError(f"n counts a channel and its neighbours on both sides: an odd number, not {n}")
        if k <= 0:
            raise UsageError(f"k keeps the divisor from zero: a positive number, not {k}")
        self.n, self.k, self.alpha, self.beta = n, k, alpha, beta

    def forward(self, x: Tensor) -> Tensor:
        """Return `x`, normalised."""
        if torch.is_grad_enabled() and x.requires_grad:
            result: Tensor = _LocalResponseNorm.apply(x, self.n, self.k, self.alpha, self.beta)[0]
            return result
        return _times_power(x, _base(x, self.n, self.k, self.alpha), self.beta)

    def extra_repr(self) -> str:
        """Return what `repr` shows."""
        return f"n={self.n}, k={self.k:g}, alpha={self.alpha:g}, beta={self.beta:g}"


def _base(x: Tensor, n: int, k: float, alpha: float) -> Tensor:
    """Return s = k + α Σ x_j²."""
    squares = x * x
    return _add_neighbours(torch.rsub(squares, k, alpha=-alpha), squares, n, alpha)


def _add_neighbours(total: Tensor, x: Tensor, n: int, factor: float = 1.0) -> Tensor:
    """Add to `total`, in place, `factor` times the n - 1 channels around each of `x`."""
    for distance in range(1, min(n // 2, x.shape[1] - 1) + 1):
        total[:, distance:].add_(x[:, :-distance], alpha=factor)
        total[:, :-distance].add_(x[:, distance:], alpha=factor)
    return total


def _times_power(x: Tensor, base: Tensor, beta: float) -> Tensor:
    """Return x s^-β."""
    if beta != 0.75 or base.requires_grad:
        return x * base.pow(-beta)
    root = base.rsqrt()
    return root.sqrt().mul_(root).mul_(x)  # two square roots take a fraction of the time of a power


class _LocalResponseNorm(torch.autograd.Function):
    """With t = g s^-β for the gradient g, x has t - 2αβ x Σ (t_j x_j / s_j): one more sum over the same channels."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, n: int, k: float, alpha: float, beta: float) -> tuple[Tensor, Tensor]:
        base = _base(x, n, k, alpha)
        return _times_power(x, base, beta), base

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, int, float, float, float], output: tuple[Tensor, Tensor]) -> None:
        x, *ctx.constants = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(x, output[1])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor, None, None, None, None]:
        x, base = ctx.saved_tensors
        n, k, alpha, beta = ctx.constants
        if torch.is_grad_enabled():  # a gradient of this gradient is wanted, and s depends on x
            base = _base(x, n, k, alpha)
        passed = _times_power(gradient, base, beta)
        shares = passed * x / base
        total = _add_neighbours(shares.clone(), shares, n)
        return torch.addcmul(passed, x, total, value=-2 * alpha * beta), None, None, None, None


def standardise(weight: Tensor, eps: float, gain: Tensor | None = None) -> Tensor:
    """Return each filter of `weight` with mean 0 and variance 1, times `gain`.

    Shapes: `(out_channels, ...)`, gain `(out_channels,)`.
    """
    # A batch norm of one image whose channels are the filters: torch does it, and its gradient, in one operation.
    filters = weight.reshape(1, weight.shape[0], -1)
    return F.batch_norm(filters, None, None, gain, training=True, momentum=0.0, eps=eps).view_as(weight)


class WSConv2d(nn.Conv2d):
    """A convolution whose filters are standardised before they are used.

    Qiao, Wang, Liu, Shen and Yuille 2019, "Micro-batch training with batch-channel normalization and weight
    standardization", arXiv:1903.10520: Ŵ = (W - μ) / √(σ² + ε), with mean and variance of each filter.
    The authors' code has σ + 10⁻⁵ for the root, with the variance divided by one less than the count.

    Args and shapes are those of `torch.nn.Conv2d`, and

        gamma: multiplies the standardised filters; 1 in the paper.
        eps: ε; None for 1e-5.
    """

    eps: float = 1e-5

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        gamma: float = 1.0,
        eps: float | None = None,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias)
        self.gamma = gamma
        if eps is not None:
            self.eps = eps
        self.add_parameters()

    def add_parameters(self) -> None:
        """Make the parameters that a convolution has not: none here."""

    def standardised(self) -> Tensor:
        """Return the filters that are used, `(out_channels, in_channels / groups, kh, kw)`."""
        return self.gamma * standardise(self.weight, self.eps)

    def forward(self, input: Tensor) -> Tensor:
        """Return the convolution of `input`."""
        result: Tensor = self._conv_forward(input, self.standardised(), self.bias)
        return result


class ScaledStdConv2d(WSConv2d):
    """A convolution whose standardised filters keep the variance of what they are given.

    Brock, De and Smith 2021, "Characterizing signal propagation to close the performance gap in unnormalized ResNets",
    arXiv:2101.08692, and NFNets after it: Ŵ = g γ (W - μ) / (σ √fan_in). The gain g is learned, one for
    each filter; γ makes up for the variance that the activation function takes away. With it the network needs no
    batch norm.

    Parameters are named as timm's. The authors' code divides by √max(σ² fan_in, 10⁻⁴); here, as in timm, ε is added
    to σ².

    Args and shapes are those of `torch.nn.Conv2d`, and

        gamma: γ, for ReLU √2 / √(1 - 1/π) = 1.7128.
        eps: ε; None for 1e-6.
    """

    eps = 1e-6

    def add_parameters(self) -> None:
        """Make the gain, 1 for each filter."""
        self.gain = nn.Parameter(torch.ones(self.out_channels, 1, 1, 1))

    def standardised(self) -> Tensor:
        """Return the filters that are used, `(out_channels, in_channels / groups, kh, kw)`."""
        scale = self.gamma * self.weight[0].numel() ** -0.5
        return standardise(self.weight, self.eps, (self.gain * scale).flatten())
