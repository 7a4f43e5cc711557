"""Which extra of this package brings a module that is missing."""

import sys

from relsplit import extras
from relsplit.bench.installation import is_wheel

EXTRAS = {
    **extras.EXTRAS,
    "timm": "timm",
    "hydra_plugins": "slurm",
    "submitit": "slurm",
    "joblib": "parallel",
    **dict.fromkeys(
        (
            "filelock", "hydra", "lightning_fabric", "lightning_utilities", "matplotlib", "numpy", "omegaconf",
            "pandas", "PIL", "pydantic", "pydantic_core", "pytorch_lightning", "rich", "torchvision", "wandb", "yaml",
        ),
        "bench",
    ),
}  # fmt: skip
"""The smallest extra by module."""


def extra_of(module: str | None) -> str | None:
    """Return the extra to install for a module, None where none brings it.

    Args:
        module: the name that could not be imported ("captum").
    """
    package, dot, _ = (module or "").partition(".")
    return None if dot and package in sys.modules else EXTRAS.get(package)  # it is installed, and lacks a module


def how_to_install(extra: str) -> str:
    """Return what to type to install an extra, marked as code."""
    return f'`pip install "relsplit[{extra}]"`' if is_wheel() else f"`pip install -e '.[{extra}]'`"
