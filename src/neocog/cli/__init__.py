"""The command line: one function, one command. Nothing imports it.

What a command needs it imports inside its function, so that `neocog --help` starts without torch. Results go
to standard output, everything else to standard error.
"""

from neocog.cli._app import main

__all__ = ["main"]
