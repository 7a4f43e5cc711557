"""The attention weights of a vision transformer: their values, their relevance, their gradients, and maps of tokens."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from relsplit.errors import InputError
from relsplit.lrp import LRP
from relsplit.lrp.recording.network import Recording
from relsplit.lrp.recording.recorder import Attended
from relsplit.lrp.recording.step import Passed, Step
from relsplit.networks.answer import Answer, is_same


@dataclass(frozen=True)
class Attentions:
    """What a plain vision transformer's blocks attended to, in the order of the forward pass.

    Attributes:
        answer: of the network.
        weights: (N, heads, T, T) of every block.
        attended: what each of them computed.
    """

    answer: Answer
    weights: list[Tensor]
    attended: Sequence[Attended]

    def gradients(self, score: Tensor) -> list[Tensor]:
        """Return the gradients of ``score``, computed from the answer, with respect to all weights."""
        # The weights A act through A V alone; the last block's other tokens are not read.
        outputs = [attended.output for attended in self.attended]
        gradients = torch.autograd.grad(score, outputs, materialize_grads=True)
        products = [gradient @ attended.value.mT for gradient, attended in zip(gradients, self.attended, strict=True)]
        return [product.reshape(weights.shape) for product, weights in zip(products, self.weights, strict=True)]


def attentions(explainer: LRP, images: Tensor) -> Attentions:
    """Run the network once, and once more for the first image without gradients, to see that it answers the same.

    Args:
        explainer: of the network.
        images: (N, C, H, W).

    Raises:
        InputError: the network has no attention among all of its tokens, or answers something else with gradients.
    """
    recording = explainer.attend(images)
    with torch.no_grad():
        if not is_same(recording.output[:1].detach(), explainer.record(images[:1]).output):
            raise InputError("model: it answers something else where gradients are taken: no map could show both")
    attended = recording.recorder.attentions or []
    weights = [_by_image(each.weights(), len(images)) for each in attended]
    shapes = sorted({tuple(each.shape[1:]) for each in weights})
    plain = len(shapes) == 1 and len(shapes[0]) == 3 and shapes[0][1] == shapes[0][2]
    if not plain or any(len(each) != len(images) for each in weights):
        found = ", ".join(map(str, shapes[:4])) or "none"
        raise InputError(
            "the network must be a plain vision transformer, with attention among all of its tokens in every block: "
            f"attention weights found, without the batch: {found}"
        )
    return Attentions(explainer.answer(recording, len(images)), weights, attended)


def _by_image(weights: Tensor, count: int) -> Tensor:
    """Separate the images from the heads where they are one dimension."""
    return weights.unflatten(0, (count, -1)) if weights.dim() == 3 and len(weights) % count == 0 else weights


class WeightRelevance:
    """Takes note of the relevance that attention weights receive."""

    def __init__(self, recording: Recording, start: Tensor) -> None:
        self._count = len(start)
        self._found: list[Tensor] = []

    def visit(self, step: Step, relevance: Tensor, passed: Passed) -> None:
        """See :class:`relsplit.lrp.ledger.Observer`."""
        if step.is_attention_weights:
            self._found.append(_by_image(relevance, self._count))

    def of_blocks(self) -> list[Tensor]:
        """Return the relevance (N, heads, T, T) of every block's weights, in the order of the forward pass."""
        return self._found[::-1]


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
