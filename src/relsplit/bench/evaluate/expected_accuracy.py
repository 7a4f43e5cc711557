"""How many images a network should recognise, and a word where it recognises far fewer: it may see other pictures."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from relsplit.bench.models.learned_classes import torchvision_weights
from relsplit.bench.runs.summary import SUMMARY

FAR_BELOW = 0.1
"""Share of the images that other pictures of the same classes may cost, beside four standard errors."""


def accuracy_line(accuracy: float, count: int, config: Mapping[str, Any]) -> str:
    """Return what an evaluation says of the network's accuracy.

    Args:
        accuracy: share of right images, in [0, 1].
        count: number of images.
        config: of the run.
    """
    said = f"the network is right on {100 * accuracy:.1f} % of these images"
    expected = expected_accuracy(config)
    if expected is None:
        return said
    error = math.sqrt(expected * (1 - expected) / count)
    said = f"{said} (on its own test images: {100 * expected:.1f} %)"
    if accuracy >= expected - FAR_BELOW - 4 * error:
        return said
    return (
        f"warning: {said}: are dataset.mean, std, resize and image_size those that it was trained with, and are the "
        "classes in its order (dataset.class_names)?"
    )


def expected_accuracy(config: Mapping[str, Any]) -> float | None:
    """Return the accuracy in [0, 1] that a training or torchvision measured; None where nobody says it."""
    model = config["model"]
    if model["checkpoint"] is not None:
        try:
            summary = json.loads((Path(model["checkpoint"]).parent / SUMMARY).read_text(encoding="utf-8"))
            return float(summary["accuracy"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
    entry = torchvision_weights(OmegaConf.create({"model": dict(model)}))
    if entry is None:
        return None
    measured = entry.meta.get("_metrics", {}).get("ImageNet-1K", {}).get("acc@1")
    return None if measured is None else float(measured) / 100
