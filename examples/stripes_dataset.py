"""Recipe: a dataset. ``python examples/stripes_dataset.py`` evaluates a network with random weights on it.

In the project this file is ``src/relsplit/data/stripes.py``: a function that returns a ``Catalogue``.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from relsplit.bench.data.catalogue import Catalogue, Sample, Split

CLASSES = ("horizontal", "vertical")


def read_stripes(root: str | Path, per_class: int = 6) -> Catalogue:
    """List pictures of stripes, drawn when they are missing.

    Args:
        root: the folder that they lie in.
        per_class: how many of each class and split.
    """
    root, samples = Path(root), []
    splits: tuple[Split, ...] = ("train", "val", "test")
    for split in splits:
        for label, name in enumerate(CLASSES):
            for index in range(per_class):
                path = root / split / name / f"{index}.png"
                if not path.exists():
                    path.parent.mkdir(parents=True, exist_ok=True)
                    stripes = np.repeat(np.arange(32)[:, None] // (index + 2) % 2 * 255, 32, axis=1)
                    Image.fromarray((stripes.T if label else stripes).astype(np.uint8)).save(path)
                samples.append(Sample(f"{split}-{name}-{index}", path, label, split))
    return Catalogue(CLASSES, tuple(samples), root)


if __name__ == "__main__":
    import sys

    from command_line import run

    run("dataset=stripes", "model.checkpoint=null", *sys.argv[1:])
