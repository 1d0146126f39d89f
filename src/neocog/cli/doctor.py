"""`neocog doctor`: what this machine has, and what would make it better."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from neocog.cli._options import Json
from neocog.cli._output import print_json, printable, say

SLOW_FACTOR = 1.2  # bf16 below this many times float32's speed gains nothing worth its rounding


def doctor(as_json: Json = False) -> None:
    """Look at this machine: versions, memory, GPUs, weights, speed.

    Example:
      neocog doctor
    """
    from neocog.cli._machine import examine

    found = examine()
    advice = advise(found)
    if as_json:
        print_json({**found, "advice": advice})
        return
    for label, text in describe(found):
        say(f"{label:<14} {printable(text)}")
    say()
    for line in advice or ["everything looks well"]:
        say(f"- {printable(line)}")


def describe(found: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the findings as labels and texts."""
    packages = ", ".join(f"{name} {version or 'missing'}" for name, version in found["packages"].items())
    quota = "" if found["core_quota"] is None else f", limited to the time of {found['core_quota']:g}"
    gpus = [f"{gpu['name']} ({gpu['memory_gib']} GiB)" for gpu in found["gpus"]]
    return [
        ("neocog", f"{found['neocog']} on Python {found['python']}"),
        ("packages", packages),
        ("system", found["system"]),
        ("processor", f"{found['processor']}, {found['cores']} cores{quota}"),
        ("bf16", "computed in hardware" if found["computes_in_bf16"] else "not computed in hardware"),
        ("GPUs", ", ".join(gpus) or "none"),
        ("memory", f"{found['memory_gib']} GiB, {found['memory_free_gib']} GiB of them free"),
        ("disk", f"{found['disk_free_gib']} GiB free in this folder"),
        *((work, f"{s['fp32']} GMACs/s in fp32, {s['bf16']} in bf16") for work, s in found["speed"].items()),
        ("images", ", ".join(kind if can else f"no {kind}" for kind, can in found["decoders"].items())),
        ("hub", found["hub"]),
        ("weights", f"looked for in {found['weights_folder'] or 'no folder (NEOCOG_WEIGHTS is not set)'}, "
         f"then in {found['hub_cache']}, then on the hub"),
        ("", f"here: {', '.join(found['weights_here']) or 'none'}"),
    ]  # fmt: skip


def advise(found: dict[str, Any]) -> list[str]:
    """Return what a person could do, most useful first; nothing where all is well."""
    lines = []
    missing = [name for name, version in found["packages"].items() if version is None]
    if missing:
        lines.append(f"{', '.join(missing)} missing: pip install {' '.join(missing)}")
    folder = found["weights_folder"]
    if folder is not None and not Path(folder).is_dir():
        lines.append(f"NEOCOG_WEIGHTS names {folder}, which is no folder")
    if not found["weights_here"] and found["hub"] != "reachable":
        lines.append(
            "no published weights are here and the hub cannot be reached, so photographs train from scratch; "
            "copy weights into a folder as NAME.TAG.safetensors and set NEOCOG_WEIGHTS to it"
        )
    if not found["gpus"]:
        lines.append(gpu_advice())
    if found["disk_free_gib"] < 2:
        lines.append(f"only {found['disk_free_gib']} GiB of disk are free; a run keeps two checkpoints and a model")
    if (found["memory_free_gib"] or 4) < 4:
        lines.append(f"only {found['memory_free_gib']} GiB of memory are free; use smaller batches (--batch-size)")
    if found["shared_memory_gib"] is not None and found["shared_memory_gib"] < 0.5:
        lines.append(
            f"/dev/shm, through which workers hand over images, holds only {found['shared_memory_gib']} GiB; "
            "enlarge it (docker run --shm-size=2g) or use --set workers=0"
        )
    if found["core_quota"] is not None and found["core_quota"] < found["cores"]:
        lines.append(
            f"this container sees {found['cores']} cores and may use the time of {found['core_quota']:g}: "
            f"--set threads={max(1, round(found['core_quota']))} avoids threads that wait for one another"
        )
    faster = found["speed"]["convolution"]["bf16"] / found["speed"]["convolution"]["fp32"]
    if found["computes_in_bf16"] and faster < SLOW_FACTOR and not found["gpus"]:
        lines.append(f"bf16 runs at {faster:.1f} times float32's speed here; --set precision=fp32 may be as fast")
    unread = [kind for kind, can in found["decoders"].items() if kind in ("jpeg", "png") and not can]
    if unread:
        lines.append(f"Pillow cannot read {' and '.join(unread)}: pip install --force-reinstall pillow")
    return lines


def gpu_advice() -> str:
    """Return what follows from there being no GPU that PyTorch can use."""
    if Path("/dev/nvidia0").exists():
        return "there is an NVIDIA GPU that PyTorch cannot use: install its driver, or a PyTorch built for CUDA"
    return "no GPU: fine-tuning MobileNetV2 and training small images go well on a CPU; large networks do not"
