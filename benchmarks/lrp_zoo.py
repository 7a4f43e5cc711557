"""LRP through the networks of torchvision, timm and transformers: is relevance conserved, and what does it cost?

    python benchmarks/lrp_zoo.py                              # all: about an hour and a half on two cores
    python benchmarks/lrp_zoo.py --quick                      # six networks
    python benchmarks/lrp_zoo.py segmentation detection       # sections
    python benchmarks/lrp_zoo.py timm/vit_tiny_patch16_224 classification/resnet50
    python benchmarks/lrp_zoo.py video --output docs/networks.md    # the documentation's list, this section anew

Weights are random, BatchNorm's statistics too, so that nothing cancels by initialisation. The gap is the greatest
difference between the maps' sum and the start, as a share of the start, over the splittings "ratio" and "symmetric" and
over two image sizes where the network takes two. Forwards are the processor time of one map over that of the network's
own forward pass of the same input, median of three interleaved rounds. Needs timm and transformers.
"""

import argparse
import gc
import logging
import warnings
from pathlib import Path

import torch
from _measuring import arguments
from _zoo.case import measured
from _zoo.families import FAMILIES
from _zoo.page import Section, read, summary, write

QUICK = (
    "classification/resnet18",
    "segmentation/lraspp_mobilenet_v3_large",
    "timm/vit_tiny_patch16_224",
    "timm/skresnet34",
    "encoders/BERT",
    "language/GPT-2",
)


def main() -> None:
    options = parse_arguments()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    sections = read(options.output, FAMILIES) if options.output else {}
    new = {name: Section(family, name) for name, family in FAMILIES.items()}
    for section, network in chosen(list(QUICK) if options.quick else options.names):
        torch.manual_seed(0)
        cells = measured(network, FAMILIES[section].cases(network))
        new[section].put(cells)
        print("  ".join([section, *cells]), flush=True)
        gc.collect()
        if options.output:
            sections[section].put(cells)
            write(options.output, sections)
    print(summary(new))


def parse_arguments() -> argparse.Namespace:
    parser = arguments(__doc__, quick="six small networks")
    parser.add_argument(
        "names", nargs="*", help=f"sections ({', '.join(FAMILIES)}) or SECTION/NETWORK; default: all sections"
    )
    parser.add_argument("--output", type=Path, help="write what was measured into the list there, as Markdown")
    options = parser.parse_args()
    for name in options.names:
        section, _, network = name.partition("/")
        if section not in FAMILIES or (network and network not in FAMILIES[section].names):
            parser.error(f"{name}: no such section or network; sections are {', '.join(FAMILIES)}")
    return options


def chosen(names: list[str]) -> list[tuple[str, str]]:
    """Return sections with networks, by the names of either; without names all."""
    found = []
    for name in names or FAMILIES:
        section, _, network = name.partition("/")
        found += [(section, each) for each in ([network] if network else FAMILIES[section].names)]
    return found


if __name__ == "__main__":
    main()
