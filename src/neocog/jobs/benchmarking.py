"""`benchmark`: from names of networks to how fast they run on this machine."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch

from neocog._machine import available_cores
from neocog.analysis.machine_peak import Precision
from neocog.analysis.throughput import Candidate, Layout, Setting, Step, Throughput, measure_in_turn, prepare
from neocog.errors import UsageError
from neocog.jobs._device import choose_device
from neocog.jobs.listener import Listener
from neocog.jobs.subject import find_subject
from neocog.train.environment import processor
from neocog.train.precision import computes_in_bf16


@dataclass(frozen=True)
class Benchmark:
    """What was measured, and on what.

    Attributes:
        rows: one for each network in each setting.
        machine: "device", "processor", "cores", "threads", "bf16_in_hardware", "torch" and "python".
    """

    rows: tuple[Throughput, ...]
    machine: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return all of it in plain types; times in seconds, memory in bytes."""
        return {"machine": self.machine, "rows": [plain_row(row) for row in self.rows]}


def benchmark(
    specs: Sequence[str],
    *,
    batch: Sequence[int] = (1,),
    steps: Sequence[Step] = ("forward",),
    precisions: Sequence[Precision] = ("fp32",),
    layouts: Sequence[Layout] = ("NCHW",),
    compiled: Sequence[bool] = (False,),
    image: Sequence[int] | None = None,
    size: int | None = None,
    device: str | None = None,
    threads: int | None = None,
    seconds: float = 2.0,
    repeats: int | None = None,
    listener: Listener | None = None,
) -> Benchmark:
    """Measure networks side by side.

        >>> benchmark(["resnet18", "mobilenetv2_100"], batch=(1, 32)).rows[0].images_per_second

    For each batch size and step, all networks in all precisions and layouts are in memory at once and run in turn,
    round by round, so that whatever else the machine does hits all alike.

    Args:
        specs: catalog names, with fresh weights; model files; or `module:callable`; see `find_subject`.
        batch: images at once.
        steps: "forward", "train".
        precisions: "fp32", "bf16".
        layouts: "NCHW", "NHWC".
        compiled: whether by `torch.compile`.
        image: the shape of an input, `(C, H, W)`; by default the one that each network was made for.
        size: only its height and width.
        device: "cpu", "cuda" or "cuda:N"; None takes a GPU where there is one.
        threads: of the CPU; None leaves torch's number.
        seconds: to spend on runs of each row, but at least 6 runs.
        repeats: this many runs of each row instead.
        listener: who hears the progress.

    Raises:
        UnknownNameError: no such network, step, precision or layout.
        UsageError: no GPU, a batch without images, a network that cannot run or be compiled.
    """
    listener = listener or Listener()
    place = choose_device(device)
    if not specs:
        raise UsageError("name at least one network to measure")
    if threads is not None and threads < 1:
        raise UsageError(f"at least 1 thread is needed, not {threads}")
    groups = [
        [
            Setting(batch=count, step=step, precision=precision, layout=layout, compiled=each, device=place)
            for precision, layout, each in product(precisions, layouts, compiled)
        ]
        for count, step in product(batch, steps)
    ]
    subjects = [find_subject(spec, image=image, size=size, real=True) for spec in dict.fromkeys(specs)]
    rows: list[Throughput] = []
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        for group in groups:
            listener.begin(f"preparing {_what(group[0])}", len(subjects) * len(group), unit="networks")
            candidates: list[Candidate] = []
            for subject, setting in product(subjects, group):
                candidates.append(prepare(subject.network, subject.image, setting, name=subject.name))
                listener.advance(len(candidates))
            listener.end()
            heard = _heard_by(listener, f"measuring {_what(group[0])}")
            rows += measure_in_turn(candidates, seconds=seconds, repeats=repeats, progress=heard)
            listener.end()
        machine = _machine(place)
    finally:
        torch.set_num_threads(before)
    return Benchmark(tuple(rows), machine)


def plain_row(row: Throughput) -> dict[str, Any]:
    """Return a row in plain types; times in seconds, memory in bytes, rates a second."""
    low, high = row.interval
    setting = row.setting
    return {
        "network": row.network,
        "image": list(row.image),
        "batch": setting.batch,
        "step": setting.step,
        "precision": setting.precision,
        "layout": setting.layout,
        "compiled": setting.compiled,
        "device": setting.device,
        "threads": row.threads,
        "runs": len(row.times),
        "latency": row.latency,
        "latency_low": low,
        "latency_high": high,
        "images_per_second": row.images_per_second,
        "memory": row.memory_bytes,
        "memory_between_runs": row.state_bytes,
        "memory_of_a_run": row.step_bytes,
        "macs": row.macs,
        "not_counted": list(row.uncounted),
        "flops_per_second": row.flops,
        "peak_flops_per_second": row.peak.flops,
        "peak_side": row.peak.side,
        "peak_tf32": row.peak.tf32,
        "share_of_peak": row.share,
    }


def _heard_by(listener: Listener, what: str) -> Callable[[int, int], None]:
    """Return what tells a listener of rounds; how many there are is known when the first is done."""

    def progress(done: int, rounds: int) -> None:
        if done == 1:
            listener.begin(what, rounds, unit="rounds")
        listener.advance(done)

    return progress


def _what(setting: Setting) -> str:
    return f"batch {setting.batch}, {setting.step}"


def _machine(device: str) -> dict[str, Any]:
    name = torch.cuda.get_device_name(device) if torch.device(device).type == "cuda" else "CPU"
    return {
        "device": name,
        "processor": processor(),
        "cores": available_cores(),
        "threads": torch.get_num_threads(),
        "bf16_in_hardware": computes_in_bf16(torch.device(device).type),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
