"""The attention weights of a vision transformer: their values, their relevance, their gradients, and maps of tokens."""

import math
from typing import Any

import torch
from torch import Tensor, fx

from relsplit.errors import InputError
from relsplit.lrp.operations.matmul import MatrixProduct
from relsplit.lrp.operations.operation import Passed
from relsplit.lrp.program import Program


def weight_nodes(program: Program) -> list[fx.Node]:
    """Return the nodes that hold attention weights, in the order of the forward pass."""
    products = [operation for operation in program.operations.values() if isinstance(operation, MatrixProduct)]
    return [product.weights for product in products if product.weights is not None]


def run_with_weights(program: Program, images: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Run the network once.

    Args:
        program: of the network.
        images: (N, C, H, W).

    Returns:
        Its output, and the attention weights (N, heads, T, T) of every block, all part of one autograd graph if
        gradients are on.

    Raises:
        InputError: the network has no attention among all of its tokens.
    """
    values: dict[fx.Node, Any] = {program.image: images}
    for node, operation in program.operations.items():
        args: Any = fx.node.map_arg(node.args, values.__getitem__)
        kwargs: Any = fx.node.map_arg(node.kwargs, values.__getitem__)
        values[node] = operation.evaluate(*args, **kwargs)
    weights = [values[node] for node in weight_nodes(program)]
    shapes = sorted({tuple(each.shape[1:]) for each in weights})
    plain = len(shapes) == 1 and len(shapes[0]) == 3 and shapes[0][1] == shapes[0][2]
    if not plain or any(len(each) != len(images) for each in weights):
        found = ", ".join(map(str, shapes[:4])) or "none"
        raise InputError(
            "the network must be a plain vision transformer, with attention among all of its tokens in every block: "
            f"attention weights found, without the batch: {found}"
        )
    return values[program.output], weights


class WeightRelevance:
    """Takes note of the relevance that attention weights receive."""

    def __init__(self, program: Program, start: Tensor) -> None:
        self._nodes = weight_nodes(program)
        self._found: dict[fx.Node, Tensor] = {}

    def visit(self, node: fx.Node, relevance: Tensor, passed: Passed) -> None:
        """See :class:`relsplit.lrp.conservation.Observer`."""
        if node in self._nodes:
            self._found[node] = relevance

    def of_blocks(self) -> list[Tensor]:
        """Return the relevance (N, heads, T, T) of every block's weights, in the order of the forward pass."""
        return [self._found[node] for node in self._nodes]


def map_of_tokens(mixing: Tensor) -> Tensor:
    """Return the patches' part in what the network reads.

    Args:
        mixing: (N, T, T), how much each token (row) holds of each token of the image (column).

    Returns:
        (N, side, side): the row of the class token, which comes first; without one, the mean of all rows.

    Raises:
        InputError: the patches form no square.
    """
    tokens = mixing.shape[-1]
    side = math.isqrt(tokens)
    before = tokens - side**2
    if before > 8:
        raise InputError(f"the patches of the image must form a square: there are {tokens} tokens")
    row = mixing[:, 0] if before else mixing.mean(1)
    return row[:, before:].reshape(len(mixing), side, side)


def identity_like(weights: Tensor) -> Tensor:
    """Return the identity matrix (T, T) of the skip connection beside attention weights (N, T, T)."""
    return torch.eye(weights.shape[-1], dtype=weights.dtype, device=weights.device)
