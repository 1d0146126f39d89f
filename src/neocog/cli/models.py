"""`neocog models`: the networks that can be built."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from neocog.cli._options import Json, complete_model
from neocog.cli._output import Column, counted, print_json, print_table, say
from neocog.errors import UsageError

if TYPE_CHECKING:
    from neocog.catalog import Entry

SortKey = Literal["name", "year", "parameters", "macs", "top1"]
COLUMNS = (
    Column("name"),
    Column("year", numeric=True),
    Column("parameters", numeric=True),
    Column("MACs", numeric=True),
    Column("input", numeric=True),
    Column("top-1", numeric=True),
    Column("published in"),
)
FAMILY_COLUMNS = (
    Column("family"),
    Column("year", numeric=True),
    Column("networks", numeric=True),
    Column("parameters", numeric=True),
    Column("MACs", numeric=True),
    Column("top-1", numeric=True),
    Column("weights", numeric=True),
    Column("paper"),
)


def models(
    patterns: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PATTERN",
            help="Names, with * and ? as in a shell; or a family, for all of it.",
            show_default="all",
            autocompletion=complete_model,
        ),
    ] = None,
    sort: Annotated[SortKey, typer.Option(help="Order; top1 has the best first.")] = "name",
    weights: Annotated[bool, typer.Option("--weights", help="Only those with trained weights; name them.")] = False,
    families: Annotated[bool, typer.Option("--families", help="A line for each family, the oldest first.")] = False,
    as_json: Json = False,
) -> None:
    """List the networks, their sizes and published accuracy.

    Parameters and MACs (multiply-adds of one image) are counted from the networks as built here; top-1 is
    the best published for ImageNet, per cent.

    Examples:
      neocog models --families
      neocog models resnet densenet
      neocog models 'resnet*' --sort macs
      neocog models --weights
    """
    from neocog.catalog import check_pattern, describe, list_models

    for pattern in patterns or ():
        check_pattern(pattern)
    wanted = with_whole_families(patterns) if patterns else "*"
    entries = [describe(name) for name in list_models(wanted, weights=weights, sort=sort)]
    if families:
        if sort != "name":
            raise UsageError(f"--families lists the oldest first; leave out --sort {sort}, or --families")
        grouped: dict[str, list[Entry]] = {}
        for entry in sorted(entries, key=lambda entry: (entry.year, entry.family)):
            grouped.setdefault(entry.family, []).append(entry)
        if as_json:
            print_json([{"family": family, "networks": [e.name for e in each]} for family, each in grouped.items()])
        else:
            print_table(FAMILY_COLUMNS, [family_row(family, each) for family, each in grouped.items()])
            say(f"\n{len(entries)} networks of {len(grouped)} families; neocog models FAMILY lists those of one.")
    elif as_json:
        print_json([entry_facts(entry) for entry in entries])
    else:
        columns = [*COLUMNS, Column("weights", numeric=not weights)]
        print_table(columns, [entry_row(entry, name_weights=weights) for entry in entries])


def with_whole_families(patterns: list[str]) -> list[str]:
    """Return `patterns` and all networks of the families that they name.

    To `list_models` a name that a family shares with one of its networks, such as "alexnet", is the network's; who
    asks for a table wants to see its relatives too.
    """
    from neocog.catalog import describe, list_models

    return [*patterns, *(name for name in list_models() if describe(name).family in patterns)]


def entry_row(entry: Entry, *, name_weights: bool) -> list[str]:
    """Return a network's line in the table."""
    top1, source = best_top1(entry)
    tags = [weights.tag for weights in entry.weights]
    return [
        entry.name,
        str(entry.year),
        counted(entry.parameters),
        counted(entry.macs),
        "x".join(str(side) for side in entry.input),
        "" if top1 is None else f"{top1:g}",
        source,
        ", ".join(tags) if name_weights else str(len(tags) or ""),
    ]


def family_row(family: str, entries: list[Entry]) -> list[str]:
    """Return a family's line in the table: its first paper, and from the least to the most of each figure."""
    years = sorted({entry.year for entry in entries})
    best = max((entry.top1 for entry in entries if entry.top1 is not None), default=None)
    return [
        family,
        spanned([str(year) for year in years]),
        str(len(entries)),
        spanned([counted(count) for count in sorted(entry.parameters for entry in entries)]),
        spanned([counted(count) for count in sorted(entry.macs for entry in entries)]),
        "" if best is None else f"{best:g}",
        str(sum(len(entry.weights) for entry in entries) or ""),
        min(entries, key=lambda entry: entry.year).paper,
    ]


def spanned(ordered: list[str]) -> str:
    """Return the first and the last, or one of them where they are the same."""
    return ordered[0] if ordered[0] == ordered[-1] else f"{ordered[0]}-{ordered[-1]}"


def best_top1(entry: Entry) -> tuple[float | None, str]:
    """Return the best published ImageNet top-1, per cent, and who published it where."""
    found = [(figure.value, figure.source) for figure in entry.published if figure.quantity == "top1"]
    found += [(each.top1, f"weights {each.tag}") for each in entry.weights if each.top1 is not None]
    return max(found, default=(None, ""), key=lambda pair: pair[0] or 0)


def entry_facts(entry: Entry) -> dict[str, Any]:
    """Return a network's line with everything that the catalog knows, in plain types."""
    from dataclasses import asdict

    top1, source = best_top1(entry)
    return {**asdict(entry), "top1": top1, "top1_source": source}
