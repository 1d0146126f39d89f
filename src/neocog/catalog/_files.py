"""Reading the families' TOML files, and listing and describing what is in them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from neocog.catalog._entry import Entry, Published, Weights
from neocog.errors import UnknownNameError

SortKey = Literal["name", "year", "parameters", "macs", "top1"]


def list_models(pattern: str | Sequence[str] = "*", *, weights: bool = False, sort: SortKey = "name") -> list[str]:
    """Return the names of the networks that match `pattern`, or any of several.

    Args:
        pattern: as a shell has it, such as "resnet*", or the name of a family, such as "densenet", for all of it; a
            network of that very name goes before the family.
        weights: only those with trained weights.
        sort: "name" (numbers in order of size), "year", "parameters" and "macs" from the least, "top1" from the best
            published; equals stand in order of name.
    """
    if sort not in ("name", "year", "parameters", "macs", "top1"):
        raise UnknownNameError("sort key", sort, ("name", "year", "parameters", "macs", "top1"))
    patterns = [pattern] if isinstance(pattern, str) else list(pattern)
    entries = [
        entry
        for entry in _entries().values()
        if any(_matches(entry, each) for each in patterns) and (entry.weights or not weights)
    ]
    entries.sort(key=lambda entry: _natural(entry.name))
    if sort == "top1":
        entries.sort(key=lambda entry: -(entry.top1 or 0))
    elif sort != "name":
        entries.sort(key=lambda entry: getattr(entry, sort))
    return [entry.name for entry in entries]


def check_pattern(pattern: str) -> None:
    """Raise `UnknownNameError`, which names the near ones, where no network's name matches `pattern`."""
    if not list_models(pattern):
        wildcard = any(char in pattern for char in "*?[")
        known = {*list_models(), *(entry.family for entry in _entries().values())}
        error = UnknownNameError("model", pattern.strip("*"), known, where="neocog models")
        raise UnknownNameError("model", pattern, error.near, where="neocog models") if wildcard else error


def describe(name: str) -> Entry:
    """Return what the catalog holds about `name`; `UnknownNameError` names the near ones where there is none."""
    entries = _entries()
    if name not in entries:
        raise UnknownNameError("model", name, entries, where="neocog models")
    return entries[name]


@cache
def imagenet_classes() -> tuple[tuple[str, str], ...]:
    """Return the (WordNet id, name) of ImageNet's 1,000 classes, in the order of the logits of ImageNet weights."""
    text = files(__package__).joinpath("imagenet_classes.txt").read_text(encoding="utf-8")
    pairs = (line.split(maxsplit=1) for line in text.splitlines())
    return tuple((synset, name) for synset, name in pairs)


@cache
def _entries() -> dict[str, Entry]:
    tables = {
        resource.name.removesuffix(".toml"): tomllib.loads(resource.read_text(encoding="utf-8"))
        for resource in files(__package__).iterdir()
        if resource.name.endswith(".toml")
    }
    return {entry.name: entry for family in sorted(tables) for entry in _read_family(family, tables[family])}


def _read_family(family: str, table: dict[str, Any]) -> list[Entry]:
    """Turn one file into entries; what stands at its top holds for each model that does not say otherwise."""
    models: Mapping[str, dict[str, Any]] = table.pop("models")
    shared_weights: dict[str, Any] = table.pop("weights", {})
    return [
        _read_entry({"family": family, "name": name, **table, **fields}, shared_weights)
        for name, fields in models.items()
    ]


def _read_entry(fields: dict[str, Any], shared_weights: dict[str, Any]) -> Entry:
    weights = tuple(
        _read_weights({"model": fields["name"], "default": position == 0, **shared_weights, **each})
        for position, each in enumerate(fields.pop("weights", ()))
    )
    published = tuple(Published(**each) for each in fields.pop("published", ()))
    return Entry(weights=weights, published=published, **_as_tuples(fields))


def _read_weights(fields: dict[str, Any]) -> Weights:
    if "url" in fields:
        fields["file"] = fields["url"].rpartition("/")[2]
    return Weights(**_as_tuples(fields))


def _as_tuples(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}


def _matches(entry: Entry, pattern: str) -> bool:
    return fnmatchcase(entry.name, pattern) or (entry.family == pattern and pattern not in _entries())


def _natural(name: str) -> list[tuple[int, str]]:
    """Return a key that sorts "resnet18" before "resnet152"."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
