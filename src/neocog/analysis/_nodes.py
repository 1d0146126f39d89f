"""The graphs that drawings are made of: nodes with their sizes, and edges."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from neocog.analysis._builder import Builder
from neocog.analysis._drafts import Draft
from neocog.analysis._roles import Facts, Kind


@dataclass(frozen=True)
class Extent:
    """The size of what a node hands on, for one image.

    Attributes:
        channels: how many.
        sides: of the grid: height and width of maps, the number of tokens, nothing for a vector.
        windows: into how many parts an image is cut, which the network takes for images of their own.
        shape: as it lies in memory, without the batch.
    """

    channels: int
    sides: tuple[int, ...]
    windows: int
    shape: tuple[int, ...]

    def __str__(self) -> str:
        shape = (self.channels, *self.sides) if len(self.sides) > 1 else self.shape
        return (f"{self.windows} windows × " if self.windows > 1 else "") + " × ".join(map(str, shape))


@dataclass(frozen=True)
class Node:
    """A layer, a block, or a point where branches meet.

    Attributes:
        kind: what it is.
        does: in words, such as "3×3 conv, 64, /2"; of a block its class.
        path: the module that does it.
        before: norms and activations that its input goes through first.
        after: those that its output goes through.
        extent: of what it hands on.
        facts: what may differ between nodes that do the same.
        work: of a block, the kind of its operations that characterises it; else `kind`.
        call: of a block, its number in `Trace.calls`; else -1.
        operations: numbers of the first operation and of the one after the last.
        count: how many such nodes follow each other, where they were folded into one.
        paths: of all of them.
        calls: likewise.
        extents: of several inputs that go to the same places and are drawn as one.
    """

    kind: Kind
    does: str
    path: str
    before: tuple[str, ...]
    after: tuple[str, ...]
    extent: Extent
    facts: Facts
    work: Kind
    call: int
    operations: tuple[int, int]
    count: int = 1
    paths: tuple[str, ...] = ()
    calls: tuple[int, ...] = ()
    extents: tuple[Extent, ...] = ()


@dataclass(frozen=True)
class Graph:
    """Nodes in the order of execution, and edges between their numbers.

    Attributes:
        nodes: what there is.
        edges: what hands something to what.
        repeats: first node, last node, and how often what is from the one to the other follows upon itself.
    """

    nodes: tuple[Node, ...]
    edges: tuple[tuple[int, int], ...]
    repeats: tuple[tuple[int, int, int], ...] = ()

    def into(self, node: int) -> list[int]:
        """Return the nodes that hand something to `node`."""
        return [start for start, end in self.edges if end == node]

    def out_of(self, node: int) -> list[int]:
        """Return the nodes that take something from `node`."""
        return [end for start, end in self.edges if start == node]

    @cached_property
    def signature(self) -> tuple[object, ...]:
        """What two graphs of the same structure share; sizes, strides and names may differ."""
        if any(node.kind == "block" for node in self.nodes):
            return tuple(sorted({(node.kind, node.does if node.kind == "block" else "") for node in self.nodes}))
        return (tuple((node.kind, len(node.before) > 0) for node in self.nodes), self.edges)


def make_graph(builder: Builder, drafts: Sequence[Draft], results: Iterable[int] = ()) -> Graph:
    """Return drafts as nodes and edges, with a node for each result that leaves."""
    numbers = {id(draft): number for number, draft in enumerate(drafts)}
    nodes = [_node(builder, draft) for draft in drafts]
    edges = [(numbers[id(source)], numbers[id(draft)]) for draft in drafts for source in draft.sources]
    for result in sorted(results):
        edges.append((result, len(nodes)))
        given = nodes[result]
        nodes.append(
            replace(given, kind="output", does="output", path="", before=(), after=(), facts=(), work="output", call=-1)
        )
    return _with_one_input_each(Graph(tuple(nodes), tuple(edges)))


def _with_one_input_each(graph: Graph) -> Graph:
    """Return a graph in which inputs that go to the same places are one: a dense layer has many."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, node in enumerate(graph.nodes):
        if node.kind == "input":
            groups.setdefault(tuple(graph.out_of(index)), []).append(index)
    joined = {index: group[0] for group in groups.values() for index in group}
    kept = [index for index in range(len(graph.nodes)) if joined.get(index, index) == index]
    numbers = {index: number for number, index in enumerate(kept)}
    nodes = []
    for index in kept:
        group = next((group for group in groups.values() if group[0] == index), [index])
        node = graph.nodes[index]
        if len(group) > 1:
            extents = tuple(graph.nodes[each].extent for each in group)
            node = replace(node, does=f"{len(group)} inputs", count=len(group), extents=extents)
        nodes.append(node)
    edges = dict.fromkeys((numbers[joined.get(start, start)], numbers[end]) for start, end in graph.edges)
    return Graph(tuple(nodes), tuple(edges))


def _node(builder: Builder, draft: Draft) -> Node:
    is_block = draft.call >= 0
    return Node(
        kind=draft.kind,
        does=draft.does,
        path=draft.path,
        before=tuple(draft.before),
        after=tuple(draft.after),
        extent=_extent(draft, builder.flow.batch),
        facts=tuple(draft.facts),
        work=_work(builder.inside(builder.flow.trace.calls[draft.call])) if is_block else draft.kind,
        call=draft.call,
        operations=(min(draft.stands_for, default=0), max(draft.stands_for, default=-1) + 1),
    )


def _extent(draft: Draft, batch: int) -> Extent:
    shape = draft.shape
    if not shape:
        return Extent(1, (), 1, ())
    if len(shape) == 3 and shape[1] == batch != shape[0]:  # tokens before images, as attention in torch.nn has them
        shape = (shape[1], shape[0], shape[2])
    windows = shape[0] // batch if batch and shape[0] % batch == 0 else 1
    rest = shape[1:]
    if len(rest) == 1 and windows > 1:  # tokens of all images in one matrix
        return Extent(rest[0], (windows,), 1, (windows, *rest))
    if not rest:
        return Extent(1, (), windows, shape)
    one_position = len(rest) == 3 and rest[1:] == (1, 1)  # a vector as a map, also where a linear layer made it
    channels, sides = (rest[0], rest[1:]) if draft.order == "first" or one_position else (rest[-1], rest[:-1])
    if set(sides) == {1}:
        sides, rest = (), (channels,)
    return Extent(channels, sides, windows, rest)


def _work(inside: Sequence[Draft]) -> Kind:
    """Return the kind of operation that characterises a block of these nodes."""
    kinds = {draft.kind for draft in inside}
    order: tuple[Kind, ...] = ("attention", "depthwise", "convolution", "linear", "pool", "norm")
    return next((kind for kind in order if kind in kinds), "other")
