"""Where a map has values."""

import torch
from torch import Tensor

from relsplit.errors import InputError
from relsplit.networks.inputs import Inputs, checked_inputs


def checked_places(given: object) -> tuple[Tensor, tuple[int, ...], torch.dtype]:
    """Return one input, checked, and the shape and type of a sample's map.

    Args:
        given: images (N, C, H, W), signals (N, C, L), volumes (N, C, D, H, W), tables (N, F) or tokens (N, T).

    Returns:
        The input, detached; (H, W), (L,), (D, H, W), (F,) or (T,); and the input's type, or PyTorch's default.

    Raises:
        InputError: it cannot be explained, or there are several inputs.
    """
    inputs: Inputs = checked_inputs(given)
    inputs.check_values()
    if not inputs.is_single:
        raise InputError(f"a control is of one input; given are {inputs}")
    (tensor,) = inputs.tensors
    is_flat = tensor.dim() == 2 or not tensor.is_floating_point()
    places = tuple(tensor.shape[1:] if is_flat else tensor.shape[2:])
    return tensor, places, tensor.dtype if tensor.is_floating_point() else torch.get_default_dtype()
