"""LRP against the peers and against the network's own passes, in one run.

    python benchmarks/lrp_speed.py             # ResNet50 at 224x224, batch 1 and 8 (on a GPU 64, too)
    python benchmarks/lrp_speed.py --quick     # ResNet18 at 112x112

Each round times every row once, in turn, so that a busy moment of the machine meets all alike; ratios are medians over
the rounds of one row's time over the same round's forward pass. The forward pass is the network as torchvision makes
it, in the images' own memory format. captum's LRP runs on the graph rewritten with modules for additions (on the
network as it is, its sums explode), zennit's with EpsilonPlus and its ResNet canonizer. Memory is the peak above the
loaded network, each row in a process of its own: resident memory, on a GPU allocated memory. Random weights and images.
The last two columns are the greatest gap between a map's sum and its start, and the amplification, sum of |R| over
|sum of R|. benchmarks/transformer_cost.py is of transformers.
"""

import argparse
import functools
import multiprocessing
import statistics
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torchvision
import zennit.attribution
import zennit.composites
import zennit.torchvision
from _measuring import add_machine, arguments, in_rounds, medians, peak_memory, ratios
from torch import Tensor, nn

from relsplit import LRP
from relsplit.explainers.lrp_epsilon import LRPEpsilon
from relsplit.lrp.cuda_graph import RecordedLRP

FORWARD, RECORDED = "forward", "relsplit, CUDA graph"
ROWS = (FORWARD, "forward + input gradient", "relsplit", "captum LRP", "zennit EpsilonPlus")
Run = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Setting:
    """What is explained, and where."""

    model: str
    size: int
    device: str
    threads: int


def main() -> None:
    args = parse_arguments()
    setting = Setting(args.model, args.size, args.device, args.threads or torch.get_num_threads())
    where = f"{args.device}, {setting.threads} threads, torch {torch.__version__}"
    print(f"{args.model} at {args.size}x{args.size}, {where}, {args.repeats} rounds")
    torch.set_num_threads(setting.threads)
    network = build(setting)
    rows = ROWS if args.device == "cpu" else (*ROWS, RECORDED)
    runs = {row: runner(row, network) for row in rows}
    for batch in args.batches:
        images = batch_of(batch, setting)
        seconds = in_rounds({row: functools.partial(run, images) for row, run in runs.items()}, args.repeats)
        median, forwards = medians(seconds), ratios(seconds, FORWARD)
        print(f"\nbatch {batch:<19}{'ms / image':>12}{'forwards':>10}{'lowest':>8}{'highest':>9}", end="")
        print(f"{'peak MiB':>10}{'gap':>10}{'amplified':>11}")
        for row in rows:
            memory = memory_of(row, setting, batch)
            print(
                f"{row:25}{1e3 * median[row] / batch:12.1f}{statistics.median(forwards[row]):10.2f}"
                f"{min(forwards[row]):8.2f}{max(forwards[row]):9.2f}{memory / 2**20:10.0f}"
                f"{quality(runs[row], network, images) if row.startswith('relsplit') else ''}",
                flush=True,
            )


def parse_arguments() -> argparse.Namespace:
    parser = arguments(__doc__, quick="ResNet18 at 112x112, batch 1 and 4, 3 rounds")
    parser.add_argument("--model", default="resnet50", help="a torchvision ResNet")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batches", type=int, nargs="+", help="default: 1 8, on a GPU 1 8 64")
    parser.add_argument("--repeats", type=int, default=9)
    add_machine(parser)
    args = parser.parse_args()
    if args.quick:
        args.model, args.size, args.repeats = "resnet18", 112, 3
    if args.batches is None:
        args.batches = [1, 4] if args.quick else [1, 8, 64] if args.device != "cpu" else [1, 8]
    return args


def build(setting: Setting) -> nn.Module:
    torch.manual_seed(0)
    network: nn.Module = torchvision.models.get_model(setting.model, weights=None)
    return network.eval().to(setting.device)


def batch_of(batch: int, setting: Setting) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, 3, setting.size, setting.size, generator=generator).to(setting.device)


def runner(row: str, network: nn.Module) -> Run:
    if row == FORWARD:
        return torch.inference_mode()(lambda images: network(images))
    if row == "forward + input gradient":
        return lambda images: input_gradient(network, images)
    if row == "relsplit":
        return LRP(network).attribute
    if row == RECORDED:
        return recorded(network)
    if row == "captum LRP":
        return LRPEpsilon(network, variant="correct").attribute
    composite = zennit.composites.EpsilonPlus(canonizers=[zennit.torchvision.ResNetCanonizer()])
    return lambda images: zennit_relevance(network, composite, images)


def recorded(network: nn.Module) -> Run:
    """A CUDA graph for every shape, recorded on first use."""
    graphs: dict[torch.Size, RecordedLRP] = {}

    def run(images: Tensor) -> Tensor:
        if images.shape not in graphs:
            graphs[images.shape] = RecordedLRP(network, images)
        return graphs[images.shape].attribute(images)

    return run


def quality(run: Run, network: nn.Module, images: Tensor) -> str:
    """The gap to the probability, and the amplification."""
    with torch.no_grad():
        start = network(images).softmax(1).amax(1).double()
    relevance = run(images).double().flatten(1)
    gap = ((relevance.sum(1) - start) / start).abs().max()
    return f"{float(gap):10.1e}{float((relevance.abs().sum(1) / relevance.sum(1).abs()).max()):11.2f}"


def input_gradient(network: nn.Module, images: Tensor) -> Tensor:
    # Without the weights' gradients, as the other rows.
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    images = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(network(images).amax(dim=1).sum(), images)
    for parameter in network.parameters():
        parameter.requires_grad_(True)
    return gradient


def zennit_relevance(network: nn.Module, composite: object, images: Tensor) -> Tensor:
    def one_hot(logits: Tensor) -> Tensor:
        return torch.nn.functional.one_hot(logits.argmax(dim=1), logits.shape[1]).to(logits)

    with zennit.attribution.Gradient(network, composite, attr_output=one_hot) as attributor:
        relevance: Tensor = attributor(images.clone())[1]
    return relevance


def memory_of(row: str, setting: Setting, batch: int) -> int:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(peak_in_this_process, (row, setting, batch))


def peak_in_this_process(row: str, setting: Setting, batch: int) -> int:
    """Of two calls; what relsplit keeps between calls, the positive parts of the weights, counts."""
    torch.set_num_threads(setting.threads)
    network, images = build(setting), batch_of(batch, setting)
    run = runner(row, network)
    before = peak_memory(setting.device, reset=True)
    for _ in range(2):
        run(images)
    return peak_memory(setting.device) - before


if __name__ == "__main__":
    main()
