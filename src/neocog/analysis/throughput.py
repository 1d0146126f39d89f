"""`measure`: how fast a network runs on this machine, what memory that takes, and what share of its peak it reaches.

A time by itself says little on a machine that others use too. So what is compared is run in turn, round by round, and
reported as the median of many runs with its 95 % interval; the work that was done is counted from a trace, and set
against the fastest matrix product that was seen on the same machine (`machine_peak`).
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

import torch
from torch import nn

from neocog.analysis._clock import LEAST_RUNS, elapsed, median_interval
from neocog.analysis._prepared import Prepared
from neocog.analysis.cost import count_cost
from neocog.analysis.machine_peak import DTYPES, Peak, Precision, machine_peak
from neocog.analysis.trace import trace_forward
from neocog.errors import UnknownNameError, UsageError

Step = Literal["forward", "train"]
Layout = Literal["NCHW", "NHWC"]
STEPS: tuple[Step, ...] = ("forward", "train")
LAYOUTS: tuple[Layout, ...] = ("NCHW", "NHWC")

MOST_RUNS = 1000
WARMUP = 3
SHORT = 0.02  # seconds: for a run below this it matters that another network has filled the caches


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How a network is run.

    Attributes:
        batch: images at once.
        step: "forward": evaluation, without gradients. "train": forward in training mode, cross entropy against
            made-up labels, backward, and an update by SGD with momentum, at a rate of zero.
        precision: "bf16" runs under autocast; for "forward" weights are bf16 too, for "train" they stay fp32.
        layout: how images and filters lie in memory: "NCHW", or "NHWC" (channels last).
        compiled: run what `torch.compile` makes of the network.
        device: "cpu", "cuda" or "cuda:N".
    """

    batch: int = 1
    step: Step = "forward"
    precision: Precision = "fp32"
    layout: Layout = "NCHW"
    compiled: bool = False
    device: str = "cpu"

    def __post_init__(self) -> None:
        """Refuse what cannot be run."""
        if self.batch < 1:
            raise UsageError(f"a batch holds at least 1 image, not {self.batch}")
        for kind, name, known in (
            ("step", self.step, STEPS),
            ("precision", self.precision, tuple(DTYPES)),
            ("layout", self.layout, LAYOUTS),
        ):
            if name not in known:
                raise UnknownNameError(f"{kind}, which is one of {', '.join(known)}:", name, known)
        if not self.device.startswith(("cpu", "cuda")):
            raise UsageError(f"device {self.device!r} is not supported; use cpu, cuda or cuda:N")
        if self.device.startswith("cuda") and not torch.cuda.is_available():
            raise UsageError(f"device {self.device!r} was asked for, but PyTorch sees no GPU")


@dataclass(frozen=True)
class Throughput:
    """What was measured of one network in one setting.

    Attributes:
        network: what it is called.
        image: the shape of one input.
        setting: how it was run.
        threads: of the CPU.
        times: seconds of each run, in order.
        macs: multiply-adds of a run, that is of the whole batch, and for "train" of both passes.
        uncounted: operations that no rule counts, by name; their work is not in `macs`.
        peak: the machine's, in this precision.
        state_bytes: bytes that are held between runs: parameters, buffers, images, and what the optimiser keeps.
        step_bytes: bytes by which memory grew beyond these during a run, at its most: activations, gradients and the
            libraries' work space, see `peak_growth`; None where the system does not tell.
    """

    network: str
    image: tuple[int, ...]
    setting: Setting
    threads: int
    times: tuple[float, ...]
    macs: int
    uncounted: tuple[str, ...]
    peak: Peak
    state_bytes: int
    step_bytes: int | None

    @property
    def latency(self) -> float:
        """Seconds of a run: the median."""
        return median(self.times)

    @property
    def interval(self) -> tuple[float, float]:
        """The median's 95 % interval, in seconds."""
        return median_interval(self.times)

    @property
    def images_per_second(self) -> float:
        """The batch over the latency."""
        return self.setting.batch / self.latency

    @property
    def memory_bytes(self) -> int | None:
        """The most memory held at once: between runs, and what a run adds; None where that is not known."""
        return None if self.step_bytes is None else self.state_bytes + self.step_bytes

    @property
    def flops(self) -> float:
        """Floating-point operations a second, two for each multiply-add of the network's products."""
        return 2 * self.macs / self.latency

    @property
    def share(self) -> float:
        """`flops` over the machine's peak."""
        return self.flops / self.peak.flops


def measure(
    network: nn.Module,
    image: Sequence[int] = (3, 224, 224),
    *,
    batch: int = 1,
    step: Step = "forward",
    precision: Precision = "fp32",
    layout: Layout = "NCHW",
    compiled: bool = False,
    device: str = "cpu",
    seconds: float = 2.0,
    repeats: int | None = None,
    warmup: int = WARMUP,
    name: str = "",
) -> Throughput:
    """Measure how fast `network` runs in one setting; see `Setting`.

        >>> measure(create_model("resnet50"), batch=32).images_per_second

    A copy is measured: the network keeps its weights, modes, layout and type.

    Args:
        network: takes one tensor `(N, *image)`; its parameters hold numbers.
        image: the shape of one input, `(C, H, W)`.
        batch: images at once.
        step: "forward" or "train".
        precision: "fp32" or "bf16".
        layout: "NCHW" or "NHWC".
        compiled: by `torch.compile`.
        device: "cpu", "cuda" or "cuda:N".
        seconds: to spend on runs, but never fewer than 6 of them.
        repeats: this many runs instead.
        warmup: runs before the first that counts.
        name: what to call the network.

    Raises:
        UsageError: the network cannot run so, cannot be compiled, or has no numbers in its parameters.
    """
    setting = Setting(
        batch=batch, step=step, precision=precision, layout=layout, compiled=compiled, device=device
    )  # fmt: skip
    prepared = [prepare(network, image, setting, name=name, warmup=warmup)]
    return measure_in_turn(prepared, seconds=seconds, repeats=repeats)[0]


@dataclass
class Candidate:
    """A network that is ready to be timed."""

    name: str
    image: tuple[int, ...]
    setting: Setting
    macs: int
    uncounted: tuple[str, ...]
    prepared: Prepared
    warm: float
    """Seconds of its last run before the measurement."""


def prepare(
    network: nn.Module, image: Sequence[int], setting: Setting, *, name: str = "", warmup: int = WARMUP
) -> Candidate:
    """Copy a network, count its work, compile it where that is asked for, and warm it up; for `measure_in_turn`.

    Warming up ends early where a single run takes longer than a second.
    """
    trace = trace_forward(network, image, batch=setting.batch, training=setting.step == "train", name=name)
    cost = count_cost(trace)
    prepared = Prepared(
        network, (setting.batch, *image), trace.network,
        training=setting.step == "train", dtype=DTYPES[setting.precision], channels_last=setting.layout == "NHWC",
        compiled=setting.compiled, device=setting.device,
    )  # fmt: skip
    warm = elapsed(prepared.first_run, prepared.device)
    for _ in range(max(warmup, 1)):
        warm = elapsed(prepared.run, prepared.device)
        if warm > 1:
            break
    uncounted = tuple(cost.uncounted)
    return Candidate(
        trace.network, tuple(image), setting, cost.macs + cost.backward_macs, uncounted, prepared, warm
    )  # fmt: skip


def measure_in_turn(
    candidates: Sequence[Candidate],
    *,
    seconds: float = 2.0,
    repeats: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Throughput]:
    """Time several networks in rounds, one run of each a round, so that whatever else the machine does hits all alike.

    Args:
        candidates: what `prepare` returns.
        seconds: to spend on each of them, on average; at least 6 rounds are made.
        repeats: this many rounds instead.
        progress: called after each round with the rounds done and the number of rounds.
    """
    if repeats is not None and repeats < 1:
        raise UsageError(f"at least 1 run is needed to measure one, not {repeats}")
    # Before a short run another one is made that does not count, so that what it needs is in the caches again.
    twice = [len(candidates) > 1 and each.warm < SHORT for each in candidates]
    round_seconds = sum(each.warm * (1 + again) for each, again in zip(candidates, twice, strict=True))
    rounds = repeats or int(min(max(LEAST_RUNS, seconds * len(candidates) / round_seconds), MOST_RUNS))
    times: list[list[float]] = [[] for _ in candidates]
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        for number in range(rounds):
            for place in range(len(candidates)):
                # Each takes its turn at being the first of a round.
                which = (place + number) % len(candidates)
                prepared = candidates[which].prepared
                if twice[which]:
                    prepared.run()
                times[which].append(elapsed(prepared.run, prepared.device))
            if progress:
                progress(number + 1, rounds)
    finally:
        if collecting:
            gc.enable()
    return [_result(each, tuple(own)) for each, own in zip(candidates, times, strict=True)]


def _result(candidate: Candidate, times: tuple[float, ...]) -> Throughput:
    setting = candidate.setting
    return Throughput(
        network=candidate.name,
        image=candidate.image,
        setting=setting,
        threads=torch.get_num_threads(),
        times=times,
        macs=candidate.macs,
        uncounted=candidate.uncounted,
        peak=machine_peak(setting.precision, setting.device),
        state_bytes=candidate.prepared.state_bytes(),
        step_bytes=candidate.prepared.step_bytes(),
    )
