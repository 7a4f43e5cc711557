"""Four photographs that scikit-image brings, with the class of ImageNet's that each of them shows."""

from relsplit.bench.data.catalogue import Catalogue, Sample
from relsplit.bench.data.installed_file import installed_file

PHOTOGRAPHS = {
    "chelsea.png": "tiger cat",  # striped; CC0, Stefan van der Walt
    "coffee.png": "espresso",  # CC0, Rachel Michetti
    "rocket.jpg": "missile",  # ImageNet has no class nearer to a rocket; public domain, SpaceX
    "camera.png": "tripod",  # grey; CC0, Lav Varshney
}
"""Class by file: those in the package whose terms scikit-image states as free, and that show a class of ImageNet's."""


def read_skimage_photographs() -> Catalogue:
    """Return the photographs as samples to be tested on; there are none to train on.

    Raises:
        InputError: scikit-image is not installed.
    """
    paths = [installed_file("scikit-image", f"skimage/data/{name}", extra="photographs") for name in PHOTOGRAPHS]
    samples = tuple(Sample(path.stem, path, label, "test") for label, path in enumerate(paths))
    return Catalogue(tuple(PHOTOGRAPHS.values()), samples, paths[0].parent)
