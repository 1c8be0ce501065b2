"""`python -m glasc`: the same as the command `glasc`."""

import sys

from glasc.cli import main

sys.exit(main())
