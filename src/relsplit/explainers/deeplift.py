"""DeepLIFT, rescale rule (Shrikumar et al., ICML 2017)."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import CheckpointError

from relsplit.baseline import Baseline, BaselineImage
from relsplit.errors import InputError
from relsplit.explainers.shared.rescale_rule import RescaleRule
from relsplit.networks.answer import Scores
from relsplit.networks.inputs import Given
from relsplit.networks.outputs import OutputChoice, obvious_part
from relsplit.networks.shared_network import Call, SharedNetwork, differentiated
from relsplit.options import checked_options
from relsplit.targets.target import Target

# Share of the attribution's absolute sum by which its sum may miss the change of the score: far above rounding, far
# below what an activation without a rule makes.
TOLERANCE = 1e-3
TOLERANCE_IN_HALF = 5e-2


@checked_options
class DeepLift:
    """What each input contributes to the change of the score against a baseline; contributions add up to the change.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from relsplit.explainers import DeepLift
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
        >>> tuple(DeepLift(model).attribute(torch.rand(2, 3, 16, 16), target=3).shape)
        (2, 3, 16, 16)

    Args:
        model: a network of linear layers, elementwise activations and max pooling, as modules or functions.
        baseline: see :data:`relsplit.baseline.Baseline` (captum's default: ``"mean"``).
        mean: see ``baseline``.
        std: see ``baseline``.
        scores: what the network's output holds, see :mod:`relsplit.networks.answer`.
        output: which part of the network's output is explained, see :class:`relsplit.LRP`.

    Raises:
        InputError: an unknown baseline.
    """

    forward_equivalents = 4.0
    """Forward and backward, of the image and of the baseline."""

    def __init__(
        self,
        model: nn.Module,
        baseline: Baseline = "mean",
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        scores: Scores = "auto",
        output: "OutputChoice | None" = None,
    ) -> None:
        self._shared = SharedNetwork(model, scores, output)
        self._baseline = BaselineImage(baseline, mean, std)

    def attribute(
        self, inputs: Given, target: "Target | None" = None, *, forward_kwargs: "Mapping[str, Any] | None" = None
    ) -> Any:
        """Attribution of the inputs' shape in units of what the network answers: the logit, or the probability.

        Of tokens (N, T), summed over their vectors.

        Raises:
            InputError: a step of the network or of the target has no DeepLIFT rule, or see
                :class:`relsplit.explainers.explainer.Explainer`.
        """
        with torch.inference_mode(False), torch.enable_grad():
            call = self._shared.call(inputs, target, forward_kwargs)
            count = len(call.inputs)
            pairs = zip(call.values, call.baselines(self._baseline), strict=True)
            both = [torch.cat(pair).requires_grad_() for pair in pairs]
            with RescaleRule(both[0]):
                output = call.run(both, times=2)
            found, reference = self._scores(call, obvious_part(output))
            try:
                multipliers = differentiated(found.sum(), both)
            except CheckpointError as error:
                raise InputError(
                    "deeplift: the network carries out parts of its forward pass again on the way back "
                    "(torch.utils.checkpoint): switch checkpointing off"
                ) from error
        attributions = [
            (each[:count] - each[count:]).detach() * multiplier[:count]
            for each, multiplier in zip(both, multipliers, strict=True)
        ]
        self._check_completeness(attributions, (found - reference).detach())
        return call.arranged(attributions)

    def _scores(self, call: Call, output: Any) -> tuple[Tensor, Tensor]:
        """What is explained of each sample, (N,), and of its baseline."""
        count = len(call.inputs)
        own = output[:count] if isinstance(output, Tensor) else output
        if not callable(call.explained):
            answer = call.checked(own)
            classes = answer.classes(call.explained)
            return answer.own_score(classes), answer.like(output[count:]).own_score(classes)
        value = call.checked_value(own)
        return value(own), value(output[count:])

    def _check_completeness(self, attributions: list[Tensor], change: Tensor) -> None:
        attribution = torch.cat([each.flatten(1) for each in attributions], 1)
        missing = (attribution.sum(dim=1) - change).abs()
        tolerance = TOLERANCE if attribution.dtype.itemsize >= 4 else TOLERANCE_IN_HALF
        if (missing > tolerance * attribution.abs().sum(dim=1)).any():
            raise InputError(
                f"deeplift: the attributions miss the change of the score by {missing.max():.3g}: the network or the "
                "target has a step without a DeepLIFT rule (as a softmax, a layer normalisation, or a product of two "
                "features)"
            )
