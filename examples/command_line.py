"""``python run.py`` with the configurations of ``examples/conf`` beside the project's own."""

import runpy
import sys
from pathlib import Path

HERE = Path(__file__).parent


def run(*overrides: str) -> None:
    """Run what ``python run.py --config-dir examples/conf <overrides>`` runs, and end with its exit code."""
    sys.argv = ["run.py", "--config-dir", str(HERE / "conf"), *overrides]
    runpy.run_path(str(HERE.parent / "run.py"), run_name="__main__")
