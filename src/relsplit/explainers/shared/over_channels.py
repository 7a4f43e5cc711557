"""Relevance of inputs, its channels summed."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from relsplit.explainers.shared.on_the_image import smoothed
from relsplit.networks.inputs import Given


def over_channels(relevance: Any, inputs: Given, smoothing: float | None) -> Any:
    """Return relevance summed over the channels, and smoothed.

    Args:
        relevance: of the inputs' shapes: (N, C, ...), of tokens (N, T), of tables (N, F).
        inputs: that it is of.
        smoothing: of images (N, C, H, W), see :func:`relsplit.explainers.shared.on_the_image.smoothed`; None: none.

    Returns:
        (N, ...), of tokens and tables as it is; of several inputs one for each, as these were given.

    Raises:
        InputError: anything but images is to be smoothed.
    """
    if isinstance(relevance, Mapping):
        assert isinstance(inputs, Mapping)  # relevance is arranged as the inputs are
        return {name: over_channels(each, inputs[name], smoothing) for name, each in relevance.items()}
    if isinstance(relevance, tuple):
        assert isinstance(inputs, tuple)
        return tuple(over_channels(each, inputs[place], smoothing) for place, each in enumerate(relevance))
    assert isinstance(inputs, Tensor)
    return smoothed(relevance.sum(1) if relevance.dim() > 2 else relevance, inputs, smoothing)


def parts_of(relevance: Any) -> list[Tensor]:
    """Return the relevance of each of the inputs, of whatever arrangement."""
    if isinstance(relevance, Tensor):
        return [relevance]
    return list(relevance.values()) if isinstance(relevance, Mapping) else list(relevance)
