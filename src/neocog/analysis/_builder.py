"""Operations made into the nodes of a graph: those that only move numbers left out, small ones folded into large."""

from __future__ import annotations

from collections.abc import Iterable

from neocog.analysis._attention import ATTENTION
from neocog.analysis._drafts import (
    WEIGHTED,
    Draft,
    drop_splits,
    fold_after,
    fold_before,
    merge_attention,
    merge_patches,
    note_patches,
)
from neocog.analysis._flow import INPUT, Flow
from neocog.analysis._roles import NORMS, Role, role
from neocog.analysis.record import Call, Operation
from neocog.analysis.units import CONTAINERS

MOST_OPERATIONS = 60
"""A module with more that calls no others, such as an LSTM step by step, is one node: nobody could read it."""
_SHORT = {"LocalResponseNorm": "LRN", "LayerNorm2d": "LN", "RMSNorm2d": "RMSNorm"}


class Builder:
    """Makes nodes of any part of one trace."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self._small = _small_modules(flow)
        self._inner: dict[int, list[Draft]] = {}

    def inside(self, call: Call) -> list[Draft]:
        """Return the nodes of the operations in a call, what comes from outside first."""
        if call.index not in self._inner:
            self._inner[call.index] = self.build(range(call.first, call.end))
        return self._inner[call.index]

    def is_block(self, call: Call) -> bool:
        """Say whether there is more than one node in a call."""
        return call.end - call.first > 1 and sum(draft.kind != "input" for draft in self.inside(call)) > 1

    def build(self, span: range, calls: Iterable[Call] = (), *, prefix: bool = False) -> list[Draft]:
        """Return the nodes of the operations in `span`, in the order of execution.

        Args:
            span: numbers of operations.
            calls: that are to be one node each.
            prefix: fold a norm that stands alone into the layer after it.
        """
        drafts = _Collector(self.flow, span, self._small, calls).drafts
        for step in (merge_attention, merge_patches, drop_splits, fold_after):
            drafts = step(self.flow, drafts)
        note_patches(drafts)
        return fold_before(drafts) if prefix else drafts


class _Collector:
    """Goes through operations in order and makes the first drafts of their nodes.

    Attributes:
        drafts: nodes, each after those that it takes from.
    """

    def __init__(self, flow: Flow, span: range, small: dict[int, tuple[Call, Role]], calls: Iterable[Call]) -> None:
        self.flow, self.span = flow, span
        self.drafts: list[Draft] = []
        self._stands: dict[int, tuple[Draft, ...]] = {}  # what the result of an operation is drawn as
        self._outside: dict[int, Draft] = {}
        self._of_call: dict[int, Draft] = {}
        owner = {index: call for call in calls for index in range(call.first, call.end)}
        for index in span:
            if flow.takes[index]:
                given = self._sources(index)
                if index in owner:
                    self._add_to(owner[index], Role("block", owner[index].kind), owner[index].index, index, given)
                elif index in small:
                    self._add_to(*small[index], -1, index, given)
                else:
                    self._add(index, given)

    def _sources(self, index: int) -> tuple[Draft, ...]:
        """Return the nodes that an operation takes from; what comes from outside of the span becomes one."""
        found: dict[Draft, None] = {}
        for source in self.flow.sources(index):
            if source in self.span:
                found.update(dict.fromkeys(self._stands[source]))
                continue
            place = _origin(self.flow, source)
            if place not in self._outside:
                value = next(value for value in self.flow.takes[index] if self.flow.maker[value] == source)
                draft = Draft("input", "input", "", value.shape, self.flow.order_of(value), {}, [])
                self._outside[place] = draft
                self.drafts.append(draft)
            found[self._outside[place]] = None
        return tuple(found)

    def _add(self, index: int, given: tuple[Draft, ...]) -> None:
        """Make a node of an operation, or let it stand for what it takes where it only moves that."""
        operation = self.flow.trace.operations[index]
        found = role(operation, self.flow)
        if found is None:
            for each in given:
                if each.kind != "input":
                    each.stands_for.append(index)
            self._stands[index] = given
            return
        draft = self._draft(found, operation.path, _handed_on(self.flow, operation, self.span), index)
        draft.sources.update(dict.fromkeys(given))
        draft.stands_for.append(index)
        self._stands[index] = (draft,)

    def _add_to(self, call: Call, found: Role, number: int, index: int, given: tuple[Draft, ...]) -> None:
        """Make an operation a part of the node that a call is; `number` is the call's, or -1 where it is a layer."""
        operation = self.flow.trace.operations[index]
        returned = (call.outputs or operation.outputs)[0].shape
        if call.index not in self._of_call:
            draft = self._draft(found, call.path, returned, index)
            draft.call = number
            self._of_call[call.index] = draft
        draft = self._of_call[call.index]
        draft.sources.update((each, None) for each in given if each is not draft)
        if any(value.shape == returned for value in operation.outputs):
            draft.order = self.flow.order[index]
        draft.stands_for.append(index)
        self._stands[index] = (draft,)

    def _draft(self, found: Role, path: str, shape: tuple[int, ...], index: int) -> Draft:
        takes, order = self.flow.takes[index][0].shape, self.flow.order[index]
        draft = Draft(found.kind, found.does, path, shape, order, {}, [], found.facts, takes=takes)
        self.drafts.append(draft)
        return draft


def _origin(flow: Flow, source: int) -> int:
    """Return the operation that computed what `source` merely moved."""
    while source != INPUT and role(flow.trace.operations[source], flow) is None:
        before = flow.sources(source)
        operation = flow.trace.operations[source]
        if len(before) != 1 or operation.outputs[0].numel != flow.takes[source][0].numel:
            break
        source = before[0]
    return source


def _handed_on(flow: Flow, operation: Operation, span: range) -> tuple[int, ...]:
    """Return the shape of a result as its layer hands it on: a linear one flattens the grid and restores it."""
    shape = operation.outputs[0].shape
    if operation.name == ATTENTION:  # (N, heads, tokens, width), whose heads go side by side
        return (*shape[:-3], shape[-2], shape[-3] * shape[-1]) if len(shape) > 3 else shape
    if len(shape) == 5 and operation.name == "transpose":  # a shuffle of channels, between two views
        return flow.trace.operations[flow.maker[operation.inputs[0]]].inputs[0].shape
    if operation.name in ("addmm", "mm", "bmm") and operation.index + 1 < span.stop:
        following = flow.trace.operations[operation.index + 1]
        is_view = "view" in following.name and following.path == operation.path
        if is_view and following.inputs[0] is operation.outputs[0]:
            return following.outputs[0].shape
    return shape


def _small_modules(flow: Flow) -> dict[int, tuple[Call, Role]]:
    """Return the modules that are one node though they are made of several operations, by each of these."""
    found: dict[int, tuple[Call, Role]] = {}
    for call in flow.trace.leaves():
        if call.parent >= 0 and call.kind not in CONTAINERS and (its := _small_module(flow, call)):
            found.update(dict.fromkeys(range(call.first, call.end), (call, its)))
    return found


def _small_module(flow: Flow, call: Call) -> Role | None:
    """Return the role of a norm or an activation made of several operations, or of very many; None for another."""
    operations = [each for each in flow.trace.within(call) if flow.takes[each.index]]
    roles = [found for each in operations if (found := role(each, flow))]
    if len(roles) > MOST_OPERATIONS:
        return Role("other", call.kind)
    if len(call.inputs) != 1 or len(call.outputs) != 1 or call.inputs[0].shape != call.outputs[0].shape:
        return None
    if len(roles) < 2 or any(found.kind in (*WEIGHTED, "attention", "concat") for found in roles):
        return None
    if "norm" in call.kind.lower():
        known = next((NORMS[each.name] for each in operations if each.name in NORMS), None)
        does = known or _SHORT.get(call.kind, call.kind)
        return Role("norm", does, (("norm", does),))
    plain = all(each.outputs[0].shape == call.inputs[0].shape for each in operations if each.outputs)
    learned = any(value.origin == "parameter" for each in operations for value in each.inputs)
    if plain and not learned and all(found.kind != "move" for found in roles):
        return Role("activation", call.kind, (("activation", call.kind),))
    return None
