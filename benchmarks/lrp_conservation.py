"""How exactly relevance is conserved, and at what price, over architectures and image sizes.

    python benchmarks/lrp_conservation.py                      # 17 torchvision networks at 224, 225, 230 and 299 pixels
    python benchmarks/lrp_conservation.py --quick              # three small ones at 64 and 65 pixels
    python benchmarks/lrp_conservation.py --network my_module:make_network     # yours, beside them

The gap is |sum of relevance - p| / p of the worst image: at the network's input, and at the worst of all block inputs.
The time is that of ``LRP(network).attribute`` over a forward pass of the same batch, median of interleaved rounds.
Weights are torchvision's initial ones; BatchNorm gets random statistics and affine parameters, as a trained network
has; images are random.
"""

import argparse
import importlib
from collections.abc import Callable
from functools import partial

import torch
import torchvision
from _measuring import add_machine, arguments, draw_statistics, times_a_forward, use_threads
from torch import Tensor, nn

from relsplit import LRP
from relsplit.metrics import conservation_gap

NETWORKS = (
    "resnet18", "resnet34", "resnet50", "resnet101", "resnext50_32x4d", "wide_resnet50_2", "regnet_x_400mf",
    "regnet_y_400mf", "vgg11", "vgg11_bn", "mobilenet_v2", "mobilenet_v3_small", "densenet121", "efficientnet_b0",
    "convnext_tiny", "shufflenet_v2_x1_0", "mnasnet0_5",
)  # fmt: skip
SIZES = (224, 225, 230, 299)


def main() -> None:
    args = parse_arguments()
    threads = use_threads(args.threads)
    print(
        f"batch {args.batch}, {args.device}, {threads} threads, torch {torch.__version__}, float32, "
        f"time: median of {args.repeats} rounds"
    )
    print(f"{'network':32}{'size':>6}{'gap at input':>14}{'gap at blocks':>15}{'blocks':>8}{'forwards':>10}{'p':>10}")
    for name, make in networks(args).items():
        network = make().eval().to(args.device)
        lrp = LRP(network)
        for size in args.sizes:
            generator = torch.Generator().manual_seed(size)
            images = torch.randn(args.batch, 3, size, size, generator=generator).to(args.device)
            at_input, at_blocks, blocks, probability = gaps(lrp, images)
            ratio = times_a_forward(network, lrp.attribute, images, args.repeats)
            print(
                f"{name:32}{size:6}{at_input:14.1e}{at_blocks:15.1e}{blocks:8}{ratio:10.2f}{probability:10.2g}",
                flush=True,
            )


def parse_arguments() -> argparse.Namespace:
    parser = arguments(__doc__, quick="resnet18, vgg11_bn, mobilenet_v2 at 64 and 65 pixels")
    parser.add_argument("--networks", nargs="*", default=NETWORKS, help="names of torchvision models")
    parser.add_argument("--network", action="append", default=[], metavar="MODULE:CALLABLE", help="returns a network")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    add_machine(parser)
    args = parser.parse_args()
    if args.quick:
        args.networks, args.sizes = ("resnet18", "vgg11_bn", "mobilenet_v2"), (64, 65)
    return args


def networks(args: argparse.Namespace) -> dict[str, Callable[[], nn.Module]]:
    made: dict[str, Callable[[], nn.Module]] = {name: partial(torchvision_network, name) for name in args.networks}
    for path in args.network:
        module, _, function = path.partition(":")
        made[path] = getattr(importlib.import_module(module), function)
    return made


def torchvision_network(name: str) -> nn.Module:
    torch.manual_seed(0)
    network: nn.Module = torchvision.models.get_model(name, weights=None)
    draw_statistics(network)
    return network


def gaps(lrp: LRP, images: Tensor) -> tuple[float, float, int, float]:
    """Of the worst image: the gap at the input and at the worst block; number of blocks; smallest probability."""
    relevance, sums = lrp.attribute(images, return_sums=True)
    p = sums.pop("output")
    sums.pop("input")
    at_input = conservation_gap(relevance, p)
    at_blocks = [float(conservation_gap(total[:, None], p).max()) for total in sums.values()]
    return float(at_input.max()), max(at_blocks, default=0.0), len(at_blocks), float(p.min())


if __name__ == "__main__":
    main()
