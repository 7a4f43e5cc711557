"""Module trees that share a network's tensors, so that what is set on them never reaches the network itself.

Two kinds, for two uses. A *view* reads the network's parameters as they are at any time, replaced ones included; it is
for running the network without gradients. A *copy* has aliases of the parameters that require no gradients, and hooks
of its own; it is for libraries that hang hooks on modules and differentiate.
"""

import copy
from types import MethodType

import torch
from torch import nn

_SHARED = ("_parameters", "_buffers")


def unwrapped(model: nn.Module) -> nn.Module:
    """Take off wrappers that only delegate: ``DataParallel``, ``DistributedDataParallel``, ``torch.compile``."""
    while True:
        inner = getattr(model, "_orig_mod", None)
        if inner is None and isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            inner = model.module
        if inner is None:
            return model
        model = inner


def eval_view(model: nn.Module) -> nn.Module:
    """Copy the module tree of ``model`` (not its tensors) with every module in evaluation mode.

    Other threads may go on using the model meanwhile, and weights changed later are the weights the view sees. Wrappers
    that only delegate are taken off.
    """
    return _view(unwrapped(model), {})


def shared_copy(model: nn.Module, keep_in_place: bool = False) -> nn.Module:
    """Copy the module tree, in eval mode, on the tensors of ``model``; activations are not in place by default.

    Hooks, attributes and modes set on the copy do not reach ``model``, and neither do gradients: the copy's parameters
    are aliases that require none. No weight is copied, and weights changed in place are seen.
    """
    # .data instead of detach(): autograd's version counters stay apart, too.
    memo: dict[int, object] = {id(p): nn.Parameter(p.data, requires_grad=False) for p in model.parameters()}
    memo |= {id(b): b.data for b in model.buffers()}
    network = copy.deepcopy(model, memo).eval()
    for module in network.modules():
        if getattr(module, "inplace", False) is True and not keep_in_place:
            setattr(module, "inplace", False)  # noqa: B010 (the attribute is not nn.Module's)
    return network


def _view(module: nn.Module, seen: dict[int, nn.Module]) -> nn.Module:
    if id(module) in seen:
        return seen[id(module)]
    if isinstance(module, torch.jit.ScriptModule):
        return module  # what it holds lies outside of Python
    # Not the class's own __new__: that of torch.fx's GraphModule would make another class.
    view: nn.Module = object.__new__(type(module))
    # The dictionaries of parameters and buffers stay shared, so that a parameter replaced later is seen as well; others
    # do not: a module may keep there what it has computed once.
    view.__dict__ = {
        name: copy.copy(value) if type(value) in (dict, list, set) and name not in _SHARED else value
        for name, value in module.__dict__.items()
    }
    view.__dict__["training"] = False
    for name, value in module.__dict__.items():
        if isinstance(value, MethodType) and value.__self__ is module:  # a forward that was exchanged
            view.__dict__[name] = MethodType(value.__func__, view)
    seen[id(module)] = view
    view.__dict__["_modules"] = {
        name: None if child is None else _view(child, seen) for name, child in module._modules.items()
    }
    return view
