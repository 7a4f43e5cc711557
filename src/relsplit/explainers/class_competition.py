"""Class competition: what a class has more of than its rivals, for any explainer (after Walter et al., ICML 2026)."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn

from relsplit.errors import InputError
from relsplit.explainers.relevance_pyramid import RelevancePyramid
from relsplit.explainers.shared.on_the_image import Smoothing, smoothed
from relsplit.explainers.shared.rivals import check_has_rivals
from relsplit.flat_maps import warn_of_flat_maps
from relsplit.networks.answer import AnswerReader, Scores
from relsplit.networks.outputs import OutputChoice
from relsplit.networks.shared_network import SharedNetwork
from relsplit.options import Limits, checked_options
from relsplit.targets.target import Target, within

_TEMPERATURE = 10.0
"""Of the softmax over classes, from the released code."""


@checked_options
class ClassCompetition:
    """Maps of a class and of its strongest rivals compete for every position.

    Of each class's map the channels are summed, and what is positive is divided by its sum: ``a_k(x)``, the share of
    class k's map that lies at x. So a class is not favoured by being more probable. Then, with c the explained class:

    - ``"difference"``: ``max(0, a_c - max_k a_k)``; only what c has more of than any rival remains.
    - ``"softmax"``: ``a_c s_c`` where ``s_c > 1 / (K + 1)``, else 0, with s the softmax over the classes of the ``a``,
      divided by the greatest of them all, times 10. This is the form of "Hidden in plain sight" (Walter, Vreeken and
      Fischer, ICML 2026), whose code takes the magnitudes of attributions as they are, in whatever unit.

    What remains is scaled to the sum of the positive part of the base's map for c, and what is negative there stays as
    it is, so the map has the sum of the base's: the class's probability, where the base conserves it. If nothing
    remains, the positive part is spread evenly, and it is said. With no rivals, the map is the base's.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from relsplit.explainers import ClassCompetition
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
        >>> tuple(ClassCompetition(model).attribute(torch.rand(2, 3, 16, 16), target=3).shape)
        (2, 16, 16)

    Args:
        model: any network that the base explains, with a number for each class.
        base: makes the explainer whose maps compete, ``base(model)``: a class of explainers, or a
            ``functools.partial`` of one.
        rivals: how many other classes take part, those of the greatest scores; at most all there are.
        by: see above.
        smoothing: of the map on the image, as a relevance pyramid's, after the competition; None: as it is.
        scores: what the network's output holds, see :mod:`relsplit.networks.answer`; unless ``"auto"``, the base is
            told, too.
        output: which part of the network's output is explained, see :class:`relsplit.LRP`.

    Raises:
        InputError: an option that does not exist.
    """

    def __init__(
        self,
        model: nn.Module,
        base: Callable[..., Any] = RelevancePyramid,
        rivals: Annotated[int, Limits(minimum=0)] = 4,
        by: Literal["difference", "softmax"] = "difference",
        smoothing: Smoothing | None = None,
        scores: Scores = "auto",
        output: "OutputChoice | None" = None,
    ) -> None:
        # The base says whether it takes the answer for probabilities: once is enough.
        self._shared = SharedNetwork(model, AnswerReader(scores, silent=True), output)
        told: dict[str, Any] = ({} if scores == "auto" else {"scores": scores}) | (
            {} if output is None else {"output": output}
        )
        self._base = base(model, **told)
        self._rivals = rivals
        self._by = by
        self._smoothing = smoothing

    @property
    def forward_equivalents(self) -> float:
        """A forward pass for the scores, and the base once for each class."""
        return 1.0 + (1 + self._rivals) * float(self._base.forward_equivalents)

    def attribute(
        self, inputs: Tensor, target: "Target | None" = None, *, forward_kwargs: "Mapping[str, Any] | None" = None
    ) -> Tensor:
        """Maps (N, h, w) of the size of the base's, or with ``smoothing`` (N, H, W), of the sum of the base's.

        Raises:
            InputError: see :class:`relsplit.explainers.explainer.Explainer`; or the model answers with one number for
                two classes.
        """
        with torch.inference_mode(False), torch.no_grad():
            call = self._shared.call(inputs, target, forward_kwargs)
            if not call.inputs.is_single:
                raise InputError(f"class_competition is of the positions of one input; given are {call.inputs}")
            answer = call.answer()
            check_has_rivals(answer, "class_competition", call.explained)
            classes = answer.classes(call.explained)
            others = answer.logits.scatter(1, classes[:, None], -torch.inf)
            strongest = others.topk(min(self._rivals, answer.num_classes - 1)).indices
            further: dict[str, Any] = (
                {"forward_kwargs": forward_kwargs} if forward_kwargs else {}
            )  # not every base takes any
            maps = [
                self._map(inputs, self._base.attribute(inputs, within(target, competing), **further))
                for competing in (classes, *strongest.unbind(1))
            ]
            won = maps[0] if len(maps) == 1 else competition(torch.stack(maps), self._by)
            return smoothed(won, inputs, self._smoothing)

    def _map(self, inputs: Tensor, relevance: Tensor) -> Tensor:
        return relevance.sum(1) if relevance.dim() > 2 and relevance.dim() == inputs.dim() else relevance


def competition(maps: Tensor, by: Literal["difference", "softmax"]) -> Tensor:
    """Return what the first of several classes wins against the others.

    Args:
        maps: (classes, N, h, w), of other inputs (classes, N, ...), at least two classes.
        by: see :class:`ClassCompetition`.

    Returns:
        (N, h, w), of the sums of the first class's maps.
    """
    places = tuple(range(2, maps.dim()))
    positive = maps.clamp(min=0)
    total = positive.sum(places, keepdim=True)
    shares = positive / total.masked_fill(total == 0, 1)
    if by == "difference":
        left = (shares[0] - shares[1:].amax(0)).clamp(min=0)
    else:
        highest = shares.amax((0, *places)).reshape(-1, *[1] * len(places))
        won = (_TEMPERATURE * shares / highest.masked_fill(highest == 0, 1)).softmax(0)[0]
        left = torch.where(won > 1 / len(maps), shares[0] * won, 0)
    remaining = left.sum(tuple(range(1, left.dim())), keepdim=True)
    is_void = remaining == 0
    lost = (is_void & (total[0] > 0)).flatten()
    why = "no position speaks more for the class than for its rivals"
    warn_of_flat_maps("class_competition", lost, why, stacklevel=3)
    even = torch.full_like(left, 1 / left[0].numel())
    share = torch.where(is_void, even, left / remaining.masked_fill(is_void, 1))
    return share * total[0] + maps[0].clamp(max=0)
