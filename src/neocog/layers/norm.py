"""Batch norms that were folded away, and brought back."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn


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
