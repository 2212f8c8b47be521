"""`python -m fsjax`: the `fsjax` command."""

import sys

from fsjax.cli import main

if __name__ == "__main__":
    sys.exit(main())
