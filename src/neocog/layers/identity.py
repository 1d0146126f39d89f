"""Convolutions that begin by passing on what they are given."""

from __future__ import annotations

import torch
from torch import nn

from neocog.layers.norm import WSConv2d


def can_be_identity(layer: nn.Module) -> bool:
    """Return whether `begin_as_identity` knows what to do with a layer.

    It is a convolution of odd side, 3 or more, that neither strides nor groups; 1x1 filters have no surroundings
    that they should leave alone at first, and standardised filters are not used as they are kept.
    """
    return (
        isinstance(layer, nn.Conv2d)
        and not isinstance(layer, WSConv2d)
        and min(layer.kernel_size) >= 3
        and all(side % 2 for side in layer.kernel_size)
        and set(layer.stride) == {1}
        and layer.groups == 1
    )


@torch.no_grad()
def begin_as_identity(layer: nn.Conv2d) -> None:
    """Let the first filters of a convolution pass on one input channel each; further filters stay as they were drawn.

    Of C_in input channels, filter number c < C_in becomes 1 in the middle of channel c and 0 elsewhere, so that what
    comes in leaves among the rest unchanged. Jordan 2024, "94% on CIFAR-10 in 3.29 seconds on a single GPU",
    arXiv:2404.00498, section 3.3, after Zagoruyko and Komodakis 2017, "DiracNets", arXiv:1706.00388. Where there are
    fewer filters than channels, the last channels go to none.

    Args:
        layer: one that `can_be_identity`.
    """
    # All of it at once would also set the filters beyond the channels, to zero.
    nn.init.dirac_(layer.weight[: layer.in_channels])
