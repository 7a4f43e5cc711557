"""Unpack and check the ILSVRC2012 validation set, whose archives only registered users of image-net.org can fetch."""

import argparse
import sys
from collections import Counter
from pathlib import Path

from relsplit.bench.data.imagenet import read_imagenet
from relsplit.errors import IncompleteRun, InputError


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Path("data/imagenet"), help="folder of the archives, or of val/")
    arguments = parser.parse_args()
    try:
        catalogue = read_imagenet(arguments.root)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    except IncompleteRun as error:  # no room
        print(error, file=sys.stderr)
        return 1
    per_class = Counter(sample.label for sample in catalogue.samples)
    print(f"{catalogue.root}: {len(catalogue.samples):,} images of {len(per_class):,} classes")
    if len(catalogue.samples) != 50_000 or set(per_class.values()) != {50}:
        print("This is a part of the validation set, which has 50,000 images, 50 of each class.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
