"""Fields of a group of settings that count only where another field says so."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, TypeAlias

from pydantic import BaseModel

from neocog.errors import UsageError

ABOVE_ZERO = "above 0"
"""Stands for all values but 0."""

Readers: TypeAlias = Mapping[str, tuple[Mapping[str, tuple[str, ...] | str], ...]]
"""{a field: what reads it}: any of these, each of which holds where all the fields that it names have such a value."""


def unread(values: Mapping[str, Any], readers: Readers, varying: Collection[str] = ()) -> list[str]:
    """Return the fields that would have no effect.

    Args:
        values: of all fields of the group.
        readers: what reads those that are not always read.
        varying: fields that change as training goes on: they are exempt, and what they read may be read some time.
    """
    return [
        name
        for name, ways in readers.items()
        if name not in varying and all(_missing(way, values, varying) for way in ways)
    ]


def refuse_unread(group: str, settings: BaseModel, readers: Readers, varying: Collection[str] = ()) -> None:
    """Raise a UsageError where a field of `settings`, called `group`, has been set that nothing reads."""
    values = dict(settings)
    for name in unread(values, readers, varying):
        default = type(settings).model_fields[name].default
        if values[name] == default:
            continue
        missing = [_missing(way, values, varying) for way in readers[name]]
        field, wanted = next(iter(missing[0].items()))
        if len(missing) == 1 and not isinstance(wanted, str):
            choice = values[field] if field == "name" else f"{group}.{field}={values[field]}"
            who = f"{' and '.join(wanted)} {'do' if len(wanted) > 1 else 'does'}"
            why, remedy = f"{choice} does not read it ({who})", f"or choose another {group}.{field}"
        else:
            ways = " or ".join(" and ".join(_worded(group, *each) for each in way.items()) for way in missing)
            why, remedy = f"nothing reads it without {ways}", "or set that"
        raise UsageError(f"{group}.{name} is {values[name]!r}, but {why}: set it back to {default!r}, {remedy}")


def _missing(
    way: Mapping[str, tuple[str, ...] | str], values: Mapping[str, Any], varying: Collection[str]
) -> dict[str, tuple[str, ...] | str]:
    """Return those conditions of `way` that do not hold; of a field that varies, all may hold some time."""
    return {
        field: wanted
        for field, wanted in way.items()
        if field not in varying and not (values[field] if wanted == ABOVE_ZERO else values[field] in wanted)
    }


def _worded(group: str, field: str, wanted: tuple[str, ...] | str) -> str:
    return f"{group}.{field} above 0" if wanted == ABOVE_ZERO else f"{group}.{field}={' or '.join(wanted)}"
