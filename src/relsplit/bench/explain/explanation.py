"""From the ``explainer`` part of a configuration and a network to attribution maps of a batch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from relsplit.bench.configuration.settings import Settings
from relsplit.bench.explain.stored_maps import StoredMaps
from relsplit.checks import real_maps
from relsplit.errors import InputError
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
        settings: ``explainer`` is the method and the class that it explains, ``map`` what makes the map of the
            attribution (see :class:`relsplit.attribution.AttributionMap`).
        network: the network to explain; logits (N, classes).

    Raises:
        InputError: an option does not exist or has a value that cannot be used.
    """

    def __init__(self, settings: Settings, network: nn.Module) -> None:
        self.settings = settings
        self.network = network
        self.target = settings.explainer.target
        self._reader = AnswerReader(settings.explainer.arguments.get("scores", "auto"))
        self.explainer: Explainer = settings.explainer.build("explainer", model=network)
        self.to_map: Callable[[Tensor, Sequence[int]], Tensor] = settings.map.build("map")

    def explain(self, images: Tensor, labels: Tensor, sample_ids: Sequence[str] = ()) -> Explanation:
        """Attribution maps of ``images`` (N, 3, H, W) with ground-truth ``labels`` (N,).

        Args:
            images: normalised, on the network's device.
            labels: of the images.
            sample_ids: of the images, for maps that are stored by them.

        Raises:
            InputError: the method returns no map for each image, or writes over what it is given.
        """
        with torch.no_grad():
            answer = self._reader.read(
                self.network(images), len(images), partial(ends_in_probabilities, self.network, images[:1])
            )
        predicted = answer.predicted
        target = predicted if self.target == "predicted" else labels
        stored = self.explainer.of_samples(sample_ids) if isinstance(self.explainer, StoredMaps) else None
        attribution = self._attribution(images, target) if stored is None else stored.to(images.device)
        return Explanation(
            maps=self.to_map(attribution, images.shape[-2:]),
            relevance_sum=attribution.flatten(1).sum(dim=1),
            predicted=predicted,
            target=target,
            probability=answer.probability(target),
        )

    def maps(self, images: Tensor, target: Tensor) -> Tensor:
        """Attribution maps (N, H, W) of ``images`` (N, 3, H, W) for the classes ``target`` (N,)."""
        return self.to_map(self._attribution(images, target), images.shape[-2:])

    def _attribution(self, images: Tensor, target: Tensor) -> Tensor:
        before = images._version, target._version
        attribution = self.explainer.attribute(images, target)
        if (images._version, target._version) != before:
            name = self.settings.explainer.name
            raise InputError(f"explainer={name} writes over the images or classes that it is given: let it take a copy")
        return real_maps(attribution, "attribution map")

    def maps_of(self, network: nn.Module) -> Explain:
        """The function that computes the same method's maps for another network of the same architecture."""
        return self.maps if network is self.network else ConfiguredExplainer(self.settings, network).maps
