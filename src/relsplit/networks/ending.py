"""Whether a network ends in a step that makes probabilities."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from relsplit.networks.outputs import obvious_part

_MAKING = ("sigmoid", "hardsigmoid", "softmax", "_softmax")
_KEEPING = ("cat", "stack", "clone", "_to_copy", "copy", "index", "index_select", "gather", "mean", "clamp", "repeat")
"""Of probabilities they make probabilities; so does whatever returns a view."""


def ends_in_probabilities(network: Callable[..., Any], *inputs: Tensor, **further: Any) -> bool:
    """Say whether what the network returns has come out of a sigmoid or softmax, and been reshaped or averaged at most.

    Args:
        network: in eval mode, or a part of what it returns; it is run once, without gradients.
        inputs: what it takes by position; one sample is enough.
        further: what it takes by name.
    """
    watch = _Probabilities()
    with torch.inference_mode(False), torch.no_grad(), watch:
        output = obvious_part(network(*[each.clone() for each in inputs], **further))
    return isinstance(output, Tensor) and watch.hold(output)


class _Probabilities(TorchDispatchMode):
    """Follows which tensors hold probabilities; by their storage, which views share."""

    def __init__(self) -> None:
        super().__init__()
        self._storages: dict[int, bool] = {}

    def hold(self, tensor: Tensor) -> bool:
        return self._storages.get(_storage(tensor), False)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        name = func.overloadpacket.__name__.rstrip("_")
        sources = inputs[1:] if name == "copy" else inputs
        made = name in _MAKING or (
            name in _KEEPING and all(self.hold(tensor) for tensor in sources if tensor.is_floating_point())
        )
        read = {_storage(tensor) for tensor in inputs}
        for tensor in tree_leaves(output):
            # A storage's number may have been that of one that is gone: whatever is not a view is written down anew.
            if isinstance(tensor, Tensor) and (func._schema.is_mutable or _storage(tensor) not in read):
                self._storages[_storage(tensor)] = made
        return output


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)
