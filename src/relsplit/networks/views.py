"""Module trees that share a network's tensors, so that what is set on them never reaches the network itself.

Both kinds are made for one call from the network as it is then, in less than a millisecond: hooks, attributes,
exchanged modules, replaced methods and weights are those of the network at that moment, and nothing can grow stale.
Other threads may go on using the network meanwhile.

A *view* has the network's own parameters; it is for running the network without gradients. A *copy* has aliases of the
parameters that require no gradients, and buffers of its own; it is for what differentiates, hangs hooks on modules or
runs a forward pass that writes into buffers.
"""

import copy
from collections import OrderedDict
from functools import partial
from types import CellType, FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor, nn

from relsplit.errors import UnsupportedModelError

_PLAIN = {bool, int, float, str, type(None)}
_SHARED = ("_parameters", "_buffers")
_PRE_HOOKS = ("_forward_pre_hooks", "_forward_pre_hooks_with_kwargs")
_HOOKS = ("_forward_hooks", "_forward_hooks_with_kwargs", "_forward_hooks_always_called")


def unwrapped(model: nn.Module) -> nn.Module:
    """Take off wrappers that only delegate: ``DataParallel``, ``DistributedDataParallel``, ``torch.compile``."""
    while (inner := _delegate(model)) is not None:
        model = inner
    return model


def running_view(model: nn.Module) -> nn.Module:
    """Return a view in evaluation mode that runs just as the network does.

    Activations are in place, and what a forward pass writes into buffers, lists and dictionaries is in the network's.
    """
    return _Viewer(keep_in_place=True, own_tensors=False, own_containers=False).module(model)


def shared_copy(
    model: nn.Module, keep_in_place: bool = False, trainable: bool = False, in_graph: bool = False
) -> nn.Module:
    """Copy the module tree, in eval mode, with parameters that share the memory of ``model``'s and need no gradients.

    Neither hooks, attributes and modes set on the copy reach ``model``, nor gradients, nor what a forward pass writes
    into buffers.

    Args:
        model: any network.
        keep_in_place: whether activations may be in place; a network that reads what they have overwritten answers
            something else without.
        trainable: whether parameters say of themselves that they require gradients where ``model``'s do; by that
            PyTorch chooses between kernels (``nn.TransformerEncoder``), which do not always answer the same.
        in_graph: whether what requires gradients is ``model``'s own and gets them.

    Raises:
        UnsupportedModelError: ``in_graph``, of a network with a part in TorchScript, which has no such copy.
    """
    with torch.inference_mode(False):
        return _Viewer(keep_in_place, own_tensors=True, trainable=trainable, in_graph=in_graph).module(model)


def is_as_written(model: nn.Module) -> bool:
    """Say whether every module does what its class says: nothing is hooked to it, and its forward is not replaced."""
    if nn.modules.module._global_forward_hooks or nn.modules.module._global_forward_pre_hooks:
        return False
    return not any(m._forward_hooks or m._forward_pre_hooks or "forward" in vars(m) for m in model.modules())


def _delegate(module: nn.Module) -> nn.Module | None:
    inner = getattr(module, "_orig_mod", None)
    if inner is None and isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        inner = module.module
    return inner


def _is_filled(cell: CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018 (it raises where a variable has no value yet)
    except ValueError:
        return False
    return True


class _Viewer:
    """Makes the view of one network: whatever refers to one of its modules refers to that module's view."""

    def __init__(
        self,
        keep_in_place: bool,
        own_tensors: bool,
        own_containers: bool = True,
        trainable: bool = False,
        in_graph: bool = False,
    ) -> None:
        self._in_graph = in_graph
        self._keep_in_place = keep_in_place
        self._own_tensors = own_tensors
        self._own_containers = own_containers
        self._trainable = trainable
        self._seen: dict[int, Any] = {}

    def module(self, module: nn.Module) -> nn.Module:
        if id(module) in self._seen:
            found: nn.Module = self._seen[id(module)]
            return found
        inner = _delegate(module)
        if inner is not None:
            view = self._seen[id(module)] = self.module(inner)
            self._add_hooks(view, module)
            return view
        if isinstance(module, torch.jit.ScriptModule):  # lives outside of Python: its mode cannot be set on a view
            if self._in_graph:
                raise UnsupportedModelError(
                    f"create_graph: a part in TorchScript ({module.original_name}) gets no gradients: use its nn.Module"
                )
            with torch.no_grad():
                view = self._seen[id(module)] = copy.deepcopy(module).eval()
            for parameter in view.parameters():
                parameter.requires_grad_(False)
            return view
        view = self._seen[id(module)] = object.__new__(type(module))
        view.__dict__.update(module.__dict__)
        for name, value in module.__dict__.items():
            kind = type(value)
            if kind in _PLAIN or (name in _SHARED and not self._own_tensors):
                continue
            if kind in (dict, OrderedDict) and not value:  # most of what a module holds: dictionaries of hooks
                view.__dict__[name] = kind()
            elif name == "_buffers":  # a forward pass may write into them
                view.__dict__[name] = {
                    key: each if each is None else self._tensor(each, True) for key, each in value.items()
                }
            else:
                view.__dict__[name] = self._value(value)
        view.__dict__["training"] = False
        if view.__dict__.get("_compiled_call_impl") is not None:  # it runs the network, not the view
            view.__dict__["_compiled_call_impl"] = None
        if view.__dict__.get("inplace") is True and not self._keep_in_place:
            view.__dict__["inplace"] = False
        return view

    def _value(self, value: Any) -> Any:
        if type(value) in _PLAIN:
            return value
        if id(value) in self._seen:
            return self._seen[id(value)]
        if isinstance(value, nn.Module):
            return self.module(value)
        if isinstance(value, Tensor):
            return self._tensor(value)
        if isinstance(value, dict):
            new = self._seen[id(value)] = copy.copy(value)  # a module may keep there what it has computed once
            for key, each in value.items():
                if type(each) not in _PLAIN:
                    new[key] = self._value(each)
            if not self._own_containers and all(new[key] is each for key, each in value.items()):
                new = self._seen[id(value)] = value
            return new
        if type(value) is list:
            filled: list[Any] = []
            self._seen[id(value)] = filled
            filled.extend(self._value(each) for each in value)
            if not self._own_containers and all(new is old for new, old in zip(filled, value, strict=True)):
                filled = self._seen[id(value)] = value
            return filled
        if type(value) in (tuple, set):
            if all(type(each) in _PLAIN for each in value):
                return value if type(value) is tuple else set(value)
            return type(value)(self._value(each) for each in value)
        return self._callable(value)

    def _callable(self, value: Any) -> Any:
        """A method of a module that was kept or replaced belongs to the module's view, whatever holds on to it."""
        plain = getattr(value, "_torchdynamo_orig_callable", None)  # a compiled one runs the network
        if plain is not None:
            return self._value(plain)
        if isinstance(value, MethodType) and isinstance(value.__self__, nn.Module):
            return MethodType(value.__func__, self.module(value.__self__))
        if isinstance(value, partial):
            arguments = (self._value(each) for each in value.args)
            return partial(
                self._value(value.func), *arguments, **{k: self._value(v) for k, v in value.keywords.items()}
            )
        if isinstance(value, FunctionType) and (value.__closure__ or value.__defaults__ or value.__kwdefaults__):
            return self._function(value)
        return value

    def _function(self, function: FunctionType) -> FunctionType:
        """The same function; what it was given once are views where that was modules and their methods."""
        self._seen[id(function)] = function  # one that refers to itself goes on doing so
        given = [cell.cell_contents if _is_filled(cell) else None for cell in function.__closure__ or ()]
        defaults, named = list(function.__defaults__ or ()), function.__kwdefaults__ or {}
        held = [*given, *defaults, *named.values()]
        if not any(isinstance(each, (nn.Module, MethodType, partial, FunctionType)) for each in held):
            return function
        cells = function.__closure__ or ()
        new = FunctionType(
            function.__code__,
            function.__globals__,
            function.__name__,
            tuple(self._held(each) for each in defaults) or None,
            tuple(CellType(self._held(x)) if _is_filled(cell) else cell for x, cell in zip(given, cells, strict=True)),
        )
        new.__kwdefaults__ = {key: self._held(each) for key, each in named.items()} or None
        new.__dict__.update(function.__dict__)
        self._seen[id(function)] = new
        return new

    def _held(self, value: Any) -> Any:
        """What a function holds: anything but modules and functions is its own, such as the lists that it fills."""
        return self._value(value) if isinstance(value, (nn.Module, MethodType, partial, FunctionType)) else value

    def _tensor(self, tensor: Tensor, cloned: bool = False) -> Tensor:
        if id(tensor) in self._seen:
            found: Tensor = self._seen[id(tensor)]
            return found
        if not self._own_tensors:
            return tensor
        if self._in_graph and tensor.requires_grad:
            tensor = self._seen[id(tensor)] = tensor.clone() if cloned else tensor
            return tensor
        # .data instead of detach(): autograd's version counters stay apart, too. An inference tensor cannot take part
        # in autograd at all.
        data = tensor.data.clone() if cloned or tensor.is_inference() else tensor.data
        requires_grad = self._trainable and tensor.requires_grad
        alias = nn.Parameter(data, requires_grad=requires_grad) if isinstance(tensor, nn.Parameter) else data
        self._seen[id(tensor)] = alias
        return alias

    def _add_hooks(self, view: nn.Module, wrapper: nn.Module) -> None:
        """What is hooked to a wrapper acts before everything that is hooked to what it wraps, and after it."""
        for names, wrapper_first in ((_PRE_HOOKS, True), (_HOOKS, False)):
            for name in names:
                own, outer = view.__dict__[name], self._value(wrapper.__dict__[name])
                first, second = (outer, own) if wrapper_first else (own, outer)
                view.__dict__[name] = OrderedDict([*first.items(), *second.items()])
