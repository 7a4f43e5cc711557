"""A small program run as a user would, and what it says."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src"


def ran(program: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Write ``program`` to ``folder``/program.py and run it."""
    path = folder / "program.py"
    path.write_text(textwrap.dedent(program).lstrip())
    paths = [str(SOURCE), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    return subprocess.run(
        [sys.executable, str(path)], capture_output=True, text=True, check=False, env=environment, timeout=900
    )
