"""What every explainer costs: time and memory of one batch, beside the network's forward pass.

    python benchmarks/explainer_cost.py              # ResNet50 at 224x224, batch 4; half an hour on a CPU, Score-CAM's
    python benchmarks/explainer_cost.py --quick      # the demo network at 64x64, batch 2
    python benchmarks/explainer_cost.py --model vit_b_16 --batch 1

Every method of conf/explainer, with the options that stand there, runs once in a process of its own, so that its peak
memory is its own: resident memory above that of the loaded network, on a GPU the allocated memory. The forward pass is
timed right before it, as a median. Random weights and images: only methods that skip work depend on them.
"""

import argparse
import multiprocessing
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torchvision
from _measuring import add_machine, arguments, peak_memory, timed
from hydra import compose, initialize_config_dir
from torch import nn

from relsplit.bench.configuration.configuration import resolved
from relsplit.bench.explain.explanation import ConfiguredExplainer
from relsplit.bench.models.build import initial_model
from relsplit.errors import InputError

CONF = Path(__file__).parents[1] / "conf"
REPEATS = 5
NUM_CLASSES = 1000
LONG = 10.0  # seconds


@dataclass(frozen=True)
class Setting:
    """What is explained, and where."""

    model: str
    size: int
    batch: int
    device: str
    threads: int


@dataclass(frozen=True)
class Cost:
    """Of one method: seconds of the forward pass and of the method, for the whole batch; declared cost; peak bytes."""

    forward: float
    seconds: float
    declared: float
    memory: int


def main() -> None:
    args = parse_arguments()
    setting = Setting(args.model, args.size, args.batch, args.device, args.threads or torch.get_num_threads())
    names = args.explainers or sorted(p.stem for p in (CONF / "explainer").glob("*.yaml"))
    where = f"{setting.device}, {setting.threads} threads"
    print(f"model={setting.model} at {setting.size}x{setting.size}, batch {setting.batch}, {where}")
    print(f"{'':24}{'s / image':>11}{'of a forward':>14}{'declared':>10}{'peak MiB':>10}")
    context = multiprocessing.get_context("spawn")
    for name in names:
        with context.Pool(1) as pool:
            cost = pool.apply(measure, (setting, configuration(name)))
        if isinstance(cost, InputError):
            print(f"{name:24}{cost}", flush=True)
            continue
        print(
            f"{name:24}{cost.seconds / setting.batch:11.3f}{cost.seconds / cost.forward:14.1f}{cost.declared:10.0f}"
            f"{cost.memory / 2**20:10.0f}",
            flush=True,
        )


def parse_arguments() -> argparse.Namespace:
    parser = arguments(__doc__, quick="the demo network at 64x64, batch 2")
    parser.add_argument("--explainers", nargs="*", help="names in conf/explainer; default: all")
    parser.add_argument("--model", default="resnet50", help="name in conf/model")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=4)
    add_machine(parser)
    args = parser.parse_args()
    if args.quick:
        args.model, args.size, args.batch = "demo", 64, 2
    return args


def configuration(name: str) -> dict[str, Any]:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return resolved(compose("config", overrides=[f"explainer={name}"]))


def measure(setting: Setting, config: dict[str, Any]) -> Cost | InputError:
    """Return the cost, or why the method cannot explain the network."""
    torch.set_num_threads(setting.threads)
    torch.manual_seed(0)
    network = build_network(setting.model, setting.size).eval().to(setting.device)
    try:
        return _cost(setting, config, network)
    except InputError as error:
        return InputError(" ".join(str(error).split())[:90])


def _cost(setting: Setting, config: dict[str, Any], network: nn.Module) -> Cost:
    images = torch.randn(setting.batch, 3, setting.size, setting.size, device=setting.device)
    target = torch.zeros(setting.batch, dtype=torch.int64, device=setting.device)
    explainer = ConfiguredExplainer(config, network).explainer
    with torch.inference_mode():
        forward = statistics.median([timed(network, images) for _ in range(REPEATS + 1)][1:])
    before = peak_memory(setting.device, reset=True)
    seconds = timed(explainer.attribute, images, target)
    memory = peak_memory(setting.device) - before
    if seconds < LONG:  # short enough for warming up to matter
        seconds = statistics.median([timed(explainer.attribute, images, target) for _ in range(REPEATS)])
    return Cost(forward, seconds, explainer.forward_equivalents, memory)


def build_network(model: str, size: int) -> nn.Module:
    """As conf/model says, with random parameters."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", overrides=[f"model={model}", f"dataset.image_size={size}", "model.weights=null"])
    network = initial_model(config, NUM_CLASSES)
    if isinstance(network, torchvision.models.VisionTransformer):
        nn.init.normal_(network.heads.head.weight, std=0.02)  # torchvision's starts from 0, so that all scores are 0
    return network


if __name__ == "__main__":
    main()
