"""Which modules, functions and methods are known, and as what."""

import operator
import re
from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

PASS_MODULES: tuple[type[nn.Module], ...] = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish, nn.Tanh,
    nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh, nn.Sigmoid, nn.Softplus, nn.Softsign, nn.Threshold,
    nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm, nn.GroupNorm, nn.LayerNorm, nn.LocalResponseNorm,
    nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d,
    nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout,
)  # fmt: skip
INDEX_MODULES: tuple[type[nn.Module], ...] = (
    nn.Flatten, nn.Unflatten, nn.PixelShuffle, nn.PixelUnshuffle, nn.ChannelShuffle,
    nn.ZeroPad1d, nn.ZeroPad2d, nn.ZeroPad3d, nn.ConstantPad1d, nn.ConstantPad2d, nn.ConstantPad3d,
    nn.ReflectionPad1d, nn.ReflectionPad2d, nn.ReflectionPad3d, nn.CircularPad1d, nn.CircularPad2d, nn.CircularPad3d,
    nn.ReplicationPad1d, nn.ReplicationPad2d, nn.ReplicationPad3d,
)  # fmt: skip
MEAN_MODULES: tuple[type[nn.Module], ...] = (
    nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d,
    nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d,
    nn.Upsample, nn.UpsamplingNearest2d, nn.UpsamplingBilinear2d,
)  # fmt: skip
MAX_MODULES: tuple[type[nn.Module], ...] = (
    nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d,
    nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d,
)  # fmt: skip
CONVOLUTION_MODULES: tuple[type[nn.Module], ...] = (
    nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d,
)  # fmt: skip
# Functions and methods by name; a function counts when it is torch's, torch.nn.functional's or operator's of that name.
_NAMES = {
    "pass": (
        "relu relu6 leaky_relu prelu elu celu selu gelu silu mish tanh hardswish hardsigmoid hardtanh sigmoid softplus "
        "softsign threshold batch_norm group_norm layer_norm instance_norm local_response_norm rms_norm dropout "
        "dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout contiguous clone detach to float double "
        "half bfloat16 type_as clamp clamp_min clamp_max neg pow square sqrt rsqrt exp abs normalize log_softmax "
        "logsigmoid hardshrink softshrink tanhshrink"
    ),
    "index": (
        "flatten reshape view permute transpose squeeze unsqueeze pad cat concat concatenate stack getitem narrow "
        "select roll flip pixel_shuffle pixel_unshuffle channel_shuffle movedim swapaxes expand repeat t unflatten "
        "index_select repeat_interleave hstack vstack slice index alias lift_fresh_copy _unsafe_view broadcast_to "
        "swapdims moveaxis unfold im2col tile slice_scatter select_scatter where masked_fill"
    ),
    "tuple": "chunk split unbind tensor_split split_with_sizes unsafe_chunk unsafe_split",
    "mean": (
        "avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d mean sum fold "
        "col2im upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_bilinear2d upsample_linear1d "
        "upsample_bicubic2d _upsample_bilinear2d_aa _upsample_bicubic2d_aa"
    ),
    "max": "max_pool1d max_pool2d max_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d amax",
    "interpolate": "interpolate upsample",
    "convolution": "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d",
    "dense": "linear",
    "softmax": "softmax",
    "matmul": "matmul bmm mm einsum",
    "add": "add",
    "subtract": "sub subtract",
    "multiply": "mul multiply",
    "divide": "truediv div divide true_divide",
}
_NONNEGATIVE_NAMES = {"relu", "relu6", "sigmoid", "hardsigmoid", "softplus", "softmax"}
_GATE_NAMES = {"sigmoid", "hardsigmoid", "softmax", "tanh"}
JOINING_NAMES = {
    "cat", "concat", "concatenate", "stack", "hstack", "vstack", "where", "masked_fill", "slice_scatter",
    "select_scatter",
}  # fmt: skip
"""Index maps whose result can hold entries of tensors that do not depend on the image."""


_MODULES: dict[str, tuple[type[nn.Module], ...]] = {
    "pass": PASS_MODULES,
    "index": INDEX_MODULES,
    "mean": MEAN_MODULES,
    "max": MAX_MODULES,
    "convolution": CONVOLUTION_MODULES,
    "dense": (nn.Linear,),
    "softmax": (nn.Softmax, nn.Softmax2d),
}


def _snake_case(class_name: str) -> str:
    """ReLU6 -> relu6, AdaptiveMaxPool2d -> adaptive_max_pool2d: modules are named after their functions."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", class_name.replace("ReLU", "Relu").replace("ELU", "elu")).lower()


def _functions(names: Iterable[str]) -> dict[Any, str]:
    found: dict[Any, str] = {}
    for name in names:
        for space in (torch, F, operator):
            if hasattr(space, name):
                found[getattr(space, name)] = name
    return found


KIND_OF_NAME: dict[str, str] = {name: kind for kind, names in _NAMES.items() for name in names.split()}
FUNCTION_NAMES: dict[Callable[..., Any], str] = _functions(KIND_OF_NAME)


def declare(
    kind: str,
    names: str = "",
    modules: tuple[type[nn.Module], ...] = (),
    functions: tuple[Callable[..., Any], ...] = (),
) -> None:
    """Make functions, methods and modules known as of a kind; for a file with an operation for a kind of its own.

    Args:
        kind: that the operation is registered for.
        names: of functions of torch, torch.nn.functional or operator, and of methods, separated by spaces.
        modules: types of modules.
        functions: of nobody of these, by their own names.
    """
    own = {function: function.__name__ for function in functions}
    KIND_OF_NAME.update(dict.fromkeys([*names.split(), *own.values()], kind))
    FUNCTION_NAMES.update(_functions(names.split()) | own)
    _MODULES[kind] = (*_MODULES.get(kind, ()), *modules)


def torch_name(target: Any) -> str:
    """Return the name of a method or of torch's function, known or not: of ``aten.conv2d.default`` "conv2d".

    A function of somebody else's has none, whatever it is called.
    """
    if isinstance(target, str):
        return target
    if isinstance(target, torch._ops.OpOverload):  # as torch.export has them
        return target._schema.name.rpartition("::")[2]
    name = str(getattr(target, "__name__", ""))
    return name if any(getattr(space, name, None) is target for space in (torch, F)) else ""


def function_name(target: Any) -> str:
    """Return the known name of a function, method name or torchvision's stochastic depth; "" if it is unknown."""
    if isinstance(target, (str, torch._ops.OpOverload)):
        name = torch_name(target)
        return name if name in KIND_OF_NAME else ""
    if target in FUNCTION_NAMES:
        return FUNCTION_NAMES[target]
    # torchvision's stochastic depth does nothing in evaluation mode.
    if getattr(target, "__module__", "").startswith("torchvision") and target.__name__ == "stochastic_depth":
        return "dropout"
    return ""


def module_kind(module: nn.Module) -> tuple[str, str]:
    """Return what a module is and its function's name, ("", "") if it is unknown."""
    for kind, types in _MODULES.items():
        if isinstance(module, types):
            return kind, _snake_case(type(module).__name__)
    return "", ""


def is_nonnegative_function(name: str) -> bool:
    """Say whether a function's values are never negative, whatever its input."""
    return name in _NONNEGATIVE_NAMES


def is_gate_function(name: str) -> bool:
    """Say whether a function squashes its input into weights for a product."""
    return name in _GATE_NAMES
