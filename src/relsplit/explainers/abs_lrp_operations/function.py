"""Pooling, means, interpolation and curved activations: functions without weights."""

from typing import Any

import torch
from torch import Tensor

from relsplit.explainers.abs_lrp_operations import ABS_OPERATIONS
from relsplit.explainers.abs_lrp_operations.contributions import Contributions, of_function
from relsplit.explainers.abs_lrp_operations.sharing import share
from relsplit.lrp.operations.max_pool import ADAPTIVE, WINDOWED
from relsplit.lrp.operations.mean import MEANS
from relsplit.lrp.recording.again import Again
from relsplit.lrp.recording.call import Call

_CURVED = ("gelu", "silu", "mish", "hardswish", "sigmoid", "tanh", "elu", "celu", "selu", "softplus")
_MAXIMA = (*WINDOWED, "adaptive_max_pool1d", *ADAPTIVE, "amax")


@ABS_OPERATIONS.register(*MEANS, *_CURVED, *_MAXIMA)
def function(call: Call) -> Any:
    """A function y of x with the magnitude y of |x|.

    For networks without skip connections (VGG) the released code does not divide by the output of max pooling.
    """
    again, facts = Again(call, call.sources), call.recorder.facts
    may_be_undivided = call.options.released and call.name in _MAXIMA

    def run(x: Tensor) -> Tensor:
        result: Any = again([x])
        return result if isinstance(result, Tensor) else result[0]

    def contributions(x: Tensor) -> Contributions:
        found = of_function(x, run)
        undivided = may_be_undivided and not facts.residuals
        return Contributions(torch.ones_like(found.output), found.parts) if undivided else found

    return share(call, [call.sources[0][0]], contributions)
