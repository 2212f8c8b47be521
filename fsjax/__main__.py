"""`python -m fsjax`: the `fsjax` command.

Internal: no part of the public interface.
"""

import sys

from fsjax.cli import main

if __name__ == "__main__":
    sys.exit(main())
