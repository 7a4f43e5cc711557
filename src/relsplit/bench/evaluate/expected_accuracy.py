"""How many images a network should recognise, and a word where it recognises far fewer: it may see other pictures."""

import json
import math
from pathlib import Path

from relsplit.bench.configuration.folders import SUMMARY
from relsplit.bench.configuration.settings import Model
from relsplit.bench.models.learned_classes import torchvision_weights

FAR_BELOW = 0.1
"""Share of the images that other pictures of the same classes may cost, beside four standard errors."""


def accuracy_line(accuracy: float, count: int, model: Model) -> str:
    """Return what an evaluation says of the network's accuracy.

    Args:
        accuracy: share of right images, in [0, 1].
        count: number of images.
        model: of the run.
    """
    line = f"the network is right on {100 * accuracy:.1f} % of these images"
    expected = expected_accuracy(model)
    if expected is None:
        return line
    error = math.sqrt(expected * (1 - expected) / count)
    line = f"{line} (on its own test images: {100 * expected:.1f} %)"
    if accuracy >= expected - FAR_BELOW - 4 * error:
        return line
    return (
        f"warning: {line}: are dataset.mean, std, resize and image_size those that it was trained with, and are the "
        "classes in its order (dataset.class_names)?"
    )


def expected_accuracy(model: Model) -> float | None:
    """Return the accuracy in [0, 1] that a training or torchvision measured; None where nobody says it."""
    if model.checkpoint is not None:
        try:
            summary = json.loads((Path(model.checkpoint).parent / SUMMARY).read_text(encoding="utf-8"))
            return float(summary["accuracy"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
    entry = torchvision_weights(model)
    if entry is None:
        return None
    measured = entry.meta.get("_metrics", {}).get("ImageNet-1K", {}).get("acc@1")
    return None if measured is None else float(measured) / 100
