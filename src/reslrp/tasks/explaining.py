"""From the ``explainer`` part of a configuration and a network to attribution maps of a batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import Tensor, nn

from reslrp.attribution import AttributionMap
from reslrp.errors import InputError
from reslrp.explainers.explainer import Explainer
from reslrp.metrics.explain import Explain
from reslrp.options import one_of

EXPLAINED = ("predicted", "label")


@dataclass(frozen=True)
class Explanation:
    """Maps of a batch and what they explain.

    Attributes:
        maps: (N, H, W), at the size of the images.
        relevance_sum: (N,), sum of the attribution before any post-processing.
        predicted: (N,) int64, class with the highest score.
        target: (N,) int64, explained class.
        probability: (N,), softmax probability of the explained class, in [0, 1].
    """

    maps: Tensor
    relevance_sum: Tensor
    predicted: Tensor
    target: Tensor
    probability: Tensor


class ConfiguredExplainer:
    """An explainer with the class it explains and the map that is made of its attribution.

    Args:
        config: ``name``, ``_target_`` and options of the method, ``target`` ("predicted" or "label") and ``map`` (the
            arguments of :class:`reslrp.attribution.AttributionMap`).
        network: the network to explain; logits (N, classes).

    Raises:
        InputError: an option does not exist or has a value that cannot be used.
    """

    def __init__(self, config: Mapping[str, Any], network: nn.Module) -> None:
        options = {key: value for key, value in config.items() if key not in ("name", "target", "map")}
        one_of("explainer.target", config["target"], EXPLAINED)
        self.config = config
        self.network = network
        self.target = config["target"]
        self.explainer: Explainer = build(options, "explainer", model=network)
        self.to_map: AttributionMap = build(
            {"_target_": "reslrp.attribution.AttributionMap", **config["map"]}, "explainer.map"
        )

    def explain(self, images: Tensor, labels: Tensor) -> Explanation:
        """Attribution maps of ``images`` (N, 3, H, W) with ground-truth ``labels`` (N,)."""
        with torch.no_grad():
            probabilities = self.network(images).softmax(dim=1)
        predicted = probabilities.argmax(dim=1)
        target = predicted if self.target == "predicted" else labels
        attribution = self.explainer.attribute(images, target)
        return Explanation(
            maps=self.to_map(attribution, images.shape[-2:]),
            relevance_sum=attribution.flatten(1).sum(dim=1),
            predicted=predicted,
            target=target,
            probability=probabilities.gather(1, target[:, None])[:, 0],
        )

    def maps(self, images: Tensor, target: Tensor) -> Tensor:
        """Attribution maps (N, H, W) of ``images`` (N, 3, H, W) for the classes ``target`` (N,)."""
        return self.to_map(self.explainer.attribute(images, target), images.shape[-2:])

    def maps_of(self, network: nn.Module) -> Explain:
        """The function that computes the same method's maps for another network of the same architecture."""
        return self.maps if network is self.network else ConfiguredExplainer(self.config, network).maps


def build(config: Mapping[str, Any], where: str, **arguments: Any) -> Any:
    """Instantiate the ``_target_`` of ``config``; an argument it does not take is the user's error.

    Raises:
        InputError: the target cannot be found or does not take these arguments.
    """
    try:
        return instantiate(OmegaConf.create(dict(config)), _convert_="all", **arguments)
    except Exception as error:
        cause: BaseException = error
        while cause.__cause__ is not None and not isinstance(cause, InputError):
            cause = cause.__cause__
        if isinstance(cause, InputError):
            raise cause from None
        if isinstance(cause, TypeError | ImportError):
            raise InputError(f"{where} cannot be built: {' '.join(str(cause).split())}") from error
        raise
