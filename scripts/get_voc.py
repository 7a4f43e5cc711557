"""Fetch and unpack PASCAL VOC: python scripts/get_voc.py [--year 2012] [--archives FOLDER]."""

import argparse
import sys
from pathlib import Path

from relsplit.bench.data.voc import read_voc
from relsplit.bench.data.voc_download import get_voc
from relsplit.errors import IncompleteRun, InputError


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, default=Path("data/voc"), help="where VOC lives (default: data/voc)")
    parser.add_argument("--year", choices=("2007", "2012"), default="2012")
    parser.add_argument("--archives", type=Path, help="folder that holds the archives, instead of downloading them")
    arguments = parser.parse_args()
    try:
        root = get_voc(arguments.data_dir, arguments.year, arguments.archives)
        catalogue = read_voc(root, arguments.year)
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
