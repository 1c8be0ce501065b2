"""`python -m glasrt`, and the command `glasrt`: it ends quietly even while it is being imported."""

from __future__ import annotations

import sys

INTERRUPTED = 130


def main() -> int:
    """Runs the command line of this process and returns its exit code."""
    try:
        from glasrt.cli import main as run

        return run()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
