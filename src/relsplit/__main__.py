"""``python -m relsplit ...`` is the command ``relsplit ...``."""

import sys

from relsplit.bench.command import main

if __name__ == "__main__":
    sys.exit(main())
