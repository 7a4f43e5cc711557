"""Layers with weights: what contributes is measured against the layer with the magnitudes of its weights."""

from typing import Any

from torch import Tensor

from relsplit.explainers.abs_lrp_operations import ABS_OPERATIONS
from relsplit.explainers.abs_lrp_operations.contributions import Contributions, of_function, of_layer_norm, of_sum
from relsplit.explainers.abs_lrp_operations.sharing import share
from relsplit.lrp.recording.call import Call


@ABS_OPERATIONS.register("linear", "convolution")
def layer(call: Call) -> Any:
    """A fully connected layer, a convolution; in the released code BatchNorm, too."""
    h, weight, *rest = call.args
    func, signed = call.func, None if weight is None else weight.detach()

    def contributions(x: Tensor) -> Contributions:
        magnitude = None if signed is None else signed.abs()
        return of_function(x, lambda v: func(v, signed, *rest), lambda v: func(v, magnitude, *rest))

    return share(call, [h], contributions)


@ABS_OPERATIONS.register("batch_norm")
def batch_norm(call: Call) -> Any:
    """BatchNorm with its running statistics: in the earlier version the subtraction of the mean, then an affine map."""
    given, sharing = call.given(), call.options
    if given["training"] or len(call.sources) != 1:
        return call.refuse("what it normalises by depends on the input")
    if sharing.released:
        return layer(call)
    h = given["input"]
    shape = (-1, *[1] * (h.dim() - 2))
    mean, slope = given["running_mean"].view(shape), (given["running_var"] + given["eps"]).rsqrt().view(shape)
    if given["weight"] is not None:
        slope = slope * given["weight"].detach().view(shape)
    saved, made = call.save(h.detach()), call.run()
    result = call.save(made.detach())

    def backward(relevance: Tensor) -> list[Tensor]:
        centred = saved.tensor - mean
        affine = Contributions(result.tensor, lambda q: [2 * (slope * centred).clamp(min=0) * q])
        (arrived,) = sharing.divide(affine, relevance)
        parts: list[Tensor] = sharing.divide(of_sum([saved.tensor], centred), arrived)
        return parts

    call.record(made, [call.sources[0][1]], backward)
    return made


@ABS_OPERATIONS.register("layer_norm")
def layer_norm(call: Call) -> Any:
    """LayerNorm, with mean and deviation as constants."""
    given = call.given()
    settings = [given[name] for name in ("normalized_shape", "weight", "bias", "eps")]
    return share(call, [given["input"]], lambda x: of_layer_norm(x, *settings))
