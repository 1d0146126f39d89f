"""The tree of commands, and the one place where an error becomes a line and an exit code."""

from __future__ import annotations

import inspect
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from neocog._machine import use_huge_pages
from neocog._version import __version__
from neocog.cli import recipes as recipe_commands
from neocog.cli._errors import BROKEN_PIPE, INTERRUPTED, TRACEBACK_VARIABLE, explain
from neocog.cli.benchmark import benchmark
from neocog.cli.compare import compare
from neocog.cli.demo import demo
from neocog.cli.describe import describe
from neocog.cli.doctor import doctor
from neocog.cli.draw import draw
from neocog.cli.evaluate import evaluate
from neocog.cli.filter import filter_photo
from neocog.cli.grow import grow
from neocog.cli.lr_find import lr_find
from neocog.cli.models import models
from neocog.cli.predict import predict
from neocog.cli.receptive_field import receptive_field
from neocog.cli.templates import templates
from neocog.cli.train import train

EXIT_CODES = """\
Exit codes:

  0 done             3 data                       6 disk                      130 interrupted
  1 another error    4 weights or model file      7 some inputs were skipped  143 terminated
  2 usage            5 training could not go on  70 internal error"""

SETTINGS = {"help_option_names": ["-h", "--help"]}

app = typer.Typer(context_settings=SETTINGS, epilog=EXIT_CODES, pretty_exceptions_enable=False, rich_markup_mode="rich")
recipes = typer.Typer(context_settings=SETTINGS)


def unwrapped(function: Callable[..., object]) -> str:
    """Return a function's docstring as help: a paragraph becomes one line, to be wrapped; examples stay."""
    paragraphs = inspect.cleandoc(function.__doc__ or "").split("\n\n")
    return "\n\n".join(paragraph if "\n  " in paragraph else paragraph.replace("\n", " ") for paragraph in paragraphs)


for group, panel, name, function in (
    (app, "Look", "models", models),
    (app, "Look", "describe", describe),
    (app, "Look", "receptive-field", receptive_field),
    (app, "Look", "compare", compare),
    (app, "Look", "draw", draw),
    (app, "Look", "filter", filter_photo),
    (app, "Look", "templates", templates),
    (app, "Look", "benchmark", benchmark),
    (app, "Train", "demo", demo),
    (app, "Train", "train", train),
    (app, "Train", "lr-find", lr_find),
    (app, "Train", "grow", grow),
    (app, "Use", "evaluate", evaluate),
    (app, "Use", "predict", predict),
    (app, "Machine", "doctor", doctor),
    (recipes, None, "show", recipe_commands.show),
    (recipes, None, "diff", recipe_commands.diff),
):
    group.command(name, help=unwrapped(function), rich_help_panel=panel)(function)

recipes.callback(invoke_without_command=True, help=unwrapped(recipe_commands.list_all))(recipe_commands.list_all)
app.add_typer(recipes, name="recipes", rich_help_panel="Look")


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"neocog {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and stop.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    """Image classification, whole: build, train, measure and use every landmark network.

    Example: a folder of labelled photographs becomes a classifier.

      neocog train ./photos --out runs/photos
      neocog predict runs/photos/model.safetensors ./unsorted
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; whatever goes wrong becomes one line on standard error.

    Args:
        arguments: what follows `neocog` on the command line; None takes this process's own.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    _quieten_libraries()
    use_huge_pages()
    try:
        code = _run(given or ["--help"])
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        print("neocog: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone. Python flushes it once more as it ends: let it go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except Exception as error:  # noqa: BLE001
        # What nobody foresaw: a traceback helps developers, not a person at a terminal.
        if os.environ.get(TRACEBACK_VARIABLE) == "1":
            traceback.print_exc()
        line, code = explain(error)
        print(f"neocog: {line}", file=sys.stderr)
        return code


def _run(arguments: list[str]) -> int:
    command = typer.main.get_command(app)
    if "_NEOCOG_COMPLETE" in os.environ:
        command(arguments, prog_name="neocog")  # answers the shell that asks how to complete a line
    try:
        with command.make_context("neocog", arguments) as context:
            return command.invoke(context) or 0
    except typer.Exit as ended:
        return ended.exit_code


def _quieten_libraries() -> None:
    """Keep the libraries' own warnings and bars off a person's screen, in this process and its workers.

    A developer who asks for warnings (python -W, PYTHONWARNINGS) still gets them.
    """
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
        os.environ.setdefault("PYTHONWARNINGS", "ignore")
    quiet = {
        "DATASETS_VERBOSITY": "error",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_VERBOSITY": "error",
        "TORCH_CPP_LOG_LEVEL": "ERROR",
    }
    if not sys.stderr.isatty():
        quiet["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    for name, value in quiet.items():
        os.environ.setdefault(name, value)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # A file's name may hold bytes that are no UTF-8, or letters that the terminal's encoding has not.
            unicode = stream.encoding.lower().replace("-", "") == "utf8"
            stream.reconfigure(errors="surrogateescape" if unicode else "backslashreplace")
