"""Which extra of this package brings a module that is missing."""

from relsplit.bench.installation import is_wheel

EXTRAS = {
    "captum": "explainers",
    "pytorch_grad_cam": "explainers",
    "torchmetrics": "metrics",
    "scipy": "metrics",
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
        module: the name that could not be imported ("captum.attr").
    """
    return None if module is None else EXTRAS.get(module.partition(".")[0])


def how_to_install(extra: str) -> str:
    """Return what to type to install an extra, marked as code."""
    return f'`pip install "relsplit[{extra}]"`' if is_wheel() else f"`pip install -e '.[{extra}]'`"
