"""Fetch and unpack CUB-200-2011: python scripts/get_cub.py [--archive CUB_200_2011.tgz] [--segmentations]."""

import argparse
import sys
from pathlib import Path

from relsplit.bench.data.cub import read_cub
from relsplit.bench.data.cub_download import get_cub, get_segmentations
from relsplit.errors import IncompleteRun, InputError


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, default=Path("data"), help="where data live (default: data)")
    parser.add_argument("--archive", type=Path, help="CUB_200_2011.tgz on this disk, instead of downloading it")
    parser.add_argument("--segmentations", action="store_true", help="the object masks, too (an archive of 39 MB)")
    parser.add_argument("--segmentations-archive", type=Path, help="segmentations.tgz on this disk")
    arguments = parser.parse_args()
    try:
        root = get_cub(arguments.data_dir, arguments.archive)
        if arguments.segmentations or arguments.segmentations_archive:
            get_segmentations(arguments.data_dir, arguments.segmentations_archive)
        catalogue = read_cub(root)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    except IncompleteRun as error:  # no room
        print(error, file=sys.stderr)
        return 1
    sizes = ", ".join(f"{len(catalogue.split(name)):,} {name}" for name in ("train", "val", "test"))
    print(f"{root}: {len(catalogue.samples):,} images of {catalogue.num_classes} classes ({sizes})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
