"""`python -m chaukas.server.cli`."""

from __future__ import annotations

import sys

from chaukas.server.cli import main

if __name__ == "__main__":
    sys.exit(main())
