"""`anatomy`: a network as graphs that can be drawn: its blocks in a row, and what each kind of block is inside.

Values are followed from operation to operation, so that branches, sums, concatenations and dense connections come from
what ran and not from the names of modules. What merely moves numbers is left out; a norm and an activation belong to
the layer before them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from neocog.analysis._builder import Builder
from neocog.analysis._drafts import Draft
from neocog.analysis._flow import Flow
from neocog.analysis._folding import folded
from neocog.analysis._nodes import Extent, Graph, Node, make_graph
from neocog.analysis.record import Call, Trace
from neocog.analysis.units import CONTAINERS, cut

__all__ = ["Anatomy", "Extent", "Graph", "Inside", "Node", "anatomy", "folded"]

MOST_NODES = 16
"""A block with more is drawn by the modules that it calls, and these in pictures of their own."""


@dataclass(frozen=True)
class Inside:
    """One kind of block, drawn by one of its blocks.

    Attributes:
        letter: by which it is called: "A", "B", ...
        kind: the class of the block.
        path: of the block that is drawn.
        graph: of what is in it, its inputs and outputs included.
        members: all blocks of this kind, by path.
        differ: in what the others differ from the one that is drawn: "channels", "kernel", ...
    """

    letter: str
    kind: str
    path: str
    graph: Graph
    members: tuple[str, ...]
    differ: tuple[str, ...]


@dataclass(frozen=True)
class Anatomy:
    """A network's blocks, and what is in them.

    Attributes:
        trace: what it was read from.
        overview: the whole network, each block a node.
        insides: the kinds of blocks, in the order in which they are met.
        letters: the kind of each block, by the number of its call.
    """

    trace: Trace
    overview: Graph
    insides: tuple[Inside, ...]
    letters: dict[int, str]


def anatomy(trace: Trace) -> Anatomy:
    """Read off a trace how the network is built."""
    builder = Builder(Flow(trace))
    overview = make_graph(builder, builder.build(range(len(trace.operations)), _blocks(builder), prefix=True))
    found: dict[tuple[object, ...], list[tuple[Call, Graph]]] = {}
    pending = [trace.calls[node.call] for node in overview.nodes if node.call >= 0]
    for call in pending:  # which grows by the blocks that are found in blocks
        graph = _inside(builder, call)
        found.setdefault((call.kind, graph.signature), []).append((call, graph))
        pending += [trace.calls[node.call] for node in graph.nodes if node.call >= 0]
    letters: dict[int, str] = {}
    insides = []
    for number, ((kind, _), members) in enumerate(found.items()):
        letter = _letter(number)
        letters.update((call.index, letter) for call, _ in members)
        call, graph = _telling(members)
        differ = _differences(graph, [other for _, other in members])
        insides.append(Inside(letter, str(kind), call.path, graph, tuple(each.path for each, _ in members), differ))
    return Anatomy(trace, overview, tuple(insides), letters)


def _inside(builder: Builder, call: Call) -> Graph:
    """Return what is in a block: its operations, or where they are many the modules that it calls."""
    drafts = builder.inside(call)
    if len(drafts) > MOST_NODES:
        parts = [part for part in _parts(builder.flow.trace, call) if builder.is_block(part)]
        coarse = builder.build(range(call.first, call.end), parts)
        if len(coarse) < 0.75 * len(drafts):
            drafts = coarse
    return make_graph(builder, drafts, _results(builder.flow, drafts, call))


def _blocks(builder: Builder) -> list[Call]:
    """Return the calls that are one node in the picture of the whole: those with more than one node inside.

    One that is nearly the whole network, and not small, is left to its parts.
    """
    trace = builder.flow.trace
    found = []
    for unit in cut(trace, "block"):
        calls = trace.paths[unit.path] if unit.whole else []
        whole = [call for call in calls if unit.first <= call.first and call.end <= unit.end]
        found += [call for call in whole[:1] if builder.is_block(call)]
    blocks = []
    for call in found:
        is_most = len(found) < 4 and call.end - call.first > 0.6 * len(trace.operations)
        if is_most and len(builder.inside(call)) > MOST_NODES:
            blocks += [part for part in _parts(trace, call) if builder.is_block(part)]
        else:
            blocks.append(call)
    return blocks


def _parts(trace: Trace, call: Call) -> list[Call]:
    """Return the modules that a call calls, through containers."""
    parts: list[Call] = []
    holders = {call.index}
    for other in trace.calls[call.index + 1 :]:
        if other.first >= call.end:
            break
        if other.parent in holders:
            if other.kind in CONTAINERS:
                holders.add(other.index)
            else:
                parts.append(other)
    return parts


def _results(flow: Flow, drafts: Sequence[Draft], call: Call) -> list[int]:
    """Return the numbers of the drafts of a block whose results are used outside of it."""
    outputs = set(flow.trace.outputs)
    results = []
    for number, draft in enumerate(drafts):
        for index in draft.stands_for:
            leaves = any(user >= call.end for user in flow.users[index])
            if leaves or any(value in outputs for value in flow.trace.operations[index].outputs):
                results.append(number)
                break
    return results


def _telling(members: list[tuple[Call, Graph]]) -> tuple[Call, Graph]:
    """Return the block to draw: of several inputs where some have several, the smallest, the first."""

    def inputs(graph: Graph) -> int:
        return sum(node.count for node in graph.nodes if node.kind == "input")

    several = [member for member in members if inputs(member[1]) > 1]
    return min(several or members, key=lambda member: len(member[1].nodes))


def _differences(drawn: Graph, others: Sequence[Graph]) -> tuple[str, ...]:
    """Return in what blocks of one kind differ."""
    found: dict[str, None] = {}
    for other in others:
        if len(other.nodes) != len(drawn.nodes):
            found["number of parts"] = None
            continue
        for one, two in zip(drawn.nodes, other.nodes, strict=True):
            if one.kind == "input" and one.count != two.count:
                found["number of inputs"] = None
            if one.kind != "block" and one.facts != two.facts:
                mine, theirs = dict(one.facts), dict(two.facts)
                found.update({name: None for name in {**mine, **theirs} if mine.get(name) != theirs.get(name)})
            if one.extent.sides != two.extent.sides:
                found["resolution"] = None
    return tuple(found)


def _letter(number: int) -> str:
    return _letter(number // 26 - 1) + _letter(number % 26) if number > 25 else chr(ord("A") + number)
