"""How this package came here: installed as a wheel, or as a clone whose files are used where they lie."""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
"""The folder ``relsplit``."""


def is_wheel() -> bool:
    """Say whether it was installed as a wheel, which holds the configuration files, too."""
    return (PACKAGE / "conf").is_dir()
