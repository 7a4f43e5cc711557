"""Images per second of the training loader with 0 and 2 workers, against decoding alone.

    python benchmarks/loader_throughput.py [--quick] [--root FOLDER] [--num-images 400] [--resize 256 --image-size 224]

Without a folder, photographs of CUB's size (500 x 375) are made in a temporary one.
"""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from _measuring import arguments, in_rounds
from PIL import Image, ImageFilter

from relsplit.bench.data.catalogue import Catalogue, Sample
from relsplit.bench.data.datamodule import ImageDataModule
from relsplit.bench.data.image_reading import read_image

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def main() -> None:
    parser = arguments(__doc__, quick="64 images")
    parser.add_argument("--root", type=Path, help="folder with JPEG images, at any depth")
    parser.add_argument("--num-images", type=int, default=400)
    parser.add_argument("--resize", type=int, default=256)
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=32)
    options = parser.parse_args()
    if options.quick:
        options.num_images = 64
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        paths = sorted((options.root or made(Path(temporary), 64)).rglob("*.jpg"))
        paths = [paths[k % len(paths)] for k in range(options.num_images)]
        samples = tuple(Sample(str(k), path, 0, "train") for k, path in enumerate(paths))

        def decode() -> None:
            for path in paths:
                read_image(path)

        def load(num_workers: int) -> Callable[[], None]:
            data = ImageDataModule(
                Catalogue(("any",), samples, Path("/")),
                options.resize,
                options.image_size,
                MEAN,
                STD,
                options.batch_size,
                num_workers,
            )
            data.samples["train"] = samples
            loader = data.train_dataloader()

            def epoch() -> None:
                for _ in loader:
                    pass

            return epoch

        rates = {"decoding alone": rate(decode, len(paths))}
        for num_workers in (0, 2):
            rates[f"loader, {num_workers} workers"] = rate(load(num_workers), len(paths))
    for name, images_per_second in rates.items():
        share = images_per_second / rates["decoding alone"]
        print(f"{name:20} {images_per_second:8.0f} images/s   {100 * share:4.0f} % of decoding alone")
    print(json.dumps(rates))


def rate(work: Callable[[], None], num_images: int) -> float:
    """Images per second in the best of three runs, after one that starts the workers and fills the disk cache."""
    return num_images / min(in_rounds({"": work}, 3)[""])


def made(folder: Path, count: int) -> Path:
    """Photograph-like JPEGs: noise of many sizes, which compresses about as real photographs do (some 60 kB)."""
    rng = np.random.default_rng(0)
    for k in range(count):
        picture = np.zeros((375, 500, 3))
        for cell in (4, 16, 64):
            noise = rng.integers(0, 256, (375 // cell + 1, 500 // cell + 1, 3), dtype=np.uint8)
            layer = Image.fromarray(noise).resize((500, 375), Image.Resampling.BICUBIC)
            picture += np.asarray(layer.filter(ImageFilter.GaussianBlur(1)), dtype=np.float64) / 3
        Image.fromarray(picture.astype(np.uint8)).save(folder / f"{k}.jpg", quality=92)
    return folder


if __name__ == "__main__":
    main()
