"""`python -m neocog` is the command line."""

import sys

from neocog.cli import main

if __name__ == "__main__":
    sys.exit(main())
