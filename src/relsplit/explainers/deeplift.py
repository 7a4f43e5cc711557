"""DeepLIFT, rescale rule (Shrikumar et al., ICML 2017)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import CheckpointError

from relsplit.baseline import Baseline, BaselineImage
from relsplit.errors import InputError
from relsplit.explainers.shared.rescale_rule import RescaleRule
from relsplit.networks.answer import Scores
from relsplit.networks.shared_network import SharedNetwork, differentiated
from relsplit.options import checked_options

# Share of the attribution's absolute sum by which its sum may miss the change of the score: far above rounding, far
# below what an activation without a rule makes.
TOLERANCE = 1e-3
TOLERANCE_IN_HALF = 5e-2


@checked_options
class DeepLift:
    """What each input contributes to the change of the score against a baseline; contributions add up to the change.

    Args:
        model: a network of linear layers, elementwise activations and max pooling over images, as modules or functions.
        baseline: see :data:`relsplit.baseline.Baseline` (captum's default: ``"mean"``).
        mean: see ``baseline``.
        std: see ``baseline``.
        scores: what the network's output holds, see :mod:`relsplit.networks.answer`.

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
    ) -> None:
        self._shared = SharedNetwork(model, scores)
        self._baseline = BaselineImage(baseline, mean, std)

    def attribute(self, images: Tensor, target: Tensor | int | None = None) -> Tensor:
        """Attribution (N, 3, H, W) in units of what the network answers: the logit, or the probability.

        Raises:
            InputError: a step of the network has no DeepLIFT rule, or see
                :class:`relsplit.explainers.explainer.Explainer`.
        """
        with torch.inference_mode(False), torch.enable_grad():
            call = self._shared.call(images)
            count = len(call.images)
            both = torch.cat([call.images, self._baseline.of(call.images).expand_as(call.images)]).requires_grad_()
            with RescaleRule(both):
                output = call.network(both.clone())
            answer = call.checked(output[:count] if isinstance(output, Tensor) else output)
            classes = answer.classes(target)
            found, reference = (each.own_score(classes) for each in (answer, answer.like(output[count:])))
            try:
                (multipliers,) = differentiated(found.sum(), [both])
            except CheckpointError as error:
                raise InputError(
                    "deeplift: the network carries out parts of its forward pass again on the way back "
                    "(torch.utils.checkpoint): switch checkpointing off"
                ) from error
        attribution = (both[:count] - both[count:]).detach() * multipliers[:count]
        self._check_completeness(attribution, (found - reference).detach())
        return attribution

    def _check_completeness(self, attribution: Tensor, change: Tensor) -> None:
        missing = (attribution.flatten(1).sum(dim=1) - change).abs()
        tolerance = TOLERANCE if attribution.dtype.itemsize >= 4 else TOLERANCE_IN_HALF
        if (missing > tolerance * attribution.flatten(1).abs().sum(dim=1)).any():
            raise InputError(
                f"deeplift: the attributions miss the change of the score by {missing.max():.3g}: the network has a "
                "step without a DeepLIFT rule (as a softmax, a layer normalisation, or a product of two features)"
            )
