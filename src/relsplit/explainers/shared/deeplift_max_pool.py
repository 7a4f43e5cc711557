"""Max pooling under DeepLIFT's rescale rule, for windows that overlap."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPSILON = 1e-10  # captum's: smaller differences to the reference count as none


class DeepLiftMaxPool(nn.Module):
    """``nn.MaxPool2d`` whose backward pass gives DeepLIFT's multipliers.

    captum puts the images and their references into one batch, images first; so does this module expect it. A window's
    change in output goes to where its maximum is: up to the larger of the two outputs to the image's maximum, the rest
    to the reference's. captum has the same rule, but it does not reach a ReLU right before the pooling (whose hook sees
    the gradient first), keeps only one window when several share a maximum (3x3 with stride 2), and takes the first
    image's gradient for all images where nothing changed. A ResNet's stem is ReLU and 3x3 pooling with stride 2.

    Args:
        pool: the module to replace.
    """

    def __init__(self, pool: nn.MaxPool2d) -> None:
        super().__init__()
        self.options = {
            "kernel_size": pool.kernel_size,
            "stride": pool.stride,
            "padding": pool.padding,
            "dilation": pool.dilation,
            "ceil_mode": pool.ceil_mode,
        }

    def forward(self, inputs: Tensor) -> Tensor:
        """Max pooling of (2N, C, H, W)."""
        pooled: Tensor = _RescaledMaxPool.apply(inputs, self.options)
        return pooled


class _RescaledMaxPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, options: dict[str, Any]) -> Tensor:
        outputs, indices = F.max_pool2d(inputs, **options, return_indices=True)
        ctx.save_for_backward(inputs, outputs, indices)
        return outputs

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        inputs, outputs, indices = ctx.saved_tensors
        image, reference = inputs.chunk(2)
        image_output, reference_output = outputs.chunk(2)
        image_index, reference_index = (index.flatten(2) for index in indices.chunk(2))
        multiplier = gradients[0].chunk(2)[0]  # both halves carry the same multipliers

        larger = torch.maximum(image_output, reference_output)
        contribution = torch.zeros_like(image).flatten(2)
        contribution.scatter_add_(2, image_index, (multiplier * (larger - reference_output)).flatten(2))
        contribution.scatter_add_(2, reference_index, (multiplier * (image_output - larger)).flatten(2))
        gradient = torch.zeros_like(contribution).scatter_add_(2, image_index, multiplier.flatten(2))

        difference = (image - reference).flatten(2)
        unchanged = difference.abs() < EPSILON
        result = torch.where(unchanged, gradient, contribution / difference.masked_fill(unchanged, 1))
        return torch.cat([result.reshape(image.shape)] * 2), None
