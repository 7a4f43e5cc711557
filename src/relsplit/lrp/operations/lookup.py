"""Tokens are looked up: what arrives at a token's vector is the token's relevance."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from relsplit.lrp.arithmetic import supported
from relsplit.lrp.operations import OPERATIONS
from relsplit.lrp.operations.index_map import index_map
from relsplit.lrp.recording.call import Call
from relsplit.networks.looked_up import Pooling, pooled

_POOLINGS: tuple[Pooling, ...] = ("sum", "mean", "max")
"""By the numbers that PyTorch's kernel has for them."""
_NAMES_OF_TOKENS = ("indices", "index")


@OPERATIONS.register("embedding", "index", "_unsafe_index", "index_select")
def embedding(call: Call) -> Any:
    """A table of vectors that is looked up by tokens is a layer; one that depends on the input is an index map."""
    given = call.given()
    (name,) = (name for name in _NAMES_OF_TOKENS if name in given)
    indices = [each for each in (given[name] if call.name in ("index", "_unsafe_index") else [given[name]])
               if isinstance(each, Tensor)]  # fmt: skip
    tokens = indices[0] if len(indices) == 1 else None
    source = None if tokens is None else call.step(tokens)
    if source is None or tokens is None:
        return index_map(call)
    is_rows = given.get("dim", 0) == 0 and not (isinstance(given[name], list) and given[name][0] is not tokens)
    if not is_rows:
        return call.refuse("tokens choose along another dimension than the first")
    depth = tokens.dim()
    support = source.support
    padding = given.get("padding_idx", -1)
    if padding >= 0:
        present = tokens != padding
        support = supported(present if support is None else present & (support > 0))
    watch, path = call.recorder.watch, call.recorder.path()
    kept = call.kept([given["weight"] if "weight" in given else given["self"], tokens])
    output = call.run()

    def backward(relevance: Tensor) -> list[Tensor]:
        if watch.parameters is not None:
            table, rows = kept()
            watch.parameters.looked_up(path, table, rows, relevance)
        return [relevance.flatten(depth).sum(-1) if relevance.dim() > depth else relevance]

    if support is not None:
        support = support.reshape(*tokens.shape, *[1] * (output.dim() - depth)).expand(output.shape)
    call.record(
        output,
        [source],
        backward,
        is_layer=True,
        looks_up=True,
        support=support,
    )
    return output


@OPERATIONS.register("one_hot")
def one_hot(call: Call) -> Any:
    """A table with a column for each token, to be multiplied by its weights."""
    _, source = call.sources[0]
    output = call.run()
    support = None if source.support is None else source.support.unsqueeze(-1).expand(output.shape)
    call.record(
        output,
        [source],
        lambda relevance: [relevance.sum(-1)],
        is_layer=True,
        looks_up=True,
        nonnegative=True,
        support=support,
    )
    return output


@OPERATIONS.register("_embedding_bag", "_embedding_bag_forward_only")
def embedding_bag(call: Call) -> Any:
    """The mean, sum or greatest of the vectors of equally many tokens for each sample, or their weighted sum."""
    given = call.given()
    tokens, offsets, mode, padding = (given[name] for name in ("indices", "offsets", "mode", "padding_idx"))
    bags = len(offsets) - int(given["include_last_offset"])
    size = len(tokens) // max(bags, 1)
    regular = size * bags == len(tokens) and offsets[:bags].tolist() == list(range(0, len(tokens), max(size, 1)))
    if not regular or call.step(given["weight"]) is not None:
        call.recorder.note_embedded([source for _, source in call.sources])  # looked up they are
        return call.refuse("its bags hold different numbers of tokens, or its table depends on the input")
    others = call.run()[1:]
    with call.recorder:
        vectors = F.embedding(tokens, given["weight"], padding if padding >= 0 else None).unflatten(0, (bags, size))
        if given["per_sample_weights"] is not None:
            vectors = vectors * given["per_sample_weights"].reshape(bags, size, 1)
        present = (tokens != padding).reshape(bags, size, 1) if padding >= 0 else None
        result = pooled(vectors, _POOLINGS[mode], present)
    return (result, *others)


@OPERATIONS.register("embedding_renorm")
def renormalised(call: Call) -> Any:
    """The option ``max_norm`` of an embedding writes over its table, which stays a constant."""
    return call.run()
