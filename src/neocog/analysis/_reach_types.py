"""What a rule of reach is: see `_reach`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from neocog.analysis._extents import Extent, changed
from neocog.analysis.record import Operation, Value

Field = tuple[Extent, ...]
Lookup = Callable[[Value], Field | None]
Rule = Callable[[Operation, Lookup], Sequence[Field | None]]


def each(field: Field, change: Callable[[Extent], Extent]) -> Field:
    """Return a field with every axis changed alike."""
    return tuple(changed(extent, change) for extent in field)


def moving(change: Callable[[Operation, Extent], Extent]) -> Rule:
    """Return the rule of an operation that moves or merges positions of its first argument."""

    def rule(operation: Operation, of: Lookup) -> list[Field | None]:
        field = of(operation.args[0])
        found = None if field is None else each(field, lambda extent: change(operation, extent))
        return [found] + [None] * (len(operation.outputs) - 1)

    return rule
