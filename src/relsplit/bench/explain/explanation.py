"""From the ``explainer`` part of a configuration and a network to attribution maps of a batch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from relsplit.bench.configuration.build import build
from relsplit.explainers.explainer import Explainer
from relsplit.metrics.explained_batch import Explain
from relsplit.networks.answer import AnswerReader
from relsplit.networks.ending import ends_in_probabilities


@dataclass(frozen=True)
class Explanation:
    """Maps of a batch and what they explain.

    Attributes:
        maps: (N, H, W), at the size of the images.
        relevance_sum: (N,), sum of the attribution before any post-processing.
        predicted: (N,) int64, class with the highest score.
        target: (N,) int64, explained class.
        probability: (N,), probability of the explained class, in [0, 1].
    """

    maps: Tensor
    relevance_sum: Tensor
    predicted: Tensor
    target: Tensor
    probability: Tensor


class ConfiguredExplainer:
    """An explainer with the class it explains and the map that is made of its attribution.

    Args:
        config: the run's; ``config["explainer"]`` has ``name``, ``_target_`` and options of the method and ``target``
            ("predicted" or "label"), ``config["map"]`` has ``_target_`` and options of what makes the map of the
            attribution (see :class:`relsplit.attribution.AttributionMap`).
        network: the network to explain; logits (N, classes).

    Raises:
        InputError: an option does not exist or has a value that cannot be used.
    """

    def __init__(self, config: Mapping[str, Any], network: nn.Module) -> None:
        method = config["explainer"]
        options = {key: value for key, value in method.items() if key not in ("name", "target")}
        self.config = config
        self.network = network
        self.target = method["target"]
        self._reader = AnswerReader(method.get("scores", "auto"))
        self.explainer: Explainer = build(options, "explainer", model=network)
        self.to_map: Callable[[Tensor, Sequence[int]], Tensor] = build(config["map"], "map")

    def explain(self, images: Tensor, labels: Tensor) -> Explanation:
        """Attribution maps of ``images`` (N, 3, H, W) with ground-truth ``labels`` (N,)."""
        with torch.no_grad():
            answer = self._reader.read(
                self.network(images), len(images), partial(ends_in_probabilities, self.network, images[:1])
            )
        predicted = answer.predicted
        target = predicted if self.target == "predicted" else labels
        attribution = self.explainer.attribute(images, target)
        return Explanation(
            maps=self.to_map(attribution, images.shape[-2:]),
            relevance_sum=attribution.flatten(1).sum(dim=1),
            predicted=predicted,
            target=target,
            probability=answer.probability(target),
        )

    def maps(self, images: Tensor, target: Tensor) -> Tensor:
        """Attribution maps (N, H, W) of ``images`` (N, 3, H, W) for the classes ``target`` (N,)."""
        return self.to_map(self.explainer.attribute(images, target), images.shape[-2:])

    def maps_of(self, network: nn.Module) -> Explain:
        """The function that computes the same method's maps for another network of the same architecture."""
        return self.maps if network is self.network else ConfiguredExplainer(self.config, network).maps
