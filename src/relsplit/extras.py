"""Which extra of this package brings a module that the library needs for one of its methods only."""

EXTRAS = {
    "captum": "explainers",
    "pytorch_grad_cam": "explainers",
    "torchmetrics": "metrics",
    "scipy": "metrics",
    "matplotlib": "pictures",
    "PIL": "pictures",
}
"""Extra by module."""


def with_extra(error: ModuleNotFoundError, package: str) -> ModuleNotFoundError:
    """Return the error with what to install; as it is where no extra brings the module.

    Args:
        error: what could not be imported.
        package: for which of this package's folders; NumPy comes with the extra of each.
    """
    module = (error.name or "").partition(".")[0]
    extra = package.rpartition(".")[2] if module == "numpy" else EXTRAS.get(module)
    if extra is None:
        return error
    hint = f"""it comes with `pip install "relsplit[{extra}]"`, in a clone with `pip install -e '.[{extra}]'`"""
    return ModuleNotFoundError(f"{error}: {hint}", name=error.name)
