"""How relevance is divided among the inputs of a step, by what they contribute."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from relsplit.errors import UnsupportedModelError
from relsplit.explainers.abs_lrp_operations.contributions import TINY, Contributions
from relsplit.lrp.recording.call import Call


@dataclass(frozen=True)
class Sharing:
    """The options of one call of :class:`relsplit.explainers.abs_lrp.AbsLRP`.

    Attributes:
        released: every input of a step gets a total of 1; False: positive and negative relevance keep their totals.
        images: how many there are; they lie along the first dimension, possibly with heads or windows inside of it.
    """

    released: bool
    images: int

    def divide(self, contributions: Contributions, relevance: Tensor) -> list[Tensor]:
        """Return the relevance of each input, given that of the step's output."""
        q = relevance / (contributions.output.abs() + TINY)
        return self._each_to_one(contributions, q) if self.released else self._masses_kept(contributions, q, relevance)

    def unit(self, relevance: Tensor) -> Tensor:
        """Return ``relevance`` with magnitudes that sum to 1 in each image."""
        return relevance / self._spread(self._totals(relevance.abs()) + TINY, relevance)

    def _each_to_one(self, contributions: Contributions, q: Tensor) -> list[Tensor]:
        return [self.unit(part) for part in contributions.parts(q)]

    def _masses_kept(self, contributions: Contributions, q: Tensor, relevance: Tensor) -> list[Tensor]:
        result: list[Tensor] = []
        for signed, sign in ((q.clamp(min=0), 1), (q.clamp(max=0), -1)):
            mass = self._totals((sign * relevance).clamp(min=0))
            parts = contributions.parts(signed)
            size = sum(self._totals(part.abs()) for part in parts)
            scaled = [part * self._spread(mass / (size + TINY**2), part) for part in parts]
            result = [a + b for a, b in zip(result, scaled, strict=True)] if result else scaled
        return result

    def _totals(self, relevance: Tensor) -> Tensor:
        if relevance.dim() == 0 or len(relevance) % self.images:
            raise UnsupportedModelError(
                f"abs_lrp: relevance of shape {tuple(relevance.shape)} has not its {self.images} images in the first "
                "dimension: choose another explainer"
            )
        return relevance.reshape(self.images, -1).sum(1)

    def _spread(self, values: Tensor, like: Tensor) -> Tensor:
        return values.repeat_interleave(len(like) // self.images).view(-1, *[1] * (like.dim() - 1))


def share(call: Call, inputs: Sequence[Tensor], contributions: Callable[..., Contributions]) -> Any:
    """Run an operation whose inputs share the relevance of what it makes by what they contribute.

    Args:
        call: the operation; of several outputs the first one counts.
        inputs: of its arguments those that depend on the image, no others.
        contributions: of these, from their values.

    Returns:
        What it returned.
    """
    steps = [step for step in map(call.step, inputs) if step is not None]
    if len(steps) < len(inputs) or len(call.sources) != len(inputs):
        return call.refuse("other arguments of it depend on the input than its rule expects")
    sharing, saved = call.options, [call.save(each.detach()) for each in inputs]
    output = call.run()

    def backward(relevance: Tensor) -> list[Tensor]:
        parts = sharing.divide(contributions(*(each.tensor for each in saved)), relevance)
        return [part.sum_to_size(each.tensor.shape) for part, each in zip(parts, saved, strict=True)]

    call.record(output if isinstance(output, Tensor) else output[0], steps, backward)
    return output
