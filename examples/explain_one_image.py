"""From a photograph to a picture of its map: ``python examples/explain_one_image.py bird.jpg``.

torchvision downloads the weights of ResNet50 once; ``--weights none`` does without, for a dry run.
"""

import argparse
import sys
from pathlib import Path

from PIL import Image
from torchvision.models import ResNet50_Weights, resnet50

from relsplit import Explanation, explain


def explained(photograph: Path, weights: ResNet50_Weights | None) -> Explanation:
    """Explain what ResNet50 predicts.

    Args:
        photograph: any image file.
        weights: of torchvision's ResNet50, None for random ones.
    """
    trained = ResNet50_Weights.IMAGENET1K_V2
    network, photo = resnet50(weights=weights), Image.open(photograph)
    return explain(network, photo, transform=trained.transforms(), categories=trained.meta["categories"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photograph", type=Path)
    parser.add_argument("--picture", type=Path, default=Path("heat_map.png"))
    known = [*ResNet50_Weights.__members__, "none"]
    parser.add_argument("--weights", default="IMAGENET1K_V2", choices=known, help="of ResNet50")
    options = parser.parse_args()
    chosen = None if options.weights == "none" else ResNet50_Weights[options.weights]
    try:
        explanation = explained(options.photograph, chosen)
        explanation.save(options.picture)
        print(f"{explanation}; {options.picture}")
    except OSError as error:  # of the photograph, or of the download
        sys.exit(f"error: {error}: give an image file; the weights need a connection once, or say --weights none")
