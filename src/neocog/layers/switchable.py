"""Switchable atrous convolution: two dilations of one kernel, and a switch at each position between them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neocog.errors import UsageError
from neocog.layers.conv import require_groups, require_positive
from neocog.layers.deformable import sample_and_convolve

ATROUS = 3  # times the dilation of the first convolution
WINDOW = 5  # of the mean that the switch looks at
EPSILON = 1e-5  # of the standardised weights


class SwitchableAtrousConv2d(nn.Module):
    """A convolution that looks near or far, as a switch S decides at each position.

        y = S(x) · Conv(x, w, d) + (1 − S(x)) · Conv(x, w + Δw, 3d)

    Qiao, Chen and Yuille 2020, "DetectoRS", section 4. Both convolutions share the weights w; Δw starts at zero, so
    that a trained kernel serves at both dilations, and learns what differs ("locking"). S is a 1×1 convolution of the
    mean over 5×5 pixels, and starts at 1: near. Before and after, the mean over the whole map goes through a 1×1
    convolution and is added to each position ("global context"). The weights w are standardised, (w − μ) / σ over each
    filter, then brought to what they were when they were loaded, by γ and β, which are not learned. So `of` makes of
    any convolution one that computes the same, and learns further.

    Parameters have the names of the authors' code. It leaves the convolution's bias out of some of its versions; here
    it is added once.

    Shapes: `(N, in_channels, H, W)` to `(N, out_channels, H', W')`; H and W are 3 at least, for the 5×5 mean's borders
    are reflected.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: K, odd.
        stride: of both convolutions and of the switch.
        dilation: of the near one, d; the far one has 3d.
        groups: of both.
        bias: whether each filter adds a number of its own.
        deformable: both read at offsets that are predicted from the 5×5 mean, by a convolution for each of them, as in
            the paper (section 4.4).

    Raises:
        UsageError: the kernel is even, a number is not positive, or the groups do not divide the channels.
    """

    weight_gamma: Tensor
    weight_beta: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        *,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
        deformable: bool = False,
    ) -> None:
        require_groups(in_channels, out_channels, groups)
        require_positive(kernel_size=kernel_size, stride=stride, dilation=dilation)
        if kernel_size % 2 == 0:
            raise UsageError(f"a kernel of {kernel_size} has no middle: two dilations of it do not lie over each other")
        super().__init__()
        self.stride, self.dilation, self.groups = stride, dilation, groups
        self.margin = dilation * (kernel_size - 1) // 2
        plain = nn.Conv2d(in_channels, out_channels, kernel_size, groups=groups, bias=bias)
        self.weight, self.bias = plain.weight, plain.bias
        self.weight_diff = nn.Parameter(torch.empty_like(self.weight))
        self.register_buffer("weight_gamma", torch.ones(out_channels, 1, 1, 1))
        self.register_buffer("weight_beta", torch.zeros(out_channels, 1, 1, 1))
        self.pre_context = nn.Conv2d(in_channels, in_channels, 1)
        self.switch = nn.Conv2d(in_channels, 1, 1, stride)
        self.post_context = nn.Conv2d(out_channels, out_channels, 1)
        self.offset_s: nn.Conv2d | None = None
        self.offset_l: nn.Conv2d | None = None
        if deformable:
            self.offset_s, self.offset_l = (
                nn.Conv2d(in_channels, 2 * kernel_size**2, 3, stride, padding=1) for _ in range(2)
            )
        self.init_weights()

    def init_weights(self) -> None:
        """Let all that is added to the convolution change nothing yet: zeros, and the switch at 1, as the authors."""
        nn.init.zeros_(self.weight_diff)
        for added in (self.pre_context, self.switch, self.post_context, self.offset_s, self.offset_l):
            if added is not None:
                nn.init.zeros_(added.weight)
                assert added.bias is not None
                nn.init.zeros_(added.bias)
        assert self.switch.bias is not None
        nn.init.ones_(self.switch.bias)

    @classmethod
    @torch.no_grad()
    def of(cls, conv: nn.Conv2d, *, deformable: bool = False) -> SwitchableAtrousConv2d:
        """Return the layer that computes what a convolution does, of whose weights it has copies.

        Raises:
            UsageError: the convolution is not square in all, or does not keep its input's size at stride 1.
        """
        (kernel, *rest), (stride, *_), (dilation, *_) = conv.kernel_size, conv.stride, conv.dilation
        expected = ([kernel], (stride,) * 2, (dilation,) * 2, (dilation * (kernel - 1) // 2,) * 2, "zeros")
        if (rest, conv.stride, conv.dilation, conv.padding, conv.padding_mode) != expected:
            raise UsageError(f"{conv} is not square, or not padded by d (K - 1) / 2 zeros")
        layer = cls(
            conv.in_channels, conv.out_channels, kernel, stride=stride, dilation=dilation, groups=conv.groups,
            bias=conv.bias is not None, deformable=deformable,
        )  # fmt: skip
        layer.to(conv.weight)
        layer.weight.copy_(conv.weight)
        if layer.bias is not None and conv.bias is not None:
            layer.bias.copy_(conv.bias)
        variance, mean = torch.var_mean(conv.weight, (1, 2, 3), keepdim=True)
        layer.weight_gamma.copy_((variance + EPSILON).sqrt())
        layer.weight_beta.copy_(mean)
        return layer

    def standardised(self) -> Tensor:
        """Return γ (w − μ) / σ + β."""
        variance, mean = torch.var_mean(self.weight, (1, 2, 3), keepdim=True)
        return self.weight_gamma * (self.weight - mean) * (variance + EPSILON).rsqrt() + self.weight_beta

    def forward(self, x: Tensor) -> Tensor:
        """Return the switched convolution of `x`."""
        if min(x.shape[2:]) < WINDOW // 2 + 1:
            raise UsageError(f"a map of {x.shape[2]}x{x.shape[3]} cannot be reflected by {WINDOW // 2} pixels")
        x = x + self.pre_context(x.mean((2, 3), keepdim=True))
        mean = F.avg_pool2d(F.pad(x, [WINDOW // 2] * 4, mode="reflect"), WINDOW, 1)
        weight = self.standardised()
        near = self._convolve(x, weight, 1, mean, self.offset_s)
        far = self._convolve(x, weight + self.weight_diff, ATROUS, mean, self.offset_l)
        y = torch.lerp(far, near, self.switch(mean))
        result: Tensor = y + self.post_context(y.mean((2, 3), keepdim=True))
        return result

    def _convolve(self, x: Tensor, weight: Tensor, factor: int, mean: Tensor, offsets: nn.Conv2d | None) -> Tensor:
        padding, dilation = factor * self.margin, factor * self.dilation
        if offsets is None:
            return F.conv2d(x, weight, self.bias, self.stride, padding, dilation, self.groups)
        return sample_and_convolve(
            x, offsets(mean), weight, self.bias, stride=self.stride, padding=padding, dilation=dilation
        )
