"""Batch norm folded into the layer before it, and brought back where it was folded away."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import TypeVar

import torch
from torch import Tensor, nn

from neocog.errors import UsageError
from neocog.layers.norm import BatchNormReLU6

Linear = nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d | nn.Linear
"""Layers that a batch norm can be folded into."""
BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d
LayerT = TypeVar("LayerT", bound=Linear)


@torch.no_grad()
def fold_batch_norm(layer: LayerT, norm: BatchNorm) -> LayerT:
    """Return `layer` as one that also does what `norm` after it does with its running statistics.

    Batch norm (Ioffe and Szegedy 2015, arXiv:1502.03167, section 3.1) then is a scale a = γ / √(σ² + ε) and a shift of
    each channel, and a(Wx + b - μ) + β = (aW)x + a(b - μ) + β. So the new weight is aW, the new bias a(b - μ) + β. It
    is computed in double precision and rounded once.

    Args:
        layer: a convolution, transposed or not, with groups or without, or a linear layer. It stays as it is.
        norm: whose input is the output of `layer` and nothing else.

    Returns:
        A layer of the same kind, with a bias, in evaluation or training mode as `layer` was.

    Raises:
        UsageError: a norm that always uses the batch's own statistics, that activates what it returns, or of another
            number of channels.
    """
    if isinstance(norm, BatchNormReLU6):
        raise UsageError("a norm that activates what it returns cannot be folded away: no linear layer does that")
    if norm.running_mean is None or norm.running_var is None:
        raise UsageError("a batch norm without running statistics depends on each batch and cannot be folded away")
    channels = layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels
    if norm.num_features != channels:
        raise UsageError(f"a batch norm of {norm.num_features} channels cannot follow a layer of {channels}")
    mean, variance = norm.running_mean.double(), norm.running_var.double()
    scale = (variance + norm.eps).rsqrt()
    if norm.weight is not None:
        scale *= norm.weight.double()
    bias = -mean if layer.bias is None else layer.bias.double() - mean
    bias *= scale
    if norm.bias is not None:
        bias += norm.bias.double()

    folded = copy.deepcopy(layer)
    folded.weight.copy_(_scaled(layer, scale))
    folded.bias = nn.Parameter(bias.to(layer.weight.dtype), requires_grad=layer.weight.requires_grad)
    return folded


def _scaled(layer: Linear, scale: Tensor) -> Tensor:
    """Return the weight of `layer`, in double precision, with each output channel multiplied by its `scale`."""
    weight = layer.weight.double()
    if not isinstance(layer, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d):
        return weight * scale.view(-1, *[1] * (weight.ndim - 1))
    # (in, out / groups, ...): of the rows, each group's have output channels of their own.
    grouped = torch.unflatten(weight, 0, (layer.groups, -1))
    scaled: Tensor = (grouped * scale.view(layer.groups, 1, -1, *[1] * (weight.ndim - 2))).flatten(0, 1)
    return scaled


@torch.no_grad()
def identity_batch_norm(norm: BatchNorm) -> None:
    """Set γ = √(σ² + ε) and β = μ: with its running statistics, `norm` then returns what it is given.

    Raises:
        UsageError: a norm without running statistics, or without weight and bias.
    """
    if norm.running_mean is None or norm.running_var is None or not norm.affine:
        raise UsageError("a batch norm can be made the identity where it has running statistics, weight and bias")
    norm.weight.copy_((norm.running_var.double() + norm.eps).sqrt())
    norm.bias.copy_(norm.running_mean)


def is_identity_norm(norm: nn.BatchNorm2d) -> bool:
    """Say whether, with its running statistics, `norm` does nothing but add its bias.

    Folding a batch norm into the convolution before it leaves this behind, as does the way back from an int8 file.
    """
    if norm.running_mean is None or norm.running_var is None or bool(norm.running_mean.any()):
        return False
    return torch.allclose(norm.weight.square(), norm.running_var + norm.eps)


@torch.no_grad()
def unfold_batch_norms(network: nn.Module, batches: Iterable[Tensor]) -> int:
    """Give identity batch norms the statistics of `batches`, such that the network computes what it did before.

    With mean μ and variance σ² of what a norm is given, weight √(σ² + ε) and bias b + μ make it add b, as it did, when
    it uses those statistics. When it uses a batch's own, it then does nearly that, so that the network can be trained
    further; before, a batch's statistics would have rescaled every channel.

    Args:
        network: set to `eval` while it runs, and back.
        batches: images `(N, C, H, W)`, preprocessed as for training; some hundred images are enough.

    Returns:
        How many norms were changed. Norms that are no identity stay as they are.
    """
    norms = [
        module
        for module in network.modules()
        if isinstance(module, nn.BatchNorm2d) and module.affine and is_identity_norm(module)
    ]
    sums = {norm: _Moments() for norm in norms}
    handles = [norm.register_forward_pre_hook(_adder(sums[norm])) for norm in norms]
    was_training = network.training
    network.eval()
    try:
        for images in batches:
            network(images)
    finally:
        for handle in handles:
            handle.remove()
        network.train(was_training)
    for norm, moments in sums.items():
        mean, variance = moments.mean_and_variance()
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.weight.copy_((variance + norm.eps).sqrt())
        norm.bias.add_(mean)
    return len(norms)


class _Moments:
    """Sums over the positions of each channel, in double precision."""

    def __init__(self) -> None:
        self.count = 0
        self.total: Tensor | float = 0.0
        self.squares: Tensor | float = 0.0

    def add(self, x: Tensor) -> None:
        values = x.double().transpose(0, 1).flatten(1)
        self.count += values.shape[1]
        self.total = self.total + values.sum(1)
        self.squares = self.squares + values.square().sum(1)

    def mean_and_variance(self) -> tuple[Tensor, Tensor]:
        mean = torch.as_tensor(self.total / self.count)
        return mean, (torch.as_tensor(self.squares / self.count) - mean.square()).clamp(min=0)


def _adder(moments: _Moments) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        moments.add(inputs[0])

    return hook
