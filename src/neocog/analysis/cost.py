"""`count_cost`: what a network costs, layer by layer: parameters, MACs, FLOPs and memory, read from a trace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import prod

from neocog.analysis._recorder import ATTENTION
from neocog.analysis._rules import Work, work
from neocog.analysis.memory import inference_peak, kept_for_backward
from neocog.analysis.record import Operation, Storage, Trace, Value
from neocog.analysis.units import Level, Unit, cut


@dataclass(frozen=True)
class Row:
    """What one layer, block or stage costs, for the whole batch.

    Attributes:
        name: the module's name; see `Unit`.
        kind: its class.
        shape: of its output, the batch first.
        parameters: numbers that are learned, those it uses first; a shared tensor is counted where it is met first.
        macs: multiply-adds of products.
        flops: floating-point operations: two a MAC, and those outside of products.
        backward_macs: multiply-adds of the products of its backward pass; 0 in a trace of evaluation.
        weight_bytes: bytes of its parameters and buffers.
        activation_bytes: bytes that it leaves behind for what follows; 0 where it wrote into its input.
        kept_bytes: bytes made in it that autograd keeps for the backward pass; 0 in a trace of evaluation.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int = 0
    macs: int = 0
    flops: int = 0
    backward_macs: int = 0
    weight_bytes: int = 0
    activation_bytes: int = 0
    kept_bytes: int = 0


@dataclass(frozen=True)
class Cost:
    """What a network costs.

    Attributes:
        trace: what it was read from.
        level: of the rows.
        rows: a layer, block or stage each, in the order of execution.
        parameters: of the network, those that did not run included.
        idle_parameters: those that did not run, such as an auxiliary head's.
        uncounted: operations without a rule: by name, how often each ran.
    """

    trace: Trace = field(repr=False)
    level: Level
    rows: tuple[Row, ...]
    parameters: int
    idle_parameters: int
    uncounted: dict[str, int]

    @property
    def macs(self) -> int:
        """Multiply-adds of the forward pass, for the whole batch."""
        return sum(row.macs for row in self.rows)

    @property
    def flops(self) -> int:
        """Floating-point operations of the forward pass, for the whole batch."""
        return sum(row.flops for row in self.rows)

    @property
    def backward_macs(self) -> int:
        """Multiply-adds of the backward pass, for the whole batch; 0 in a trace of evaluation."""
        return sum(row.backward_macs for row in self.rows)

    @cached_property
    def weight_bytes(self) -> int:
        """Bytes of all parameters and buffers."""
        values = (*self.trace.parameters.values(), *self.trace.buffers.values())
        return sum(_size(value) for value in values)

    @property
    def input_bytes(self) -> int:
        """Bytes of the images."""
        return sum(_size(value) for value in self.trace.inputs)

    @property
    def activation_bytes(self) -> int:
        """Bytes of the images and of all that the rows leave behind, as if nothing were freed."""
        return self.input_bytes + sum(row.activation_bytes for row in self.rows)

    @cached_property
    def peak_bytes(self) -> int:
        """The most bytes of activations alive at once in evaluation, the images included."""
        return inference_peak(self.trace)

    @cached_property
    def kept_bytes(self) -> int:
        """Bytes that autograd keeps for the backward pass; 0 in a trace of evaluation."""
        return kept_for_backward(self.trace) if self.trace.training else 0


def count_cost(trace: Trace, level: Level = "layer") -> Cost:
    """Count what a traced network costs.

        >>> count_cost(trace_forward(create_model("resnet50"))).macs
        4089184256

    Args:
        trace: a forward pass; one of training adds `backward_macs` and `kept_bytes`.
        level: of the rows.
    """
    works = [work(operation) for operation in trace.operations]
    uncounted: dict[str, int] = {}
    for operation, found in zip(trace.operations, works, strict=True):
        if found is None:
            uncounted[operation.name] = uncounted.get(operation.name, 0) + 1
    backward = [_backward(operation, found) for operation, found in zip(trace.operations, works, strict=True)]
    memory = _memory(trace)
    seen: set[int] = set()
    rows = [_row(trace, unit, works, backward, memory, seen) for unit in cut(trace, level)]
    parameters = sum(value.numel for value in trace.parameters.values())
    idle = parameters - sum(row.parameters for row in rows)
    shown = [row for row in rows if row.flops or row.parameters or row.activation_bytes or row.kept_bytes]
    return Cost(trace, level, tuple(shown), parameters, idle, dict(sorted(uncounted.items())))


def _row(
    trace: Trace,
    unit: Unit,
    works: Sequence[Work | None],
    backward: Sequence[int],
    memory: dict[int, list[Storage]],
    seen: set[int],
) -> Row:
    """Return the row of a unit; `seen` holds the memory of the weights that earlier rows counted."""
    done = [each for each in works[unit.first : unit.end] if each is not None]
    fresh: dict[int, Value] = {}
    for operation in trace.operations[unit.first : unit.end]:
        for value in operation.inputs:
            if value.origin in ("parameter", "buffer") and value.storage not in seen:
                fresh[value.storage] = value
    seen.update(fresh)
    made = [storage for maker in range(unit.first, unit.end) for storage in memory.get(maker, ())]
    return Row(
        name=unit.name,
        kind=unit.kind,
        shape=unit.output.shape,
        parameters=sum(value.numel for value in fresh.values() if value.origin == "parameter"),
        macs=sum(each.macs for each in done),
        flops=sum(each.flops for each in done),
        backward_macs=sum(backward[unit.first : unit.end]),
        weight_bytes=sum(_size(value) for value in fresh.values()),
        activation_bytes=sum(each.size for each in made if each.last_use >= unit.end or each.is_output),
        kept_bytes=sum(each.size for each in made if each.is_kept),
    )


def _memory(trace: Trace) -> dict[int, list[Storage]]:
    """Return the memory that each operation allocated."""
    memory: dict[int, list[Storage]] = {}
    for storage in trace.storages:
        if storage.origin == "operation":
            memory.setdefault(storage.maker, []).append(storage)
    return memory


def _backward(operation: Operation, forward: Work | None) -> int:
    """Return the multiply-adds that an operation's backward pass makes.

    The gradient by each of a product's two factors is a product of the same size; a factor that nothing learned
    went into, such as the images, needs none.
    """
    if not forward or not forward.macs:
        return 0
    if operation.name == ATTENTION:
        return _attention_backward(operation) if any(operation.learned) else 0
    first = 1 if operation.name.startswith(("addm", "badd")) else 0
    return forward.macs * sum(operation.learned[first : first + 2])


def _attention_backward(operation: Operation) -> int:
    """Return the multiply-adds of attention's backward pass, in which no kernel leaves one gradient out.

    The scores are computed again from queries and keys; then come the gradients by weights, values, queries and keys.
    """
    query, key, value = operation.inputs[:3]
    pairs = prod(operation.outputs[0].shape[:-1]) * key.shape[-2]
    return pairs * (3 * query.shape[-1] + 2 * value.shape[-1])


def _size(value: Value) -> int:
    return value.numel * value.dtype.itemsize
