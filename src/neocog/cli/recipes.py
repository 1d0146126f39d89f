"""`neocog recipes`: the ways to train, and what each decides."""

from __future__ import annotations

import json
import shutil
import textwrap
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neocog.cli._chart import COLUMNS, chart
from neocog.cli._options import Json, parse_settings
from neocog.cli._output import Column, print_json, print_table, printable, say
from neocog.errors import UsageError

if TYPE_CHECKING:
    from neocog.recipes import Recipe


def complete_recipe(incomplete: str) -> list[str]:
    """Return the recipes whose names begin so, for the shell to complete."""
    from neocog.recipes import list_recipes

    return [name for name in list_recipes() if name.startswith(incomplete)]


Name = Annotated[
    str,
    typer.Argument(metavar="NAME", help="Recipe; neocog recipes lists them.", autocompletion=complete_recipe),
]
Other = Annotated[str, typer.Argument(metavar="OTHER", help="Another.", autocompletion=complete_recipe)]


def list_all(context: typer.Context, as_json: Json = False) -> None:
    """List the recipes: what decides how training goes.

    Examples:
      neocog recipes
      neocog recipes --json
      neocog recipes show resnet_2015_cifar
      neocog recipes diff resnet_strikes_back_a1 resnet_strikes_back_a2
    """
    if context.invoked_subcommand is not None:
        if as_json:
            command = context.invoked_subcommand
            raise UsageError(f"--json stands behind the command: neocog recipes {command} NAME --json")
        return
    from neocog.recipes import explain_recipe, list_recipes

    rows = [(name, explain_recipe(name).partition("\n")[0]) for name in list_recipes()]
    if as_json:
        print_json([{"recipe": name, "what_it_is": summary} for name, summary in rows])
    else:
        print_table([Column("recipe"), Column("what it is")], rows)


def show(
    name: Name,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="Where to draw the schedules (.png, .svg, .pdf)."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Print what a recipe does: in words, as a plot of its schedules, and field by field, as --set takes them.

    A recipe that suits itself to the data is shown as it is for 1,000 colour photographs on a CPU, with published
    weights at hand. Of one that trains in stages, each is shown.

    Examples:
      neocog recipes show quick
      neocog recipes show googlenet_2014 -o schedules.png
    """
    from neocog.recipes import differences, explain_recipe, stages_in_words

    stages = typical_stages(name)
    figure = None if out is None else draw_schedules(stages, out)
    if as_json:
        dumped = [stage.model_dump(mode="json") for stage in stages]
        print_json(dumped[0] if len(dumped) == 1 else {"name": name, "stages": dumped})
        return
    say(explain_recipe(name))
    say()
    for number, lines in enumerate(stages_in_words(stages), 1):
        if len(stages) > 1:
            say(f"stage {number}")
        for about, words in lines:
            say_wrapped(about, words)
        say()
    say_schedules(stages)
    say_fields(stages[0])
    for number, (before, stage) in enumerate(pairwise(stages), 2):
        say(f"stage {number}, where it differs from stage {number - 1}")
        for _, field, (_, value) in differences([before], [stage]):
            say(f"  {field} = {as_given(value)}")
    if figure is not None:
        say()
        say(f"figure  {printable(str(figure))}")


def diff(name: Name, other: Other, as_json: Json = False) -> None:
    """Print the fields in which two recipes differ, and what each has there.

    Recipes that suit themselves to the data are compared as they are for 1,000 colour photographs on a CPU, with
    published weights at hand. Of recipes that train in stages, the first is compared with the first, and so on.

    Example:
      neocog recipes diff resnet_rs_07_dropout resnet_rs_08_weight_decay
    """
    from neocog.recipes import differences

    pair = typical_stages(name), typical_stages(other)
    found = differences(*pair)
    counts = [len(stages) for stages in pair]
    if as_json:
        print_json(
            {
                "recipes": [name, other],
                "stages": counts,
                "differences": [{"stage": at + 1, "field": field, "values": values} for at, field, values in found],
            }
        )
        return
    if counts[0] != counts[1]:
        say(f"{name} has {some_stages(counts[0])}, {other} {some_stages(counts[1])}; those that both have are compared")
    if not found:
        say(f"{name} and {other} train alike")
        return
    staged = max(counts) > 1
    columns = [*([Column("stage", numeric=True)] if staged else []), Column("field"), Column(name), Column(other)]
    rows = [[*([str(at + 1)] if staged else []), field, *map(as_given, values)] for at, field, values in found]
    print_table(columns, rows)


def typical_stages(name: str) -> tuple[Recipe, ...]:
    """Return a recipe as it is where nothing stands in its way."""
    from neocog.recipes import Facts, build_stages

    return build_stages(name, Facts(weights_at_hand=lambda model: True))


def some_stages(count: int) -> str:
    """Return "1 stage" or "4 stages"."""
    return f"{count} stage{'' if count == 1 else 's'}"


def say_wrapped(about: str, words: str) -> None:
    """Print what is said about something, wrapped to the terminal behind a margin that holds its name."""
    width = min(shutil.get_terminal_size().columns, 100)
    for line in textwrap.wrap(words, max(width, 40), initial_indent=f"{about:<14}", subsequent_indent=" " * 14):
        say(line)


def say_schedules(stages: tuple[Recipe, ...]) -> None:
    """Print a chart of the learning rate and of each number that varies."""
    from neocog.recipes import schedule_curves

    for curve in schedule_curves(stages, COLUMNS):
        say(f"{curve.name}{', logarithmic' if curve.logarithmic else ''}")
        whole = sum(stage.epochs for stage in stages)
        for line in chart(curve.values, until=whole, peak=curve.peak, logarithmic=curve.logarithmic):
            say(f"  {line}")
        say()


def say_fields(recipe: Recipe) -> None:
    """Print every field with its value, such that `--set` takes both."""
    from neocog.train.recipe import field_names

    names, whole = field_names(recipe), recipe.model_dump(mode="json")
    width = max(len(name) for name in names)
    for name in names:
        value: Any = whole
        for part in name.split("."):
            value = value[part]
        say(f"  {name:<{width}} = {as_given(value)}")


def as_given(value: Any) -> str:
    """Return a field's value as `--set` takes it: a text as it is, unless it would be read as something else."""
    if isinstance(value, str) and parse_settings([f"field={value}"])["field"] == value:
        return value
    return json.dumps(value)


def draw_schedules(stages: tuple[Recipe, ...], out: Path) -> Path:
    """Draw the schedules of a recipe."""
    from neocog.recipes import schedule_curves
    from neocog.visualize.schedules import Schedule, schedules

    curves = [Schedule(curve.name, curve.epochs, curve.values, curve.logarithmic) for curve in schedule_curves(stages)]
    ends = list(accumulate(stage.epochs for stage in stages))
    what = "learning rate" if len(curves) == 1 else f"what changes over {ends[-1]} epochs"
    title = f"{stages[0].name}: {what}" + (f", in {len(stages)} stages" if len(stages) > 1 else "")
    return schedules(curves, out, title=title, stages=ends[:-1])
