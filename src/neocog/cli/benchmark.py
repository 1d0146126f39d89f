"""`neocog benchmark`: how fast networks run on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from neocog.cli._options import Device, ImageSize, InputShape, Json, complete_model, parse_shape
from neocog.cli._output import Column, byte_count, counted, percent, print_csv, print_json, print_table, say
from neocog.cli._progress import listening
from neocog.errors import UnknownNameError, UsageError

if TYPE_CHECKING:
    from neocog.analysis.throughput import Throughput
    from neocog.jobs.benchmarking import Benchmark


def benchmark(
    networks: Annotated[
        list[str],
        typer.Argument(
            metavar="NETWORK...",
            help="Names of neocog models, model files, or module:callable for networks of your own.",
            autocompletion=complete_model,
        ),
    ],
    batch: Annotated[str, typer.Option(metavar="N,...", help="Images at once.")] = "1",
    step: Annotated[str, typer.Option(metavar="STEP,...", help="forward, train, or both.")] = "forward",
    precision: Annotated[str, typer.Option(metavar="PRECISION,...", help="fp32, bf16, or both.")] = "fp32",
    layout: Annotated[str, typer.Option(metavar="LAYOUT,...", help="NCHW, NHWC, or both.")] = "NCHW",
    compiled: Annotated[
        bool, typer.Option("--compile", help="Measure what torch.compile makes of the networks, too.")
    ] = False,
    image_size: ImageSize = None,
    input_shape: InputShape = None,
    device: Device = None,
    threads: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Of the CPU.", show_default="torch's choice")
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=0.0, metavar="S", help="To spend on each line, of at least 6 runs.")
    ] = 2.0,
    csv: Annotated[bool, typer.Option("--csv", help="Print the table as CSV, with exact numbers.")] = False,
    as_json: Json = False,
) -> None:
    """Measure latency, images a second, memory, and the share of this machine's peak.

    All networks run in turn, round by round, so that whatever else the machine does hits all alike. Given are the
    median of the runs with its 95 % interval. Names of the catalog have fresh weights, which run as fast as trained
    ones.

    Examples:
      neocog benchmark resnet50 mobilenetv2_100 --batch 1,32
      neocog benchmark resnet18 --step train --batch 32 --precision fp32,bf16 --layout NCHW,NHWC --compile
      neocog benchmark my_package.nets:MyNet --input 3,64,64
    """
    from neocog.jobs.benchmarking import benchmark as measure_networks

    with listening() as listener:
        found = measure_networks(
            networks,
            batch=_numbers(batch),
            steps=_chosen("step", step, ("forward", "train")),  # type: ignore[arg-type]
            precisions=_chosen("precision", precision, ("fp32", "bf16")),  # type: ignore[arg-type]
            layouts=_chosen("layout", layout, ("NCHW", "NHWC")),  # type: ignore[arg-type]
            compiled=(False, True) if compiled else (False,),
            image=parse_shape(input_shape),
            size=image_size,
            device=device,
            threads=threads,
            seconds=seconds,
            listener=listener,
        )
    if as_json:
        print_json(found.to_dict())
    elif csv:
        print_csv(found.to_dict()["rows"])
    else:
        _print_benchmark(found)


def _numbers(text: str) -> tuple[int, ...]:
    """Return "1,32" as numbers."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdigit() and int(part) > 0 for part in parts):
        raise UsageError(f"--batch takes numbers of images above 0, such as 1,32; not {text!r}")
    return tuple(dict.fromkeys(int(part) for part in parts))


def _chosen(option: str, text: str, known: tuple[str, ...]) -> tuple[str, ...]:
    """Return "fp32,bf16" as names, spelt as they are known."""
    spelling = {name.lower(): name for name in known}
    names = [part.strip() for part in text.split(",")]
    for name in names:
        if name.lower() not in spelling:
            raise UnknownNameError(f"--{option}, which takes {' or '.join(known)}:", name, known)
    return tuple(dict.fromkeys(spelling[name.lower()] for name in names))


def _print_benchmark(found: Benchmark) -> None:
    rows = found.rows
    # What is the same in every line is said once, under the table.
    told: dict[str, list[str]] = {
        "network": [row.network for row in rows],
        "input": ["x".join(map(str, row.image)) for row in rows],
        "step": [row.setting.step for row in rows],
        "precision": [row.setting.precision for row in rows],
        "layout": [row.setting.layout for row in rows],
        "code": ["compiled" if row.setting.compiled else "eager" for row in rows],
        "batch": [str(row.setting.batch) for row in rows],
    }
    shown = [name for name, values in told.items() if name in ("network", "batch") or len(set(values)) > 1]
    columns = [Column(name, numeric=name == "batch") for name in shown]
    columns += [Column(name, numeric=True) for name in ("latency", "95 % interval", "images/s", "memory")]
    columns += [Column(name, numeric=True) for name in ("MACs", "GFLOP/s", "of peak")]
    print_table(columns, [[told[name][place] for name in shown] + _cells(row) for place, row in enumerate(rows)])
    say()
    for label, text in _notes(found, [(name, values[0]) for name, values in told.items() if name not in shown]):
        say(f"{label:<13}{text}")


def _cells(row: Throughput) -> list[str]:
    low, high = row.interval
    return [
        f"{_milliseconds(row.latency)} ms",
        f"{_milliseconds(low)} to {_milliseconds(high)}",
        _three_digits(row.images_per_second),
        "-" if row.memory_bytes is None else byte_count(row.memory_bytes),
        counted(row.macs / row.setting.batch),
        _three_digits(row.flops / 1e9),
        percent(row.share, 1),
    ]


def _notes(found: Benchmark, same: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the lines under the table."""
    rows, machine = found.rows, found.machine
    runs = sorted({len(row.times) for row in rows})
    count = str(runs[0]) if len(runs) == 1 else f"{runs[0]} to {runs[-1]}"
    where = f"{machine['processor']}, {_plural(machine['cores'], 'core')}, {_plural(machine['threads'], 'thread')}"
    if machine["device"] != "CPU":
        where = f"{machine['device']}; host {where}"
    lines = [
        ("machine", f"{where}; torch {machine['torch']}"),
        ("all lines", ", ".join(f"{name} {value}" for name, value in same)),
        (
            "latency",
            f"of a whole batch: median of {count} runs, in turn, after warming up; 95 % interval of the median",
        ),
        (
            "memory",
            "at its most: weights, images and what a training step keeps, and what a run adds; not Python itself",
        ),
        ("MACs", "multiply-adds of an image in convolutions, matrix products and attention"),
    ]
    for peak in dict.fromkeys(row.peak for row in rows):
        tf32 = " with TF32" if peak.tf32 else ""
        reached = f"{peak.precision}{tf32}: {_three_digits(peak.flops / 1e9)} GFLOP/s, two a MAC"
        lines.append(("peak", f"{reached}, in the fastest matrix product seen here ({peak.side} a side)"))
    if any(row.setting.step == "train" for row in rows):
        lines.append(("train", "forward, cross entropy, backward, and SGD with momentum; MACs are of both passes"))
    if any(row.setting.precision == "bf16" for row in rows):
        how = "" if machine["bf16_in_hardware"] else "; emulated, since this machine has no instructions for it"
        lines.append(("bf16", f"under autocast; weights are bf16 in a forward step, fp32 in a training step{how}"))
    uncounted = sorted({name for row in rows for name in row.uncounted})
    if uncounted:
        lines.append(("not counted", ", ".join(uncounted)))
    return [line for line in lines if line[1]]


def _plural(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def _milliseconds(seconds: float) -> str:
    return _three_digits(1000 * seconds)


def _three_digits(value: float) -> str:
    """Return a number with at least three digits, such as "0.0123", "12.3" and "1,234"."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value < 1 else f"{value:.{1 if value >= 10 else 2}f}"
