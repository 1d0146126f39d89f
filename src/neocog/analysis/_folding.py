"""Graphs made shorter: like nodes that follow each other become one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from neocog.analysis._nodes import Graph, Node


def folded(graph: Graph) -> Graph:
    """Return a graph in which like nodes that follow each other are one, and so are like runs of up to four nodes."""
    single = _follows_alone(graph)
    keys = [_alike(node) for node in graph.nodes]
    runs: list[list[int]] = []
    for index in range(len(graph.nodes)):
        if single[index] and keys[index] == keys[index - 1] and graph.nodes[index].kind != "input":
            runs[-1].append(index)
        else:
            runs.append([index])
    first = _joined(graph, runs)
    single = _follows_alone(first)
    keys = [(*_alike(node), node.count) for node in first.nodes]
    groups: list[list[int]] = []
    repeats: list[tuple[int, int, int]] = []
    index = 0
    while index < len(first.nodes):
        period, times = max(
            ((period, _repetitions(keys, single, index, period)) for period in range(1, 5)),
            key=lambda found: (found[1] - 1) * found[0],
        )
        if (times - 1) * period < 2 or period == 1:
            period, times = 1, 1
        else:
            repeats.append((len(groups), len(groups) + period - 1, times))
        groups += [list(range(index + place, index + period * times, period)) for place in range(period)]
        index += period * times
    return replace(_joined(first, groups), repeats=tuple(repeats))


def _repetitions(keys: Sequence[object], single: Sequence[bool], start: int, period: int) -> int:
    """Return how often the `period` nodes at `start` follow upon themselves."""
    times = 1
    while (end := start + (times + 1) * period) <= len(keys):
        if not all(single[start + 1 : end]) or keys[end - period : end] != keys[start : start + period]:
            break
        times += 1
    return times


def _follows_alone(graph: Graph) -> list[bool]:
    """Say of each node whether it takes from the one before it only, and is the only one to take from that."""
    sources: list[list[int]] = [[] for _ in graph.nodes]
    users = [0] * len(graph.nodes)
    for start, end in graph.edges:
        sources[end].append(start)
        users[start] += 1
    return [given == [index - 1] and users[index - 1] == 1 for index, given in enumerate(sources)]


def _joined(graph: Graph, groups: Sequence[Sequence[int]]) -> Graph:
    """Return a graph with each group of like nodes as one."""
    home = {index: number for number, group in enumerate(groups) for index in group}
    nodes = []
    for group in groups:
        members = [graph.nodes[index] for index in group]
        node = members[0]
        if len(members) > 1:
            # Nodes that lie side by side are counted; those of a repeated run are counted with the run.
            beside = group[-1] - group[0] == len(group) - 1
            node = replace(
                node,
                count=sum(each.count for each in members) if beside else node.count,
                paths=tuple(path for each in members for path in (each.paths or (each.path,))),
                calls=tuple(call for each in members for call in (each.calls or (each.call,))),
            )
        nodes.append(node)
    edges = [(home[start], home[end]) for start, end in graph.edges]
    return Graph(tuple(nodes), tuple(dict.fromkeys((start, end) for start, end in edges if start < end)))


def _alike(node: Node) -> tuple[object, ...]:
    return (node.kind, node.does, node.before, node.after, node.extent.sides, node.extent.channels)
