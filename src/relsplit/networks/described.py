"""Says what a network returned."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor


def described(output: object) -> str:
    """Return what an output is, in few words."""
    if isinstance(output, Tensor):
        kind = "" if output.is_floating_point() else f" of {output.dtype}"
        kind += "" if str(output.layout) == "torch.strided" else f", {output.layout}"
        return f"a tensor {tuple(output.shape)}{kind}"
    if isinstance(output, Mapping):
        return f"a {type(output).__name__} of {', '.join(map(str, output)) or 'nothing'}"
    if isinstance(output, (tuple, list)):
        return f"a {type(output).__name__} of {len(output)} {_members(output)}"
    return f"a {type(output).__name__}"


def _members(output: "tuple[Any, ...] | list[Any]") -> str:
    kinds = {type(each).__name__ for each in output}
    return f"{kinds.pop()}s" if len(kinds) == 1 else "values"
