"""`neocog models`: the networks that can be built."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from neocog.cli._options import Json, complete_model
from neocog.cli._output import Column, counted, print_json, print_table

if TYPE_CHECKING:
    from neocog.catalog import Entry

SortKey = Literal["name", "year", "parameters", "macs", "top1"]


def models(
    patterns: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PATTERN",
            help="Names, with * and ? as in a shell.",
            show_default="all",
            autocompletion=complete_model,
        ),
    ] = None,
    sort: Annotated[SortKey, typer.Option(help="Order; top1 has the best first.")] = "name",
    weights: Annotated[bool, typer.Option("--weights", help="Only those with trained weights; name them.")] = False,
    as_json: Json = False,
) -> None:
    """List the networks, their sizes and published accuracy.

    Parameters and MACs (multiply-adds of one image) are counted from the networks as built here; top-1 is
    the best published for ImageNet, per cent.

    Examples:
      neocog models 'resnet*' --sort macs
      neocog models --weights
    """
    from neocog.catalog import check_pattern, describe, list_models

    for pattern in patterns or ():
        check_pattern(pattern)
    entries = [describe(name) for name in list_models(patterns or "*", weights=weights, sort=sort)]
    if as_json:
        print_json([entry_facts(entry) for entry in entries])
        return
    columns = [
        Column("name"),
        Column("year", numeric=True),
        Column("parameters", numeric=True),
        Column("MACs", numeric=True),
        Column("input", numeric=True),
        Column("top-1", numeric=True),
        Column("published in"),
        Column("weights", numeric=not weights),
    ]
    print_table(columns, [entry_row(entry, name_weights=weights) for entry in entries])


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
