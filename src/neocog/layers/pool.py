"""Pooling that torch does not have, and what its own pooling is.

Maximum, average and adaptive pooling are torch's. A pool overlaps where its stride is below its kernel, as AlexNet's
3×3 with stride 2; global average pooling is a mean over height and width (Lin, Chen and Yan 2013, "Network in
Network", section 3.2). Sizes follow the convolution's arithmetic, (N − F) / S + 1, and pools have no parameters.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neocog.errors import UsageError
from neocog.layers.conv import conv_output_size, require_not_negative, require_positive


def pool_output_size(size: int, kernel: int, stride: int | None = None, padding: int = 0, *, ceil: bool = False) -> int:
    """Return how many windows a pool has along one axis.

    Args:
        size: pixels of the input.
        kernel: of a window.
        stride: between windows; None for the kernel's size, so that windows neither overlap nor leave gaps.
        padding: at each end.
        ceil: let a last window reach over the border if it begins before it, as Caffe has it and AlexNet's and
            GoogLeNet's descendants keep it; otherwise what a stride leaves over is not read.

    Raises:
        UsageError: the kernel does not fit, or the padding is more than half of it.
    """
    stride = kernel if stride is None else stride
    if padding > kernel // 2:
        raise UsageError(f"padding {padding} is more than half of the kernel {kernel}: a window would hold no pixel")
    count = conv_output_size(size, kernel, stride, padding, floor=True)
    return count + (ceil and (size + 2 * padding - kernel) % stride > 0 and count * stride < size + padding)


def average_as_convolution(channels: int, kernel_size: int, stride: int | None = None, padding: int = 0) -> nn.Conv2d:
    """Return an average pool as what it is: a depthwise convolution whose weights are all 1/K², and stay so.

    Padding counts as zeros, as in torch's default.

    Shapes of the layer: `(N, channels, H, W)` to `(N, channels, H', W')`.

    Args:
        channels: of the input and output.
        kernel_size: K.
        stride: None for the kernel's size.
        padding: zeros at each border.

    Raises:
        UsageError: a number is not positive.
    """
    stride = kernel_size if stride is None else stride
    require_positive(channels=channels, kernel_size=kernel_size, stride=stride)
    require_not_negative(padding=padding)
    layer = nn.Conv2d(channels, channels, kernel_size, stride, padding, groups=channels, bias=False)
    nn.init.constant_(layer.weight, 1 / kernel_size**2)
    return layer.requires_grad_(False)


class SumPool2d(nn.Module):
    """The sum over each window: K² times the average, padding counting as zeros.

    Shapes: `(N, C, H, W)` to `(N, C, H', W')`.

    Args:
        kernel_size: K.
        stride: None for the kernel's size.
        padding: zeros at each border.

    Raises:
        UsageError: a number is not positive, or the padding is more than half of the kernel.
    """

    def __init__(self, kernel_size: int, stride: int | None = None, padding: int = 0) -> None:
        require_positive(kernel_size=kernel_size, stride=kernel_size if stride is None else stride)
        require_not_negative(padding=padding)
        if padding > kernel_size // 2:
            raise UsageError(f"padding {padding} is more than half of the kernel {kernel_size}")
        super().__init__()
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding

    def forward(self, x: Tensor) -> Tensor:
        """Return the sums over windows of `x`."""
        return F.avg_pool2d(x, self.kernel_size, self.stride, self.padding, divisor_override=1)


def adaptive_regions(size: int, count: int) -> list[tuple[int, int]]:
    """Return where each of `count` adaptive windows over `size` pixels begins, and where it ends (exclusive).

    From ⌊i N / n⌋ to ⌈(i + 1) N / n⌉. All pixels are read; where n does not divide N, windows differ in length by one
    and neighbours may share a pixel.

    Raises:
        UsageError: a number is not positive.
    """
    require_positive(size=size, count=count)
    return [(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]


GRAIN = 1 << 20  # of the pseudorandom sequences' u, so that they are whole numbers' arithmetic and exact


class FractionalMaxPool2d(nn.Module):
    """Maximum pooling that makes maps smaller by a fraction, such as √2, over regions drawn at random.

    Graham 2014, "Fractional max-pooling", section 2. An axis of N pixels is cut by a_0 < a_1 < ... < a_n into
    n = round(N / α) regions, from a_{i-1} to a_i; the steps a_i − a_{i−1} are whole, and differ by one at most (1 or 2
    where 1 < α < 2). Gentler than halving, it allows more layers; drawn anew for each batch, it distorts a little and
    so regularises.

    - Overlapping regions contain both ends (2 or 3 pixels), disjoint ones do not contain the last (1 or 2). The paper
      lets both run to a_n = N, by which the last pixel of an axis is in no disjoint region; here it is.
    - Pseudorandom: a_i = ⌈α (i + u)⌉ with one u between 0 and 1 for an axis. Random: the steps in any order.

    In evaluation mode the regions stay the same, the pseudorandom ones of u = ½, so that an image always gets the same
    answer. The paper draws them in testing too and averages several runs: `draw_in_evaluation`. Which pixels are chosen
    does not show in shapes: receptive fields count whole rows and columns from here on.

    Shapes: `(N, C, H, W)` to `(N, C, round(H / ratio), round(W / ratio))`.

    Args:
        ratio: α, by which height and width shrink; the paper has ∛2 to √2 and allows 1 to 2, here it may be more.
        overlapping: whether neighbours share a pixel; the paper finds it better.
        pseudorandom: or random; the paper finds random better alone, pseudorandom where images are distorted as well.
        draw_in_evaluation: draw regions in evaluation mode too.

    Raises:
        UsageError: the ratio is 1 or less; a map is too small for its output, with both sizes.
    """

    def __init__(
        self,
        ratio: float,
        *,
        overlapping: bool = True,
        pseudorandom: bool = True,
        draw_in_evaluation: bool = False,
    ) -> None:
        if not ratio > 1:
            raise UsageError(f"ratio is {ratio}, must be above 1")
        super().__init__()
        self.ratio, self.overlapping, self.pseudorandom = ratio, overlapping, pseudorandom
        self.draw_in_evaluation = draw_in_evaluation

    def forward(self, x: Tensor) -> Tensor:
        """Return the maxima over regions of `x`; a maximum of maxima, rows first."""
        rows, columns = (self.regions(size, x.device) for size in x.shape[2:])
        x = F.max_pool2d(x.index_select(2, rows.flatten()), (rows.shape[1], 1))
        return F.max_pool2d(x.index_select(3, columns.flatten()), (1, columns.shape[1]))

    def regions(self, size: int, device: torch.device | None = None) -> Tensor:
        """Return the pixels of each region of an axis, `(regions, longest)`; shorter ones repeat their last.

        Drawn from torch's generator of the device.
        """
        count = self.output_size(size)
        shared = int(self.overlapping)
        total = size - shared
        bounds = self._bounds(total, count, device)
        last = bounds[1:] - (1 - shared)
        longest = -(-total // count) + shared
        return torch.minimum(bounds[:-1, None] + torch.arange(longest, device=device), last[:, None])

    def output_size(self, size: int) -> int:
        """Return the regions that an axis of `size` pixels is cut into.

        Raises:
            UsageError: there are fewer pixels than regions.
        """
        count = max(1, round(size / self.ratio))
        if size - self.overlapping < count:
            kind = "overlapping" if self.overlapping else "disjoint"
            raise UsageError(f"{size} pixels cannot be cut into {count} {kind} regions, for ratio {self.ratio}")
        return count

    def _bounds(self, total: int, count: int, device: torch.device | None) -> Tensor:
        """Return a_0 = 0 to a_n = `total`."""
        drawn = self.training or self.draw_in_evaluation
        if drawn and not self.pseudorandom:
            short, longer = divmod(total, count)
            steps = short + (torch.randperm(count, device=device) < longer).long()
            return F.pad(steps.cumsum(0), (1, 0))
        u = torch.randint(GRAIN, (), device=device) if drawn else GRAIN // 2
        places = torch.arange(count + 1, device=device) * GRAIN + u
        bounds = -torch.div(-places * total, count * GRAIN, rounding_mode="floor")
        return bounds - bounds[0]
