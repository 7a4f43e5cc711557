"""From a photograph to a picture of its heat map: ``python examples/explain_one_image.py bird.jpg``.

torchvision downloads the weights of ResNet50 once; ``--weights none`` does without, for a dry run.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision.models import ResNet50_Weights, resnet50

from relsplit import LRP, heat_quantization
from relsplit.pictures.overlay import overlay


def explain(photograph: Path, picture: Path, weights: ResNet50_Weights | None) -> str:
    """Write the heat map over the photograph and say what the network sees there.

    Args:
        photograph: any image file.
        picture: where the overlay goes.
        weights: of torchvision's ResNet50, None for random ones.

    Returns:
        The predicted class and its probability, and how much of it the relevance sums to.
    """
    preprocess = ResNet50_Weights.IMAGENET1K_V2.transforms()
    model = resnet50(weights=weights).eval()
    image = preprocess(Image.open(photograph).convert("RGB"))[None]

    relevance, sums = LRP(model).attribute(image, return_sums=True)  # (1, 3, 224, 224)
    heat_map = heat_quantization(relevance.sum(1))[0]  # (224, 224)

    pixels = image[0] * torch.tensor(preprocess.std)[:, None, None] + torch.tensor(preprocess.mean)[:, None, None]
    shown = (255 * pixels.permute(1, 2, 0)).round().clamp(0, 255).byte().numpy()
    Image.fromarray(np.round(255 * overlay(shown, heat_map.numpy())).astype(np.uint8)).save(picture)

    name = ResNet50_Weights.IMAGENET1K_V2.meta["categories"][int(model(image).argmax())]
    return f"{name}: p = {float(sums['output']):.6f}, sum of relevance = {float(sums['input']):.6f}; {picture}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photograph", type=Path)
    parser.add_argument("--picture", type=Path, default=Path("heat_map.png"))
    known = [*ResNet50_Weights.__members__, "none"]
    parser.add_argument("--weights", default="IMAGENET1K_V2", choices=known, help="of ResNet50")
    options = parser.parse_args()
    chosen = None if options.weights == "none" else ResNet50_Weights[options.weights]
    try:
        print(explain(options.photograph, options.picture, chosen))
    except OSError as error:  # of the photograph, or of the download
        sys.exit(f"error: {error}: give an image file; the weights need a connection once, or say --weights none")
