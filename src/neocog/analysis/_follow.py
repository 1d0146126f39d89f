"""Fields followed through a trace, from the image to every value that it reaches.

What was written into memory in place shows through every view of it; what depends on an operation without a rule has
no field, and is remembered.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from neocog.analysis import _extents as ex
from neocog.analysis._extents import Extent, image_extent
from neocog.analysis._moves import permute, view
from neocog.analysis._reach import RULES, VIEWS, Field, each, join
from neocog.analysis._reach_moves import Part, overwritten, parts_of, slice_of
from neocog.analysis.record import Operation, Trace, Value

View = tuple[Operation, int]
"""The operation that made a view, and which of its outputs it is."""


@dataclass
class Followed:
    """What is known of the values of a trace.

    Attributes:
        fields: of every value that the image reaches.
        lost: values that depend on an operation without a rule.
        unknown: such operations, each with the layer that it ran in.
    """

    fields: dict[Value, Field] = field(default_factory=dict)
    lost: set[Value] = field(default_factory=set)
    unknown: dict[tuple[str, str], None] = field(default_factory=dict)
    views: dict[Value, View] = field(default_factory=dict)  # by the value as it was made
    first: dict[Value, Value] = field(default_factory=dict)  # that value, of what was written to since


def follow(trace: Trace) -> Followed:
    """Return what is known of the values of a trace of a network that takes one image."""
    image = trace.inputs[0]
    state = Followed()
    if len(image.shape) < 3:
        return state  # not an image: there is no axis to look along
    state.fields[image] = tuple(image_extent(image.shape, dim) for dim in range(2, len(image.shape)))
    linears, within = _linears(trace)
    for operation in trace.operations:
        if operation.index in linears:
            _linear(linears[operation.index], operation, state)
        elif operation.index not in within:
            _step(operation, state)
    return state


def _linears(trace: Trace) -> tuple[dict[int, Value], set[int]]:
    """Find linear layers on tensors of many dimensions: a view as a matrix, a product with weights, a view back.

    Such a view mixes up dimensions along which positions move and others, only to tell them apart again.

    Returns:
        By the index of the second view the tensor that the layer reads; and the indices of the others.
    """
    uses: dict[Value, list[Operation]] = {}
    for operation in trace.operations:
        for value in operation.inputs:
            uses.setdefault(value, []).append(operation)
    found: dict[int, Value] = {}
    within: set[int] = set()
    for product in trace.operations:
        if product.name not in ("mm", "addmm"):
            continue
        matrix, weight = product.args[-2:]
        before, after = trace.makers.get(matrix), uses.get(product.outputs[0], [])
        if before is None or before.name not in _RESHAPES or len(uses[matrix]) != 1 or len(after) != 1:
            continue
        tensor, back = before.inputs[0], after[0]
        same = back.name in _RESHAPES and back.outputs[0].shape[:-1] == tensor.shape[:-1]
        if same and all(_is_weight(trace, value) for value in (weight, *product.args[:-2])):
            found[back.index] = tensor
            within |= {before.index, product.index}
    return found, within


_RESHAPES = {"view", "_unsafe_view", "reshape", "_reshape_alias"}


def _is_weight(trace: Trace, value: Value) -> bool:
    """Say whether a value is a parameter, perhaps transposed."""
    maker = trace.makers.get(value)
    return value.origin == "parameter" or (maker is not None and maker.name == "t" and _is_weight(trace, maker.args[0]))


def _linear(tensor: Value, operation: Operation, state: Followed) -> None:
    """Add what a linear layer makes of a tensor."""
    if tensor in state.lost:
        state.lost.update(operation.outputs)
    elif tensor in state.fields:
        state.fields[operation.outputs[0]] = each(state.fields[tensor], lambda extent: ex.reduce(extent, [-1]))


def _step(operation: Operation, state: Followed) -> None:
    """Add what one operation makes."""
    if operation.name in VIEWS and operation.inputs:
        for place, value in enumerate(operation.outputs):
            state.views[value] = operation, place
    reached = any(value in state.fields for value in operation.inputs)
    lost = any(value in state.lost for value in operation.inputs)
    if reached or lost:
        rule = RULES.get(operation.name)
        if rule is None and reached and not lost:
            state.unknown[operation.name, operation.path] = None
        if rule is None or (lost and operation.name not in _FORGET):
            state.lost.update(operation.outputs)
            state.lost.update(after for _, after in operation.touched)
            return
        for value, found in zip(operation.outputs, rule(operation, state.fields.get), strict=True):
            if found is not None:
                state.fields[value] = found
    if operation.touched:
        _spread(operation, state)


_FORGET = {name for name, rule in RULES.items() if rule is RULES["zeros_like"]}


def _spread(operation: Operation, state: Followed) -> None:
    """Carry what was written into memory over to the other views of it."""
    old, new = operation.inputs[0], operation.outputs[0]
    for before, after in operation.touched:
        state.first[after] = state.first.get(before, before)
        if before in state.lost:
            state.lost.add(after)
    written, known = state.fields.get(new), state.fields.get(old)
    state.first[new] = state.first.get(old, old)
    if written is known:  # an activation in place: all see what they saw
        for before, after in operation.touched:
            if before in state.fields:
                state.fields[after] = state.fields[before]
        return
    base, chain = _chain(old, state)
    bases = {state.first.get(before, before): (before, after) for before, after in operation.touched}
    updated: Field | None = None
    if chain and base in bases:
        before, after = bases[base]
        updated = _write(state.fields.get(before), chain, written)
        if updated is not None:
            state.fields[after] = updated
    for before, after in operation.touched:
        other, path = _chain(before, state)
        if other != base or (chain and base not in bases):
            found = _hull_of(state.fields.get(before), written, len(after.shape))
        elif not path:
            continue
        else:
            found = _replay(updated if chain else written, path)
        if found is not None:
            state.fields[after] = found


def _chain(value: Value, state: Followed) -> tuple[Value, list[View]]:
    """Return the tensor that a value is a view of, and the views that lead from there to it."""
    value = state.first.get(value, value)
    chain: list[View] = []
    while value in state.views:
        operation, place = state.views[value]
        chain.insert(0, (operation, place))
        value = state.first.get(operation.inputs[0], operation.inputs[0])
    return value, chain


def _replay(base: Field | None, chain: list[View]) -> Field | None:
    """Return the field of a view, from its tensor's."""
    for operation, place in chain:
        if base is None:
            return None
        base = RULES[operation.name](operation, lambda _, known=base: known)[place]  # type: ignore[misc]
    return base


def _write(base: Field | None, chain: list[View], written: Field | None) -> Field | None:
    """Return the field of a tensor after a view of it was overwritten."""
    if not chain:
        return written
    (operation, place), shape = chain[0], chain[0][0].inputs[0].shape
    name = operation.name.rstrip("_")
    inner = _replay(base, chain[:1])
    part = _write(inner, chain[1:], written)
    if name in ("slice", "select", "split", "split_with_sizes", "unbind"):
        where: Part
        if name == "slice":
            where = slice_of(operation)
        elif name == "select":
            where = (operation.args[1] % len(shape), operation.args[2])
        else:
            where = parts_of(operation)[place]
        return overwritten(base, part, shape, where)
    if part is None:
        return None
    if name in ("permute", "transpose", "t"):
        order = list(range(len(shape)))
        if name == "permute":
            order = sorted(order, key=lambda dim: operation.args[1][dim] % len(shape))
        elif len(shape) > 1:
            one, two = (operation.args[1], operation.args[2]) if name == "transpose" else (0, 1)
            order[one], order[two] = order[two], order[one]
        return each(part, lambda extent: permute(extent, order))
    return each(part, lambda extent: view(extent, operation.outputs[0].shape, shape))


def _hull_of(known: Field | None, written: Field | None, ndim: int) -> Field | None:
    """Return the field of a tensor of which an unknown part was overwritten: what it saw, or what any of that sees."""
    if written is None:
        return known

    def everywhere(extent: Extent) -> Extent:
        ends = ex.reduce(extent, range(extent.ndim), whole=False).ends
        return Extent(ends.reshape(ex.ROWS, 2, *[1] * ndim), (None,) * ndim)

    return join([known, each(written, everywhere)])
