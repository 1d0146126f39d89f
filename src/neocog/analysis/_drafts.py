"""Nodes in the making, and the steps that join small ones to large ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from neocog.analysis._flow import Flow, Order
from neocog.analysis._roles import Facts, Kind, attention

WEIGHTED: tuple[Kind, ...] = ("convolution", "depthwise", "linear")


@dataclass(eq=False)
class Draft:
    """A node in the making; its `sources` are drafts too, and it `stands_for` operations by number."""

    kind: Kind
    does: str
    path: str
    shape: tuple[int, ...]
    order: Order
    sources: dict[Draft, None]
    stands_for: list[int]
    facts: Facts = ()
    before: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)
    call: int = -1
    takes: tuple[int, ...] = ()  # the shape of what it is given


def _users(drafts: Sequence[Draft]) -> dict[Draft, list[Draft]]:
    users: dict[Draft, list[Draft]] = {draft: [] for draft in drafts}
    for draft in drafts:
        for source in draft.sources:
            users[source].append(draft)
    return users


def _without(drafts: Sequence[Draft], gone: dict[Draft, tuple[Draft, ...]]) -> list[Draft]:
    """Return the drafts less some, each of which is replaced as a source by others."""
    kept = [draft for draft in drafts if draft not in gone]
    for draft in kept:
        sources = dict(draft.sources)
        while any(source in gone for source in sources):
            sources = {new: None for source in sources for new in gone.get(source, (source,)) if new is not draft}
        draft.sources = sources
    return kept


def merge_attention(flow: Flow, drafts: list[Draft]) -> list[Draft]:
    """Make a product, a softmax and a product into one node, as attention is where it is one operation."""
    users = _users(drafts)
    gone: dict[Draft, tuple[Draft, ...]] = {}
    for draft in drafts:
        if draft.does != "softmax":
            continue
        above, below = [draft], [draft]
        while len(above) < 6 and above[-1].does != "matrix product" and len(above[-1].sources) == 1:
            above.append(next(iter(above[-1].sources)))
        while len(below) < 4 and below[-1].does != "matrix product" and len(users[below[-1]]) == 1:
            below.append(users[below[-1]][0])
        chain = [*reversed(above), *below[1:]]
        first, last = chain[0], chain[-1]
        if not first.does == last.does == "matrix product" or first is last:
            continue
        if any(len(users[each]) > 1 for each in chain[:-1]) or any(each.kind in WEIGHTED for each in chain):
            continue
        scores = flow.takes[draft.stands_for[0]][0]
        found = attention(scores, flow.batch)
        last.kind, last.does, last.facts = found.kind, found.does, found.facts
        last.takes = first.takes
        if len(scores.shape) > 3:  # the product itself is of matrices of all heads
            last.shape = (*scores.shape[:-3], scores.shape[-2], scores.shape[-3] * last.shape[-1])
            last.order = "last"
        for each in chain[:-1]:
            last.sources.update(each.sources)
            last.stands_for = [*each.stands_for, *last.stands_for]
            gone[each] = ()
        last.sources.pop(last, None)
    return _without(drafts, gone)


def merge_patches(flow: Flow, drafts: list[Draft]) -> list[Draft]:
    """Make a concatenation of every second pixel, each from another corner, into one node."""
    users = _users(drafts)
    gone: dict[Draft, tuple[Draft, ...]] = {}
    for draft in drafts:
        corners = list(draft.sources)
        while corners and all(each.does.startswith("every") and users[each] for each in corners):
            corners = list(dict.fromkeys(source for each in corners for source in each.sources))
        if draft.kind == "concat" and len(corners) == 1 and len(draft.sources) > 1:
            pending = list(draft.sources)
            while pending:
                each = pending.pop()
                if each is not corners[0] and each not in gone:
                    gone[each] = ()
                    pending += each.sources
            draft.sources = {corners[0]: None}
            draft.kind, draft.does = "move", "join 2×2 patches"
    return _without(drafts, gone)


def note_patches(drafts: list[Draft]) -> None:
    """Say where a layer takes neighbouring positions as channels of one, which views and permutations do."""
    for draft in drafts:
        given = [source.shape for source in draft.sources if len(source.shape) == len(draft.takes) == 4]
        for _, high, wide, channels in given[:1] if len(draft.sources) == 1 else []:
            _, rows, columns, width = draft.takes
            side = high // max(rows, 1)
            if side > 1 and (high, wide, width) == (side * rows, side * columns, side * side * channels):
                draft.before.insert(0, f"join {side}×{side} patches")


def drop_splits(flow: Flow, drafts: list[Draft]) -> list[Draft]:
    """Leave out a split whose parts go to one place, such as the queries, keys and values of attention."""
    users = _users(drafts)
    gone = {each: tuple(each.sources) for each in drafts if each.kind == "split" and len(users[each]) < 2}
    for each in gone:
        for source in each.sources:
            if source.kind != "input":
                source.stands_for += each.stands_for
    return _without(drafts, gone)


def fold_after(flow: Flow, drafts: list[Draft]) -> list[Draft]:
    """Fold norms, activations and learned scales into the node before them, where nothing else uses that."""
    folds: dict[Kind, tuple[Kind, ...]] = {
        "norm": WEIGHTED,
        "activation": (*WEIGHTED, "norm", "pool", "add", "multiply", "concat", "scale"),
        "scale": (*WEIGHTED, "block", "attention"),
        "move": ("move",),
    }
    users = _users(drafts)
    home: dict[Draft, Draft] = {}
    gone: dict[Draft, tuple[Draft, ...]] = {}
    for draft in drafts:
        if len(draft.sources) != 1:
            continue
        source = next(iter(draft.sources))
        into = home.get(source, source)
        gates = draft.does == "sigmoid" and draft.kind == "activation" and into.kind in ("norm", "add", "concat")
        if into.kind in folds.get(draft.kind, ()) and len(users[source]) == 1 and not gates and draft.does != "softmax":
            if draft.kind != "move" or draft.does not in (into.does, *into.after):
                into.after.append(draft.does)
            into.facts = tuple(dict((*into.facts, *draft.facts)).items())
            into.shape, into.order = draft.shape, draft.order
            into.stands_for += draft.stands_for
            home[draft], gone[draft] = into, (into,)
    return _without(drafts, gone)


def fold_before(drafts: list[Draft]) -> list[Draft]:
    """Fold a norm that stands alone, or a move, into the layer after it, where nothing else uses it."""
    users = _users(drafts)
    gone: dict[Draft, tuple[Draft, ...]] = {}
    for draft in drafts:
        if draft.kind in ("norm", "move", "scale", "activation") and len(users[draft]) == 1 and len(draft.sources) == 1:
            user = users[draft][0]
            if user.kind in (*WEIGHTED, "pool") and len(user.sources) == 1:
                user.before = [*draft.before, draft.does, *draft.after, *user.before]
                user.stands_for = [*draft.stands_for, *user.stands_for]
                user.takes = draft.takes
                gone[draft] = tuple(draft.sources)
    return _without(drafts, gone)
