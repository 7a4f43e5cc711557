"""Which extra of this package brings a module that is missing."""

EXTRAS = {
    "captum": "explainers",
    "pytorch_grad_cam": "explainers",
    "torchmetrics": "metrics",
    "timm": "timm",
    "hydra_plugins": "slurm",
    "submitit": "slurm",
    "joblib": "parallel",
}
"""Extra by module, of those that the extra ``bench`` lacks or that a smaller one brings."""


def extra_of(module: str | None) -> str | None:
    """Return the extra to install for a module, None where none brings it.

    Args:
        module: the name that could not be imported ("captum.attr").
    """
    return None if module is None else EXTRAS.get(module.partition(".")[0])
