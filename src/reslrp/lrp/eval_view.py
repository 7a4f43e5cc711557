"""A view of a model in evaluation mode that shares every parameter and buffer with it.

Tracing and running the view instead of the model means that the user's model is never toggled, hooked or copied: other
threads may go on using it meanwhile, and weights changed later are the weights the view sees.
"""

from torch import nn


def eval_view(model: nn.Module) -> nn.Module:
    """Copy the module tree of ``model`` (not its tensors) with every module in evaluation mode and out of place.

    Wrappers that only delegate (``DataParallel``, ``DistributedDataParallel``, ``torch.compile``) are taken off.
    """
    while True:
        inner = getattr(model, "_orig_mod", None)
        if inner is None and isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            inner = model.module
        if inner is None:
            return _view(model, {})
        model = inner


def _view(module: nn.Module, seen: dict[int, nn.Module]) -> nn.Module:
    if id(module) in seen:
        return seen[id(module)]
    view: nn.Module = type(module).__new__(type(module))
    # The dictionaries of parameters and buffers stay shared, so that a parameter replaced later is seen as well.
    view.__dict__ = dict(module.__dict__)
    view.__dict__["training"] = False
    if "inplace" in view.__dict__:
        view.__dict__["inplace"] = False
    seen[id(module)] = view
    view.__dict__["_modules"] = {
        name: None if child is None else _view(child, seen) for name, child in module._modules.items()
    }
    return view
