"""`choose_layout`: how images had better lie in memory, by measurement.

NCHW keeps each channel's map together, NHWC (torch's channels-last) each pixel's channels. The numbers are the same,
the time is not, and which is faster depends on the network, the batch and the machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from torch import nn

from neocog.analysis.machine_peak import Precision
from neocog.analysis.throughput import Layout, Setting, Step, Throughput, measure_in_turn, prepare


@dataclass(frozen=True)
class LayoutChoice:
    """The layout that was faster.

    Attributes:
        layout: "NCHW" or "NHWC".
        nchw: what was measured of the one.
        nhwc: and of the other, in the same rounds.
    """

    layout: Layout
    nchw: Throughput
    nhwc: Throughput

    @property
    def gain(self) -> float:
        """How many times as fast NHWC is as NCHW: the median over the rounds."""
        return median(one / other for one, other in zip(self.nchw.times, self.nhwc.times, strict=True))


def choose_layout(
    network: nn.Module,
    image: Sequence[int] = (3, 224, 224),
    *,
    batch: int = 1,
    step: Step = "forward",
    precision: Precision = "fp32",
    device: str = "cpu",
    seconds: float = 2.0,
) -> LayoutChoice:
    """Run `network` in both layouts in turn and return the faster one; see `measure` for the arguments.

        >>> choose_layout(create_model("mobilenetv2_100"), batch=32, step="train").layout

    Raises:
        UsageError: the network takes no images `(C, H, W)`, or cannot be measured so.
    """
    layouts: tuple[Layout, Layout] = ("NCHW", "NHWC")
    settings = [
        Setting(batch=batch, step=step, precision=precision, layout=layout, device=device) for layout in layouts
    ]
    nchw, nhwc = measure_in_turn([prepare(network, image, setting) for setting in settings], seconds=seconds)
    choice = LayoutChoice("NCHW", nchw, nhwc)
    return LayoutChoice("NHWC", nchw, nhwc) if choice.gain > 1 else choice
