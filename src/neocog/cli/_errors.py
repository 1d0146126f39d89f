"""From whatever went wrong to one line and an exit code; docs/exit-codes.md lists the codes."""

from __future__ import annotations

import errno
import os

from typer.exceptions import TyperException

from neocog.errors import NeocogError, StorageError, TrainingError

SKIPPED = 7
INTERNAL = 70
INTERRUPTED = 130
BROKEN_PIPE = 141

TRACEBACK_VARIABLE = "NEOCOG_TRACEBACK"
"""Environment variable: set to 1, an error's traceback is shown above its line."""


def explain(error: Exception) -> tuple[str, int]:
    """Return the line that tells a person what went wrong, and the exit code that tells a program."""
    if isinstance(error, NeocogError):
        return one_line(str(error)), error.exit_code
    if isinstance(error, TyperException):
        return explain_usage(error), error.exit_code
    if ran_out_of_memory(error):
        return (
            "out of memory; lower the batch size (--batch-size) or the image size (--set image_size=...), "
            "or close what else is running",
            TrainingError.exit_code,
        )
    if isinstance(error, OSError) and error.errno is not None:
        return explain_system(error), StorageError.exit_code
    kind = type(error).__name__
    detail = shorten(one_line(f"{kind}: {error}" if str(error) else kind))
    return f"internal error: {detail}; please report it; {TRACEBACK_VARIABLE}=1 shows the traceback", INTERNAL


def explain_usage(error: TyperException) -> str:
    """Return an unusable command line's fault, and where to read on."""
    text = one_line(error.format_message()).rstrip(".").replace("Value error, ", "")
    text = text[:1].lower() + text[1:].replace(". Did you mean", "; did you mean")
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "neocog"
    return text + (" See " if text.endswith("?") else "; see ") + f"`{command} --help`"


def explain_system(error: OSError) -> str:
    """Return what the operating system refused, where, and what to do."""
    advice = {
        errno.ENOSPC: "free some space or choose another place",
        errno.EDQUOT: "free some space or choose another place",
        errno.EACCES: "check its permissions or choose another place",
        errno.EPERM: "check its permissions or choose another place",
        errno.EROFS: "choose a place that can be written",
        errno.EMFILE: "raise the limit of open files (ulimit -n)",
    }
    text = os.strerror(error.errno or 0).lower()
    where = f": {error.filename}" if error.filename else ""
    return one_line("; ".join(part for part in (text + where, advice.get(error.errno or 0)) if part))


def ran_out_of_memory(error: Exception) -> bool:
    """Return whether memory, the processor's or a GPU's, was exhausted. Torch is not imported to find out."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    # PyTorch's allocator for the processor raises a bare RuntimeError.
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)


def shorten(text: str, most: int = 300) -> str:
    """Return `text`, or its beginning where it is longer than a person reads."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


def one_line(text: str) -> str:
    """Return `text` with every run of blanks and line breaks made one blank."""
    return " ".join(text.split())
