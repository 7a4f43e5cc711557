"""The command ``relsplit`` with the configurations of ``examples/conf`` beside the project's own."""

import sys
from pathlib import Path

from relsplit.bench.command import main

HERE = Path(__file__).parent


def run(*overrides: str) -> None:
    """Run what ``relsplit --config-dir examples/conf <overrides>`` runs, and end with its exit code."""
    sys.argv = ["relsplit", "--config-dir", str(HERE / "conf"), *overrides]
    sys.exit(main())
