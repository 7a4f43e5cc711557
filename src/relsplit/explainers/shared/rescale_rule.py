"""DeepLIFT's rescale rule, for whatever activations and poolings a network calls.

The images and their references pass the network in one batch, images first. Every elementwise activation and every max
pooling is carried out by a function whose way back multiplies by change of output over change of input; what is linear
has this for its gradient already. So the gradient with respect to the images are DeepLIFT's multipliers.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

EPSILON = 1e-10  # captum's: smaller differences to the reference count as none
ELEMENTWISE = frozenset(
    (
        *(
            "relu",
            "relu6",
            "leaky_relu",
            "rrelu",
            "elu",
            "celu",
            "selu",
            "gelu",
            "silu",
            "mish",
            "softplus",
            "softsign",
        ),
        *("sigmoid", "logsigmoid", "tanh", "tanhshrink", "hardtanh", "hardswish", "hardsigmoid", "hardshrink"),
        *("softshrink", "threshold"),
    )
)
_POOLS: dict[str, Callable[..., Any]] = {
    "max_pool1d": F.max_pool1d, "max_pool2d": F.max_pool2d, "max_pool3d": F.max_pool3d
}  # fmt: skip
_POOLING = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")


class RescaleRule(TorchFunctionMode):
    """While it is on, in this thread alone, activations and max poolings go back by the rescale rule.

    Args:
        both: inputs and references (2N, ...), in this order.
    """

    def __init__(self, both: Tensor) -> None:
        super().__init__()
        self._count = len(both)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "").rstrip("_")
        inputs = args[0] if args else kwargs.get("input")
        # What does not depend on the images has no part in it. Of other batches (windows) halves are halves still.
        if not isinstance(inputs, Tensor) or not inputs.requires_grad or inputs.ndim < 2 or len(inputs) % self._count:
            return func(*args, **kwargs)
        if name in ELEMENTWISE:
            further = args[1:]
            named = {key: value for key, value in kwargs.items() if key != "input"}
            outputs, in_place = _Rescaled.apply(inputs, lambda x: func(x, *further, **named))
            return inputs.copy_(outputs) if in_place else outputs
        pool = _POOLS.get(name)
        if pool is not None and not kwargs.get("return_indices"):
            options = dict(zip(_POOLING, args[1:], strict=False)) | {k: v for k, v in kwargs.items() if k in _POOLING}
            return _RescaledMaxPool.apply(inputs, partial(pool, **options, return_indices=True))
        return func(*args, **kwargs)


class _Rescaled(torch.autograd.Function):
    """An elementwise function; also says whether it wrote over its input, which it is only given a copy of."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, function: Callable[[Tensor], Tensor]) -> tuple[Tensor, bool]:
        given = inputs.clone()
        outputs = function(given)
        ctx.function = function
        # An input that is written over later on is kept as it was.
        ctx.kept = inputs.clone(), outputs
        return outputs.clone(), outputs.data_ptr() == given.data_ptr()

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None]:
        inputs, outputs = ctx.kept
        image, multiplier = inputs.chunk(2)[0], gradients[0].chunk(2)[0]
        change_in, change_out = (first - second for first, second in (inputs.chunk(2), outputs.chunk(2)))
        with torch.enable_grad():
            variable = image.detach().requires_grad_()
            (slope,) = torch.autograd.grad(ctx.function(variable.clone()), variable, multiplier)
        unchanged = change_in.abs() < EPSILON
        result = torch.where(unchanged, slope, multiplier * (change_out / change_in.masked_fill(unchanged, 1)))
        return torch.cat([result] * 2), None


class _RescaledMaxPool(torch.autograd.Function):
    """Max pooling for windows that overlap.

    A window's change in output goes to where its maximum is: up to the larger of the two outputs to the image's
    maximum, the rest to the reference's. captum has the same rule, but it does not reach a ReLU right before the
    pooling (whose hook sees the gradient first), keeps only one window when several share a maximum (3x3 with stride
    2), and takes the first image's gradient for all images where nothing changed. A ResNet's stem is ReLU and 3x3
    pooling with stride 2.
    """

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, pool: Callable[[Tensor], tuple[Tensor, Tensor]]) -> Tensor:
        outputs, indices = pool(inputs)
        ctx.kept = inputs.clone(), outputs, indices
        return outputs.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        inputs, outputs, indices = ctx.kept
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
