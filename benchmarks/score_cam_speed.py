"""Score-CAM against pytorch-grad-cam's own, in one run.

    python benchmarks/score_cam_speed.py             # ResNet50 at 224x224, one image; minutes on a CPU
    python benchmarks/score_cam_speed.py --quick     # ResNet18 at 112x112

Both compute the same map (``variant=channel_softmax``) of the same images, in turn, each with its own default batch
size, and the maps are compared: the speed counts only if their correlation is above 0.999. The CPU time (all threads)
is what to compare on a machine that others use, too. Weights and images are random.
"""

import argparse
import contextlib
import io
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial

import pytorch_grad_cam
import torch
import torchvision
from _measuring import add_machine, arguments, now, peak_memory, use_threads
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn

from relsplit.explainers.score_cam import ScoreCAM

LAYER = "layer4"
LIBRARY = "pytorch-grad-cam"
LEAST_CORRELATION = 0.999


def main() -> None:
    args = parse_arguments()
    threads = use_threads(args.threads)
    device = torch.device(args.device)
    torch.manual_seed(0)
    model = getattr(torchvision.models, args.model)(num_classes=1000).eval().to(device)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(args.images, 3, args.size, args.size, generator=generator).to(device)
    with torch.no_grad():
        targets = model(images).argmax(dim=1)

    ours = ScoreCAM(model, f"{LAYER}[-1]", "channel_softmax")
    halves = {name: ScoreCAM(model, f"{LAYER}[-1]", "channel_softmax", precision=name) for name in args.precisions}
    runs: dict[str, Callable[[], Tensor]] = {
        LIBRARY: lambda: library(model, images, targets),
        "relsplit": lambda: ours.attribute(images, targets),
    }
    for name, half in halves.items():
        runs[f"relsplit, {name}"] = partial(half.attribute, images, targets)
    seconds, cpu_seconds, maps, memory = measure(runs, args.repeats, device)

    print(
        f"{args.model} at {args.size}x{args.size}, {args.images} images, {device}, {threads} threads, "
        f"median of {args.repeats}"
    )
    print(
        f"{'':18}{'s / image':>11}{'speedup':>9}{'CPU s / image':>15}{'speedup':>9}{'correlation':>13}{'peak MiB':>9}"
    )
    worst = 1.0
    for name in runs:
        agreement = min(correlation(a, b) for a, b in zip(maps[name], maps[LIBRARY], strict=True))
        worst = min(worst, agreement)
        cells = [name.ljust(18)]
        for values, width in ((seconds, 11), (cpu_seconds, 15)):
            cells += [f"{values[name] / args.images:{width}.3f}", f"{values[LIBRARY] / values[name]:9.2f}"]
        print("".join(cells) + f"{agreement:13.6f}{memory[name] / 2**20:9.0f}")
    if worst <= LEAST_CORRELATION:
        sys.exit(f"the maps differ: correlation {worst:.6f}")


def parse_arguments() -> argparse.Namespace:
    parser = arguments(__doc__, quick="resnet18 at 112x112")
    parser.add_argument("--model", default="resnet50", help="a torchvision ResNet")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--images", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--precisions", nargs="*", choices=("bf16", "fp16"), default=["bf16"], help="beside fp32")
    add_machine(parser)
    args = parser.parse_args()
    if args.quick:
        args.model, args.size = "resnet18", 112
    return args


def library(model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    """pytorch-grad-cam's maps (N, H, W)."""
    with (
        pytorch_grad_cam.ScoreCAM(model, [getattr(model, LAYER)[-1]]) as cam,
        contextlib.redirect_stderr(io.StringIO()),
    ):
        return torch.from_numpy(cam(images, [ClassifierOutputTarget(int(target)) for target in targets]))


def measure(
    runs: dict[str, Callable[[], Tensor]], repeats: int, device: torch.device
) -> tuple[dict[str, float], dict[str, float], dict[str, Tensor], dict[str, int]]:
    """Median seconds and CPU seconds of every run, its maps, its peak memory; in turn, against drift."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    maps: dict[str, Tensor] = {}
    memory: dict[str, int] = {}
    for _ in range(repeats):
        for name, run in runs.items():
            peak_memory(device.type, reset=True)
            wall, cpu = now(), time.process_time()
            maps[name] = run().cpu()
            times[name].append((now() - wall, time.process_time() - cpu))
            memory[name] = peak_memory(device.type)
    seconds, cpu_seconds = (
        {name: statistics.median(pair[i] for pair in pairs) for name, pairs in times.items()} for i in (0, 1)
    )
    return seconds, cpu_seconds, maps, memory


def correlation(a: Tensor, b: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]).double())[0, 1])


if __name__ == "__main__":
    main()
