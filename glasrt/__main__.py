"""`python -m glasrt`."""

from __future__ import annotations

import sys

from glasrt.cli import main

if __name__ == "__main__":
    sys.exit(main())
