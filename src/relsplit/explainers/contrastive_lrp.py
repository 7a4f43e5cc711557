"""Contrastive LRP (Gu, Yang and Tresp, ACCV 2018)."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from relsplit.errors import InputError
from relsplit.explainers.shared.on_the_image import Smoothing
from relsplit.explainers.shared.over_channels import over_channels, parts_of
from relsplit.explainers.shared.rivals import check_has_rivals
from relsplit.lrp import LRP
from relsplit.lrp.rules.choice import rule_choice
from relsplit.lrp.rules.negated import Negated
from relsplit.lrp.rules.rule import Place, Rule, RuleChoice, reads_output
from relsplit.lrp.rules.z_plus import ZPlus
from relsplit.lrp.splitting.splitting import Splitting
from relsplit.networks.answer import Scores
from relsplit.networks.inputs import Given
from relsplit.networks.outputs import OutputChoice
from relsplit.networks.shared_network import SharedNetwork
from relsplit.options import checked_options
from relsplit.targets.target import Target, within


@checked_options
class ContrastiveLRP:
    """The positive part of a class's relevance less that of its contrary, a virtual "dual" class.

    Both start from the probability of the class, so that only where they lie differs. (The paper starts both from the
    logit: that scales the map.)

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from relsplit.explainers import ContrastiveLRP
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
        >>> tuple(ContrastiveLRP(model).attribute(torch.rand(2, 3, 16, 16), target=3).shape)
        (2, 16, 16)

    Args:
        model: any network that LRP explains.
        dual: the contrary of the class: ``"others"`` (CLRP1), all other classes, which share the start evenly; or
            ``"negated"`` (CLRP2), the class itself with the weights of the network's last layer negated. That
            layer has the z+ rule then, as in the paper: epsilon and gamma do not tell weights from their negatives.
        rule: see :class:`relsplit.LRP`.
        split: see :class:`relsplit.LRP`.
        smoothing: of the map on the image, as a relevance pyramid's; None: every pixel its own.
        scores: see :class:`relsplit.LRP`.
        output: which part of the network's output is explained, see :class:`relsplit.LRP`.

    Raises:
        InputError: an option that does not exist.
    """

    def __init__(
        self,
        model: nn.Module,
        dual: Literal["others", "negated"] = "others",
        rule: str | Rule | RuleChoice | dict[str, Any] = "z_plus",
        split: str | Splitting = "ratio",
        smoothing: Smoothing | None = None,
        scores: Scores = "auto",
        output: "OutputChoice | None" = None,
    ) -> None:
        self._shared = SharedNetwork(model, scores, output)
        self._lrp = LRP(model, split, rule=rule, output=output)
        self._output = output
        self._model = model
        self._dual = dual
        self._rule: Any = rule
        self._split: Any = split
        self._smoothing = smoothing

    @property
    def forward_equivalents(self) -> float:
        """A forward pass for the probabilities, and LRP once (the others' relevance goes with the class's) or twice."""
        return 4.0 if self._dual == "others" else 7.0

    def attribute(
        self, inputs: Given, target: "Target | None" = None, *, forward_kwargs: "Mapping[str, Any] | None" = None
    ) -> Any:
        """Maps (N, H, W), non-negative; the channels of a pixel are summed after what is negative was cut off.

        Of other inputs as :func:`relsplit.explainers.shared.over_channels.over_channels` has them.

        Raises:
            InputError: see :class:`relsplit.explainers.explainer.Explainer`; or the model answers with one number for
                two classes.
        """
        with torch.inference_mode(False), torch.no_grad():
            call = self._shared.call(inputs, target, forward_kwargs)
            answer = call.answer()
            check_has_rivals(answer, "contrastive_lrp", call.explained)
            classes = answer.classes(call.explained)[:, None]
            own = answer.probabilities.gather(1, classes)
            start = torch.zeros_like(answer.probabilities).scatter_(1, classes, own)
            if self._dual == "others":
                # Rules are linear in relevance: one walk back carries the difference.
                others = (own / max(answer.num_classes - 1, 1)).expand_as(start).scatter(1, classes, 0)
                begun = within(target, lambda _: start - others)
                relevances = parts_of(self._lrp.attribute(inputs, begun, forward_kwargs=forward_kwargs))
            else:
                begun = within(target, lambda _: start)
                own_and_dual = [
                    self._through(head, inputs, begun, forward_kwargs) for head in (ZPlus(), Negated(ZPlus()))
                ]
                relevances = [first - second for first, second in zip(*own_and_dual, strict=True)]
            positive = call.inputs.arranged([each.clamp(min=0) for each in relevances])
            return over_channels(positive, inputs, self._smoothing)

    def _through(
        self, head: Rule, inputs: Given, begun: Any, forward_kwargs: "Mapping[str, Any] | None"
    ) -> list[Tensor]:
        rules = _WithHead(rule_choice(self._rule, 0.0), head)
        lrp = LRP(self._model, self._split, rule=rules, output=self._output)
        relevance = parts_of(lrp.attribute(inputs, begun, forward_kwargs=forward_kwargs))
        if rules.place is None:
            raise InputError(
                "contrastive_lrp: the network has no layer with weights after its first, so none can be negated: use "
                "dual=others"
            )
        return relevance


class _WithHead:
    """The rules of another choice, and one for the network's last layer; for one walk back.

    Attributes:
        place: of that layer, the first one with weights that relevance meets; None: none was met yet.
    """

    def __init__(self, choice: RuleChoice, head: Rule) -> None:
        self.place: Place | None = None
        self._choice = choice
        self._head = head

    def rule_at(self, place: Place) -> Rule:
        """Return the rule of the layer at ``place``."""
        if self.place is None and place.kind != "mean":
            self.place = place
        return self._head if place == self.place else self._choice.rule_at(place)

    def reads_output_at(self, place: Place) -> bool:
        """Say whether the rule at ``place`` uses what its layer made; the last layer's may be the choice's as well."""
        return reads_output(self._choice, place)
