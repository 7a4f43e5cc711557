"""DeepLIFT, rescale rule (Shrikumar et al., ICML 2017), by captum."""

from collections.abc import Sequence

import captum.attr
import torch
from torch import Tensor, fx, nn

from relsplit.errors import InputError
from relsplit.explainers.shared.baseline import Baseline
from relsplit.explainers.shared.captum_call import captum_call
from relsplit.explainers.shared.deeplift_max_pool import DeepLiftMaxPool
from relsplit.explainers.shared.module_per_step import one_module_per_step, replace_modules
from relsplit.networks.shared_network import SharedNetwork

# Share of the attribution's absolute sum by which its sum may miss the change of the score: far above rounding in
# float32, far below what an activation without a rule makes.
TOLERANCE = 1e-3


class DeepLift:
    """What each input contributes to the change of the logit against a baseline; contributions add up to the change.

    Args:
        model: a network that ``torch.fx`` can trace and whose activations captum has a rule for (ReLU, LeakyReLU, ELU,
            Sigmoid, Tanh, Softplus, max pooling).
        baseline: see :class:`relsplit.explainers.shared.baseline.Baseline` (captum's default: ``"zero"``).
        mean: see ``baseline``.
        std: see ``baseline``.

    Raises:
        InputError: an unknown baseline, or a network that cannot be traced.
    """

    forward_equivalents = 4.0
    """Forward and backward, of the image and of the baseline."""

    def __init__(
        self,
        model: nn.Module,
        baseline: str | float | Sequence[float] = "zero",
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        self._shared = SharedNetwork(model, _rewrite)
        self._baseline = Baseline(baseline, mean, std)
        self._complete = False

    def attribute(self, images: Tensor, target: Tensor | int | None = None) -> Tensor:
        """Attribution (N, 3, H, W) in units of the logit.

        Raises:
            InputError: on the first images it turns out that a step of the network has no DeepLIFT rule.
        """
        with captum_call():
            network, images, classes = self._shared.prepare(images, target)
            baselines = self._baseline.like(images)
            attribution: Tensor = captum.attr.DeepLift(network).attribute(images, baselines, target=classes).detach()
        if not self._complete:
            self._check_completeness(network, images, baselines, classes, attribution)
            self._complete = True
        return attribution

    def _check_completeness(
        self, network: nn.Module, images: Tensor, baselines: Tensor, classes: Tensor, attribution: Tensor
    ) -> None:
        with torch.no_grad():
            change = (network(images) - network(baselines)).gather(1, classes[:, None])[:, 0]
        missing = (attribution.flatten(1).sum(dim=1) - change).abs()
        if (missing > TOLERANCE * attribution.flatten(1).abs().sum(dim=1)).any():
            raise InputError(
                f"deeplift: the attributions miss the change of the logit by {missing.max():.3g}: the network has an "
                "activation that captum has no DeepLIFT rule for (as GELU, SiLU, ReLU6, or a product of two features)"
            )


def _rewrite(network: nn.Module) -> fx.GraphModule:
    rewritten = one_module_per_step(network)
    # On a copy of its own: the pooling's backward is DeepLIFT's, and the batch is images with references.
    replace_modules(rewritten, nn.MaxPool2d, DeepLiftMaxPool)
    return rewritten
