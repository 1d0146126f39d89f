"""Each family beside timm's or torchvision's network with the same weights: forward, training step, memory.

    python benchmarks/zoo.py                                 # one network of each family that the others have too
    python benchmarks/zoo.py resnet50 vgg16 --pairs 40
    python benchmarks/zoo.py densenet121 --batch 8 --size 224 --threads 2 --layout NCHW
    python benchmarks/zoo.py --list                          # what stands beside what
    python benchmarks/zoo.py --table                         # what was measured so far, as a table

Both run in one process, in the same layout, precision and number of threads, on the same images; that their logits
agree is checked first. A training step is a pass in training mode, the loss, and the backward pass: the optimiser is
the same for both and left out. Size and batch are chosen so that a pair takes a second or so, unless they are given.
Where the bar lies inside an interval that is wider than 3 % to either side, more pairs are run, three times as many at
most.

"Kept" is what autograd keeps of a pass for the backward one, beside parameters and images; "peak" is the most that the
allocator held above what was there before a step. Each row is appended to --out when it is known; a row that is there
already is not measured again, so that a run that was broken off goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler speaks of the GPUs that it has not found

import torch
from pairs import Comparison, interleave, machine
from torch import Tensor, nn
from torch.nn import functional as F

from neocog import convert_state_dict, create_model, describe, list_models

OUT = Path(__file__).parent / "zoo.jsonl"
BAR, WIDEST = 0.98, 0.03
WORK = 4e9
"""Multiply-adds of a forward pass, about, that size and batch are chosen for."""
SIZES = (160, 128, 96)

CALLED: dict[str, str] = {
    "xception": "timm:legacy_xception",
    "seresnet50_v1": "timm:legacy_seresnet50",
    "senet154": "timm:legacy_senet154",
}
"""Where the others call a network otherwise: our name, and library:name."""
OPTIONS: dict[str, dict[str, Any]] = {
    "torchvision:googlenet": {"aux_logits": False, "init_weights": False},
    "torchvision:inception_v3": {"aux_logits": False, "init_weights": False},
}
"""What the others' builders are told: heads that return nothing in evaluation are left out."""
CHOSEN: dict[str, str] = {"resnet": "resnet50", "preact_resnet": "resnetv2_50", "mobilenetv2": "mobilenetv2_100"}
"""Which network stands for a family, where it is not the smallest of those that the others have."""

Step = Literal["forward", "train"]


@dataclass(frozen=True)
class Setting:
    """How one network is run."""

    name: str
    reference: str
    size: int
    batch: int
    threads: int
    layout: Literal["NHWC", "NCHW"]


def reference_of(name: str) -> str | None:
    """Return library:name of the network that ours is compared with: timm's where it has one, else torchvision's."""
    import timm
    import torchvision

    if name in CALLED:
        return CALLED[name]
    if name in timm.list_models():
        return f"timm:{name}"
    return f"torchvision:{name}" if name in torchvision.models.list_models(torchvision.models) else None


def representatives() -> dict[str, str]:
    """Return {name: reference} of one network a family, where the others have any of it."""
    families: dict[str, list[str]] = {}
    for name in list_models(sort="macs"):
        if reference_of(name) is not None:
            families.setdefault(describe(name).family, []).append(name)
    names = [CHOSEN.get(family, found[0]) for family, found in families.items()]
    return {name: str(reference_of(name)) for name in names}


def both(name: str, reference: str) -> tuple[nn.Module, nn.Module]:
    """Return our network and the other's with the same weights."""
    library, _, their_name = reference.partition(":")
    options = OPTIONS.get(reference, {})
    torch.manual_seed(0)
    if library == "timm":
        import timm

        theirs = timm.create_model(their_name, **options)
    else:
        import torchvision

        theirs = torchvision.models.get_model(their_name, weights=None, **options)
    ours = create_model(name)
    ours.load_state_dict(convert_state_dict(theirs.state_dict(), name, library))
    return ours, theirs


def difference(ours: nn.Module, theirs: nn.Module, images: Tensor) -> float:
    """Return by how much the logits differ in evaluation, of the greatest of them."""
    with torch.inference_mode():
        expected = theirs.eval()(images)
        return float((ours.eval()(images) - expected).abs().max() / expected.abs().max())


def step_of(network: nn.Module, images: Tensor, step: Step) -> Callable[[], object]:
    """Return a call that makes one step."""
    targets = torch.arange(len(images))

    def forward() -> None:
        with torch.inference_mode():
            network(images)

    def train() -> None:
        network.zero_grad(set_to_none=True)
        F.cross_entropy(network(images), targets).backward()

    network.train(step == "train")
    return train if step == "train" else forward


def kept_bytes(network: nn.Module, images: Tensor) -> int:
    """Return the bytes that autograd keeps of a pass in training mode; what shares memory counts once."""
    kept: dict[int, Tensor] = {}  # holds on to them, lest an address be used again
    own = {tensor.untyped_storage().data_ptr() for tensor in (*network.parameters(), *network.buffers(), images)}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    network.train()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        network(images)
    return sum(tensor.untyped_storage().nbytes() for place, tensor in kept.items() if place not in own)


def peak_bytes(network: nn.Module, step: Callable[[], object]) -> int:
    """Return the most that the allocator held in a step above what it held before."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    step()
    network.zero_grad(set_to_none=True)
    with torch.profiler.profile(activities=activities, profile_memory=True) as profiler:
        step()
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak


def verdict(comparison: Comparison) -> str:
    """Say whether the bar is met: on the right side of the interval, or within one of 3 % to either side at most."""
    low, high = comparison.interval
    if low >= BAR:
        return "met"
    if high < BAR:
        return "missed"
    return "met" if max(high - comparison.ratio, comparison.ratio - low) <= WIDEST * comparison.ratio else "too wide"


def compared(setting: Setting, step: Step, ours: nn.Module, theirs: nn.Module, images: Tensor, pairs: int) -> dict:
    """Run pairs until the interval is narrow enough, and return the row."""
    calls = [step_of(network, images, step) for network in (ours, theirs)]
    found = interleave(*calls, pairs)
    while verdict(found) == "too wide" and len(found.first) < 3 * pairs:
        more = interleave(*calls, pairs, warmup=0)
        found = Comparison(found.first + more.first, found.second + more.second)
    low, high = found.interval
    row = {**asdict(setting), "step": step, "ratio": found.ratio, "low": low, "high": high, "pairs": len(found.first)}
    row["seconds"] = sorted(found.first)[len(found.first) // 2]
    row["verdict"] = verdict(found)
    peaks = [peak_bytes(network, call) for network, call in zip((ours, theirs), calls, strict=True)]
    row |= {"peak": peaks[0], "peak_ratio": peaks[0] / peaks[1]}
    if step == "train":
        kept = [kept_bytes(network, images) for network in (ours, theirs)]
        row |= {"kept": kept[0], "kept_ratio": kept[0] / kept[1]}
    return row


def setting_of(name: str, reference: str, options: argparse.Namespace) -> Setting:
    """Return size and batch that take a second or so, or those that were asked for."""
    entry = describe(name)
    native = entry.input[1]
    size = options.size or native
    if not options.size:
        smaller = [native, *(side for side in SIZES if side < native)]
        size = next((side for side in smaller if 2 * entry.macs * (side / native) ** 2 <= 2 * WORK), smaller[-1])
    macs = entry.macs * (size / native) ** 2
    batch = options.batch or max(2, min(32, round(WORK / macs)))
    return Setting(name, reference, size, batch, torch.get_num_threads(), options.layout)


def measure(setting: Setting, steps: list[Step], pairs: int, out: Path) -> None:
    """Measure one network's steps, print each and append it to the file."""
    ours, theirs = both(setting.name, setting.reference)
    images = torch.randn(setting.batch, describe(setting.name).input[0], setting.size, setting.size)
    if setting.layout == "NHWC":
        ours, theirs, images = (each.to(memory_format=torch.channels_last) for each in (ours, theirs, images))
    apart = difference(ours, theirs, images)
    if not apart < 1e-4:
        raise SystemExit(f"{setting.name} and {setting.reference} differ by {apart:.2g}: not the same network")
    for step in steps:
        row = compared(setting, step, ours, theirs, images, pairs)
        with out.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(line(row), flush=True)


def line(row: dict[str, Any]) -> str:
    """Return a row as a line of a Markdown table."""
    kept = f"{row['kept'] / 1e6:.1f} MB, {row['kept_ratio']:.3f}" if "kept" in row else ""
    return (
        f"| {row['name']} | {row['reference']} | {row['step']} | {row['batch']} x {row['size']}, {row['layout']} | "
        f"{row['ratio']:.3f}x [{row['low']:.3f}, {row['high']:.3f}], {row['pairs']} | {row['verdict']} | "
        f"{row['peak'] / 1e6:.1f} MB, {row['peak_ratio']:.3f} | {kept} |"
    )


HEADING = """\
| network | beside | step | images | as fast [95 %], pairs | bar 0.98x | peak, ratio | kept, ratio |
|---|---|---|---|---|---|---|---|"""


def known_rows(out: Path) -> list[dict[str, Any]]:
    """Return what the file holds."""
    return [json.loads(text) for text in out.read_text().splitlines()] if out.exists() else []


def main() -> None:
    """Measure what was asked for and is not known yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--size", type=int)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--layout", choices=["NHWC", "NCHW"], default="NHWC")
    parser.add_argument("--step", choices=["forward", "train"], action="append", help="both by default")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--again", action="store_true", help="measure what is known too")
    parser.add_argument("--list", action="store_true", help="say what stands beside what, and stop")
    parser.add_argument("--table", action="store_true", help="print what is known, and stop")
    options = parser.parse_args()
    if options.table:
        print("\n".join([HEADING, *map(line, known_rows(options.out))]))
        return
    if options.threads:
        torch.set_num_threads(options.threads)
    pairs = {name: reference_of(name) for name in options.names} or representatives()
    for name in [name for name, reference in pairs.items() if reference is None]:
        raise SystemExit(f"neither timm nor torchvision has {name}")
    if options.list:
        print("\n".join(str(setting_of(name, str(reference), options)) for name, reference in pairs.items()))
        return
    print(f"{machine()}, {torch.get_num_threads()} threads\n{HEADING}", flush=True)
    for name, reference in pairs.items():
        setting = setting_of(name, str(reference), options)
        known = [row["step"] for row in known_rows(options.out) if asdict(setting).items() <= row.items()]
        steps = [step for step in options.step or ("forward", "train") if options.again or step not in known]
        if steps:
            measure(setting, steps, options.pairs, options.out)


if __name__ == "__main__":
    main()
