"""LRP through every classification network of torchvision, and one of each family of timm's: is relevance conserved?

    python benchmarks/lrp_zoo.py                              # all: about an hour on two cores
    python benchmarks/lrp_zoo.py --quick                      # four networks
    python benchmarks/lrp_zoo.py resnet50 timm:vit_tiny_patch16_224
    python benchmarks/lrp_zoo.py --output docs/networks.md    # the table of the documentation

Weights are random, BatchNorm's statistics too, so that nothing cancels by initialisation. The gap is the
greatest difference between the map's sum and the start, as a share of the start, over the splittings "ratio" and
"symmetric" and over two image sizes where the network takes two. Forwards are the time of one map over that of the
network's own forward pass of the same image, median of three interleaved rounds. Needs timm.
"""

import argparse
import gc
import platform
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import timm
import torch
import torchvision
from _measuring import arguments, draw_statistics, times_a_forward
from timm.data.config import resolve_data_config
from torch import Tensor, nn

from relsplit import LRP
from relsplit.errors import InputError

SPLITTINGS = ("ratio", "symmetric")
TIMM = (Path(__file__).parent / "lrp_zoo_timm.txt").read_text().split()
"""One network of each family, small ones."""
QUICK = ("resnet18", "swin_t", "timm:vit_tiny_patch16_224", "timm:skresnet34")


@dataclass
class Row:
    """One network's line of the table."""

    name: str
    sizes: list[int] = field(default_factory=list)
    gap: float = 0.0
    lowest: float = 0.0
    forwards: float = 0.0
    refused: str = ""

    def cells(self) -> list[str]:
        """The line's cells."""
        if self.refused:
            return [self.name, "", "", "", self.refused]
        sizes = ", ".join(map(str, self.sizes))
        return [
            self.name,
            sizes,
            f"{self.gap:.1e}",
            f"{self.forwards:.1f}",
            "" if self.lowest >= 0 else "negative values",
        ]


HEADER = ["network", "image sizes", "gap", "forwards", "remarks"]


def main() -> None:
    options = parse_arguments()
    known = [*torchvision.models.list_models(torchvision.models), *(f"timm:{name}" for name in TIMM)]
    names = list(QUICK) if options.quick else options.names or known
    warnings.simplefilter("ignore")
    rows = []
    for name in names:
        row = measure(name)
        rows.append(row)
        print("  ".join(row.cells()), flush=True)
        gc.collect()
        if options.output:
            options.output.write_text(page(rows))
    print(summary(rows))


def parse_arguments() -> argparse.Namespace:
    parser = arguments(__doc__, quick="four small networks")
    parser.add_argument("names", nargs="*", help="torchvision's, or timm:NAME; default: all")
    parser.add_argument("--output", type=Path, help="write the table there, as Markdown")
    return parser.parse_args()


def measure(name: str) -> Row:
    """Explain one random image of each size by both splittings."""
    row = Row(name)
    network, size = build(name)
    # What attributes cannot hold their own: an error that is no InputError is a defect, and ends the benchmark.
    for each in (size, other_size(size)):
        images = torch.randn(1, 3, each, each, generator=torch.Generator().manual_seed(1))
        if not accepts(network, images):
            continue
        for splitting in SPLITTINGS:
            explainer = LRP(network, splitting)
            try:
                relevance, sums = explainer.attribute(images, return_sums=True)
            except InputError as error:
                row.refused = str(error)
                return row
            row.gap = max(row.gap, gap(relevance, sums["output"]))
            row.lowest = min(row.lowest, float(relevance.amin()))
        row.sizes.append(each)
        if each == size:
            row.forwards = times_a_forward(network, explainer.attribute, images, rounds=3)
    return row


def build(name: str) -> tuple[nn.Module, int]:
    """Return a network with random weights and random BatchNorm statistics, and its image size."""
    torch.manual_seed(0)
    if name.startswith("timm:"):
        network = timm.create_model(name.removeprefix("timm:"), pretrained=False)
        size = resolve_data_config({}, model=network)["input_size"][-1]
    else:
        network = torchvision.models.get_model(name, weights=None)
        size = 299 if name == "inception_v3" else 224
    draw_statistics(network, affine=False)
    return network.eval(), size


def other_size(size: int) -> int:
    """A second image size, a multiple of 32."""
    return size - size // 4 // 32 * 32 - 32 * (size < 128)


def accepts(network: nn.Module, images: Tensor) -> bool:
    """Say whether a network takes images of this size."""
    try:
        with torch.no_grad():
            network(images)
    except (RuntimeError, AssertionError, ValueError):
        return False
    return True


def gap(relevance: Tensor, start: Tensor) -> float:
    """Greatest difference between a map's sum and its start, as a share of the start."""
    total = relevance.double().flatten(1).sum(1)
    return float(((total - start.double()) / start.double()).abs().max())


def summary(rows: list[Row]) -> str:
    """How many of them are conserved."""
    lines = []
    for kind in ("torchvision", "timm"):
        of_kind = [row for row in rows if row.name.startswith("timm:") == (kind == "timm")]
        good = [row for row in of_kind if not row.refused and row.gap <= 1e-5]
        refused = sum(bool(row.refused) for row in of_kind)
        lines.append(f"{kind}: {len(good)} of {len(of_kind)} networks with a gap of at most 1e-5, {refused} refused")
    return "\n".join(lines)


def page(rows: list[Row]) -> str:
    """The table as a page of the documentation."""
    table = ["| " + " | ".join(HEADER) + " |", "|---|---|---:|---:|---|"]
    table += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row.cells()) + " |" for row in rows]
    versions = f"torch {torch.__version__}, torchvision {torchvision.__version__}, timm {timm.__version__}"
    return "\n".join(
        [
            "# Networks that relevance passes",
            "",
            "Written by `python benchmarks/lrp_zoo.py --output docs/networks.md`, see there for what is measured:",
            "random weights, random BatchNorm statistics, `split=ratio` and `split=symmetric`. The gap is the greatest",
            "difference between a map's sum and the relevance that it started from, as a share of the start; forwards",
            f"are the cost of a map. {versions}, {torch.get_num_threads()} CPU threads, {platform.machine()}.",
            "",
            *[f"- {line}" for line in summary(rows).splitlines()],
            "",
            *table,
            "",
        ]
    )


if __name__ == "__main__":
    main()
