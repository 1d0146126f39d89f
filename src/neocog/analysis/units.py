"""Layers, blocks and stages: the pass cut into pieces that a reader has names for.

- A *layer* is one call of a module that calls no other, or what a module does by itself between such calls (the sum
  at the end of a residual block).
- A *block* is one call of a module that joins branches by itself (a sum, a product, a concatenation), such as a
  residual block or an Inception module; outside of those a layer with weights, with the norm and activation after it.
- A *stage* is a run of blocks that end in maps of one height and width.

The pieces of a level follow each other without a gap, so that their costs add up to the network's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Literal

from neocog.analysis._rules import MOVES
from neocog.analysis.record import Call, Operation, Trace, Value

Level = Literal["layer", "block", "stage"]

_JOINS = {"add", "add_", "mul", "mul_", "cat", "sub", "maximum", "minimum", "stack", "lerp", "lerp_", "addcmul"}
CONTAINERS = {"Sequential", "ModuleList", "ModuleDict"}
_WEIGHTED = {"convolution", "_convolution", "addmm", "mm", "bmm", "linear", "deform_conv2d"}
_FOLLOWS = {
    "relu", "relu_", "hardtanh", "hardtanh_", "clamp", "clamp_", "gelu", "silu", "silu_", "sigmoid", "sigmoid_",
    "tanh", "tanh_", "hardswish", "hardswish_", "elu", "leaky_relu", "leaky_relu_", "native_batch_norm",
    "_native_batch_norm_legit", "_native_batch_norm_legit_no_training", "native_layer_norm", "native_group_norm",
    "native_dropout", "mish", "_prelu_kernel",
}  # fmt: skip


@dataclass(frozen=True)
class Unit:
    """A piece of the pass.

    Attributes:
        name: the module's, such as "layer1.0"; a stage's is that of its first and last block.
        kind: the module's class, or "function" for operations that it ran by itself, which the name then lists.
        first: index of its first operation.
        end: index after its last.
        output: what it hands on.
        path: the module that it is a call of, or lies in.
        whole: whether it is a call of that module, and not something the module does between its calls.
    """

    name: str
    kind: str
    first: int
    end: int
    output: Value
    path: str
    whole: bool = True


def cut(trace: Trace, level: Level = "layer") -> list[Unit]:
    """Cut a trace into the pieces of a level, in the order of execution."""
    if level == "layer":
        return list(_with_outputs(trace, _layers(trace)))
    blocks = _merged(trace, list(_with_outputs(trace, _blocks(trace))))
    return blocks if level == "block" else _stages(blocks)


_Piece = tuple[Call, int, int, bool]


def _layers(trace: Trace) -> Iterator[_Piece]:
    parents = {call.parent for call in trace.calls}
    yield from _cut(trace, {call.index for call in trace.calls if call.index not in parents})


def _blocks(trace: Trace) -> Iterator[_Piece]:
    joins = [operation for operation in trace.operations if _joins(trace, operation)]
    joining = {_holder(trace, operation).kind for operation in joins} - CONTAINERS
    parents = {call.parent for call in trace.calls}
    beside = _beside_blocks(trace, joining, parents)
    whole: set[int] = set()
    inside: set[int] = set()
    for call in trace.calls:
        if call.parent in whole or call.parent in inside:
            inside.add(call.index)
        elif call.parent >= 0 and (call.kind in joining or call.index in beside or call.index not in parents):
            whole.add(call.index)
    yield from _cut(trace, whole)


def _beside_blocks(trace: Trace, joining: set[str], parents: set[int]) -> set[int]:
    """Return the calls that stand in one container with blocks, and so are blocks, though they join nothing.

    Such is the first block of MobileNetV2, whose width changes, and a transition of DenseNet.
    """
    rows: dict[int, list[Call]] = {}
    for call in trace.calls:
        if call.parent >= 0 and call.kind not in CONTAINERS and call.index in parents:
            holder = trace.calls[call.parent]
            while holder.kind in CONTAINERS and holder.parent >= 0 and trace.calls[holder.parent].kind in CONTAINERS:
                holder = trace.calls[holder.parent]
            if holder.kind in CONTAINERS:
                rows.setdefault(holder.index, []).append(call)
    beside: set[int] = set()
    for row in rows.values():
        blocks = {call.kind for call in row} & joining
        spans = [(call.first, call.end) for call in trace.calls if call.kind in blocks]
        others = [call for call in row if blocks and call.kind not in blocks]
        beside |= {c.index for c in others if not any(c.first <= first and end <= c.end for first, end in spans)}
    return beside


def _joins(trace: Trace, operation: Operation) -> bool:
    """Say whether an operation makes one map of several that the network computed."""
    return operation.name in _JOINS and sum(value.origin == "operation" for value in operation.inputs) > 1


def _holder(trace: Trace, operation: Operation) -> Call:
    """Return the call that an operation is a part of.

    A module that runs layers of another, as stochastic depth does, is a part of the one that has the layers.
    """
    call = trace.calls[operation.call]
    while call.index in trace.borrowing:
        call = trace.calls[call.parent]
    return call


def _cut(trace: Trace, whole: set[int]) -> Iterator[_Piece]:
    """Cut the operations into the calls `whole` and what lies between them."""
    owner: list[tuple[int, bool]] = [(operation.call, False) for operation in trace.operations]
    for index in sorted(whole):
        call = trace.calls[index]
        owner[call.first : call.end] = [(index, True)] * (call.end - call.first)
    start = 0
    for place in range(1, len(owner) + 1):
        if place == len(owner) or owner[place] != owner[start]:
            index, is_whole = owner[start]
            yield trace.calls[index], start, place, is_whole
            start = place


def _with_outputs(trace: Trace, pieces: Iterator[_Piece]) -> Iterator[Unit]:
    for call, first, end, whole in pieces:
        operations = trace.operations[first:end]
        made = [value for operation in operations for value in operation.outputs]
        if not made:
            continue
        if whole:
            output = call.outputs[0] if call.outputs else made[-1]
            yield Unit(call.path, call.kind, first, end, output, call.path)
        else:
            names = dict.fromkeys(each.name.strip("_") for each in operations if each.name not in MOVES)
            name = f"({', '.join(names or {operations[-1].name: None})})"
            path = f"{call.path}.{name}" if call.path else name
            yield Unit(path, "function", first, end, made[-1], call.path, whole=False)


def _merged(trace: Trace, blocks: list[Unit]) -> list[Unit]:
    """Join a norm and an activation to the layer with weights before them, and loose operations to what they follow."""
    merged: list[Unit] = []
    start = -1  # of moves that a module begins with: they go with what it does next, not with what came before it
    for unit, following in zip_longest(blocks, blocks[1:]):
        operations = trace.operations[unit.first : unit.end]
        names = {operation.name for operation in operations}
        loose = not unit.whole and names <= (MOVES | _FOLLOWS)
        if loose and names <= MOVES and merged and following and _enters(unit, merged[-1], following):
            start = unit.first if start < 0 else start
            continue
        follows = names & _FOLLOWS and not names & _WEIGHTED
        if merged and (loose or (follows and _is_single(trace, merged[-1]) and _is_single(trace, unit))):
            merged[-1] = replace(merged[-1], end=unit.end, output=unit.output)
        else:
            merged.append(unit if start < 0 else replace(unit, first=start))
            start = -1
    return merged


def _enters(unit: Unit, before: Unit, after: Unit) -> bool:
    """Say whether a module that does not hold what came before a unit begins with it."""
    within = f"{unit.path}."
    return bool(unit.path) and after.path.startswith(within) and not f"{before.path}.".startswith(within)


def _is_single(trace: Trace, unit: Unit) -> bool:
    """Say whether a unit is a layer and not a whole block."""
    return not any(call.parent >= 0 and call.path.startswith(f"{unit.path}.") for call in trace.calls if unit.path)


def _stages(blocks: Sequence[Unit]) -> list[Unit]:
    stages: list[list[Unit]] = []
    for unit in blocks:
        if stages and _grid(stages[-1][-1].output) == _grid(unit.output):
            stages[-1].append(unit)
        else:
            stages.append([unit])
    return [_stage(run) for run in stages]


def _grid(value: Value) -> tuple[int, ...]:
    """Return what stays the same in a stage: height and width of maps, or the number of tokens."""
    shape = value.shape
    if len(shape) == 4:
        # Channels-last maps (Swin) have their channels at the end, and more of them than either side.
        return shape[1:3] if shape[1] == shape[2] != shape[3] else shape[2:]
    return shape[1:-1]


def _stage(run: list[Unit]) -> Unit:
    first, last = run[0], run[-1]
    common = _common_path(first.path, last.path)
    name = common or (first.name if first is last else f"{first.name} .. {last.name}")
    count = sum(unit.whole for unit in run)
    kinds = dict.fromkeys(unit.kind for unit in run)
    kind = f"{count} x {next(iter(kinds))}" if len(kinds) == 1 and count > 1 else ", ".join(kinds)
    return Unit(name, kind, first.first, last.end, last.output, common)


def _common_path(first: str, last: str) -> str:
    """Return the module that holds both."""
    parts = []
    for one, other in zip(first.split("."), last.split("."), strict=False):
        if one != other:
            break
        parts.append(one)
    return ".".join(parts)
