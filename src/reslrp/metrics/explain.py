"""What a metric that computes maps itself asks of an explainer."""

from collections.abc import Callable

from torch import Tensor

Explain = Callable[[Tensor, Tensor], Tensor]
"""Maps (N, H, W) of images (N, C, H, W) for the classes (N,)."""
