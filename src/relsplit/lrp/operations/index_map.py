"""Reshaping, slicing, padding, concatenation, choices: relevance follows the entries to where they came from."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from relsplit.lrp.arithmetic import supported
from relsplit.lrp.operations import OPERATIONS
from relsplit.lrp.operations.pass_through import pass_through
from relsplit.lrp.recording.again import Again
from relsplit.lrp.recording.call import Call
from relsplit.lrp.recording.step import RESHAPES, Part, Step


@OPERATIONS.register(*RESHAPES)
def reshape(call: Call) -> Any:
    """The same entries in the same order, in another shape."""
    tensor, source = call.sources[0]
    shape, dtype = tensor.shape, tensor.dtype  # before it runs: unsqueeze_ changes them
    output = call.run()
    if output.dtype != dtype:
        return call.refused(output, "it reads the bits of a number as another type")
    support = None if source.support is None else source.support.reshape(output.shape)
    _one(call, output, source, lambda relevance: relevance.reshape(shape), support)
    return output


@OPERATIONS.register("permute", "transpose", "t")
def permute(call: Call) -> Any:
    """The same entries with their dimensions in another order."""
    tensor, source = call.sources[0]
    output = call.run()
    given = call.given()
    if call.name == "t":
        order = list(reversed(range(tensor.dim())))
    elif call.name == "transpose":
        order = list(range(tensor.dim()))
        first, second = given["dim0"], given["dim1"]
        order[first], order[second] = order[second], order[first]
    else:
        order = [dim % tensor.dim() for dim in given["dims"]]
    back = [order.index(dim) for dim in range(len(order))]
    _one(call, output, source, lambda relevance: relevance.permute(back), _followed(call, source))
    return output


@OPERATIONS.register("expand")
def expand(call: Call) -> Any:
    """Entries that are seen several times."""
    tensor, source = call.sources[0]
    shape = tensor.shape
    output = call.run()
    _one(call, output, source, lambda relevance: relevance.sum_to_size(shape), _followed(call, source))
    return output


@OPERATIONS.register("slice", "select")
def part(call: Call) -> Any:
    """A part of the entries, in the same order."""
    tensor, source = call.sources[0]
    func, rest, kwargs, shape = call.func, call.args[1:], call.kwargs, tensor.shape
    output = call.run()

    def there(whole: Tensor) -> Tensor:
        found: Tensor = func(whole, *rest, **kwargs)
        return found

    _one(call, output, source, lambda relevance: Part(relevance, shape, there), _followed(call, source))
    return output


@OPERATIONS.register("split", "split_with_sizes", "unbind", "chunk", "tensor_split", "unsafe_split", "unsafe_chunk")
def parts(call: Call) -> Any:
    """Parts of the entries, several at once."""
    tensor, source = call.sources[0]
    func, rest, kwargs, shape = call.func, call.args[1:], call.kwargs, tensor.shape
    outputs = call.run()

    def backward_of(place: int) -> Callable[[Tensor], Part]:
        def there(whole: Tensor) -> Tensor:
            found = func(whole, *rest, **kwargs)[place]
            # One of several views at once cannot be written in a graph, a view of its own can.
            return whole.as_strided(found.shape, found.stride(), found.storage_offset())

        return lambda relevance: Part(relevance, shape, there)

    supports = None if source.support is None else func(source.support, *rest, **kwargs)
    for place, output in enumerate(outputs):
        support = None if supports is None else supported(supports[place] > 0)
        _one(call, output, source, backward_of(place), support)
    return outputs


def _followed(call: Call, source: Step) -> Tensor | None:
    """Return where an operation with one output depends on the input: where that has entries of its source that do."""
    return (
        None if source.support is None else supported(_again(call, [source.support.to(call.sources[0][0].dtype)]) > 0)
    )


def _one(
    call: Call, output: Tensor, source: Step, backward: Callable[[Tensor], Tensor | Part], support: Tensor | None
) -> None:
    """Note an index map of one source."""
    call.record(
        output,
        [source],
        lambda relevance: [backward(relevance)],
        nonnegative=source.nonnegative,
        is_gate=source.is_gate,
        is_attention=source.is_attention,
        support=support,
    )


_PADS = (
    "constant_pad_nd", "reflection_pad1d", "reflection_pad2d", "reflection_pad3d", "replication_pad1d",
    "replication_pad2d", "replication_pad3d", "_pad_circular",
)  # fmt: skip
_PICKS = (
    "gather", "take", "roll", "flip", "rot90", "pixel_shuffle", "pixel_unshuffle",
    "channel_shuffle", "native_channel_shuffle", "repeat", "repeat_interleave", "im2col", "unfold", "diagonal",
    "as_strided", "tril", "triu", "masked_select", "max_unpool2d", "max_unpool3d", "narrow_copy", "diag_embed",
)  # fmt: skip
_FILLS = ("constant_pad_nd", "tril", "triu", "max_unpool2d", "max_unpool3d", "im2col", "diag_embed")
"""Maps that put zeros beside the entries."""
_JOINS = (
    "cat", "stack", "where", "masked_fill", "slice_scatter", "select_scatter", "index_put", "_index_put_impl",
    "_unsafe_index_put", "scatter", "diagonal_scatter", "as_strided_scatter", "maximum", "minimum", "fmax", "fmin",
    "index_copy", "index_fill", "masked_scatter", "hstack", "vstack",
)  # fmt: skip
_BY_STRIDES = ("as_strided", "as_strided_scatter")
_CHOICES = ("maximum", "minimum", "fmax", "fmin")


@OPERATIONS.register(*_PADS, *_PICKS, *_JOINS)
def index_map(call: Call) -> Any:
    """Any other map of entries: by the transpose that PyTorch knows, for which no values are needed."""
    sources = [(tensor, step) for tensor, step in call.sources if call.carries(tensor)]
    if call.name in _BY_STRIDES:
        call.recorder.reads_strides = True
    if call.given().get("accumulate"):
        return call.refuse("it adds to what is there")
    steps, shapes = [step for _, step in sources], [(tensor.shape, tensor.stride()) for tensor, _ in sources]
    by_value = call.name in _CHOICES
    if by_value and len(sources) == 1:
        return pass_through(call)  # cut off by a constant, as by ``clamp``
    others = [call.save(tensor) if by_value else None for tensor, _ in sources]
    may_be_partial = call.name in (*_FILLS, *_JOINS) or call.has_support
    support = _support(call, sources) if may_be_partial and not by_value else None
    again = Again(call, sources)
    output = call.run()

    def backward(relevance: Tensor) -> list[Tensor]:
        inputs = [
            _unwritten(shape, stride, relevance) if saved is None else saved.tensor.detach().to(relevance.dtype).clone()
            for (shape, stride), saved in zip(shapes, others, strict=True)
        ]
        for each in inputs:
            each.requires_grad_()
        in_graph = torch.is_grad_enabled()
        with torch.enable_grad():
            maps = again(inputs)
            return list(torch.autograd.grad(maps, inputs, relevance, create_graph=in_graph, materialize_grads=True))

    call.record(
        output,
        steps,
        backward,
        nonnegative=all(step.nonnegative for step in steps),
        is_gate=len(steps) == 1 and steps[0].is_gate,
        is_attention=len(steps) == 1 and steps[0].is_attention,
        support=support,
    )
    return output


@OPERATIONS.register("sort", "topk", "kthvalue", "median", "mode", "cummax", "cummin")
def choice(call: Call) -> Any:
    """Entries that are chosen by their size: relevance goes where each came from."""
    tensor, source = call.sources[0]
    output = call.run()
    if isinstance(output, Tensor) or source.support is not None:
        return call.refuse("it chooses among all entries")
    values, indices = output
    given, shape = call.given(), tensor.shape
    dim, keeps = given.get("dim", -1), values.dim() == tensor.dim()
    positions = call.save(indices if keeps else indices.unsqueeze(dim))

    def backward(relevance: Tensor) -> list[Tensor]:
        arrived = relevance if keeps else relevance.unsqueeze(dim)
        return [arrived.new_zeros(shape).scatter_add_(dim, positions.tensor, arrived)]

    call.record(
        values,
        [source],
        backward,
        nonnegative=source.nonnegative,
        is_gate=source.is_gate,
        is_attention=source.is_attention,
    )
    return output


def _again(call: Call, values: Sequence[Tensor]) -> Tensor:
    return Again(call, call.sources)(values)


def _support(call: Call, sources: Sequence[tuple[Tensor, Step]]) -> Tensor | None:
    masks = [
        torch.ones_like(tensor) if step.support is None else step.support.to(tensor.dtype) for tensor, step in sources
    ]
    again = Again(call, sources)
    # What differs comes from an entry of the input's; a constant, infinite ones included, is the same in both.
    return supported(again(masks) != again([torch.zeros_like(mask) for mask in masks]))


def _unwritten(shape: torch.Size, stride: tuple[int, ...], like: Tensor) -> Tensor:
    """A new tensor of a layout, contiguous where the layout shares memory among entries (as ``expand`` does)."""
    if sum((size - 1) * step for size, step in zip(shape, stride, strict=True)) + 1 != shape.numel():
        return torch.empty(shape, dtype=like.dtype, device=like.device)
    return torch.empty_strided(shape, stride, dtype=like.dtype, device=like.device)
