"""What the insertion and deletion metric costs beyond the forward passes it needs.

    python benchmarks/evaluation_speed.py            # ResNet50 at 224x224, the paper's setting
    python benchmarks/evaluation_speed.py --quick    # a small ResNet at 64x64, a few seconds

One run, on whatever device there is, measures in turn and takes medians of
- the bare forward pass of the network on ready-made batches,
- `score_curves` on continuous maps, in masked images per second, with the same network at the same batch size,
- `score_curves` as an evaluation runs it: on the copy of the network made for inference, at the batch size that suits
  the device,
- a straightforward version of the published loop: numpy masks, one image at a time, insertion, then deletion,
and counts the forward passes that shared masks save. Weights and images are random: time does not depend on them.
"""

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
import torchvision
from _measuring import add_machine, arguments, in_rounds, medians, use_threads
from torch import Tensor, nn

from relsplit import heat_quantization
from relsplit.metrics import score_curves
from relsplit.metrics.insertion_deletion.protocols.levels import Levels
from relsplit.metrics.insertion_deletion.protocols.nominal import Published, Strict
from relsplit.metrics.insertion_deletion.protocols.protocol import Protocol
from relsplit.networks.batches import images_per_pass
from relsplit.networks.inference_copy import inference_copy

BLACK = (-np.array([0.485, 0.456, 0.406]) / np.array([0.229, 0.224, 0.225])).astype(np.float32)


def main() -> None:
    args = parse_arguments()
    device = torch.device(args.device)
    threads = use_threads(args.threads)
    torch.manual_seed(0)
    model = getattr(torchvision.models, args.model)(num_classes=1000).eval().to(device)
    images, maps, targets = random_samples(args.samples, args.size, device)
    step = -(-(args.size**2) * 500 // 224**2)

    evaluated = count_forwards(model, images, maps, targets, {"published": Published()}, args.batch_size)
    copy, suited = inference_copy(model), images_per_pass(None, device, args.size**2)
    batch = images[:1].expand(args.batch_size, -1, -1, -1).contiguous()
    runs: dict[str, Callable[[], object]] = {
        "bare forward": lambda: bare_forward(model, batch, evaluated),
        "score_curves": lambda: score_curves(
            model, images, maps, targets, {"published": Published()}, batch_size=args.batch_size
        ),
        "as evaluated": lambda: score_curves(
            copy, images, maps, targets, {"published": Published()}, batch_size=suited
        ),
        "published loop": lambda: published_loop(model, images, maps, targets, step, args.batch_size),
    }
    seconds = medians(in_rounds(runs, args.repeats))

    print(
        f"{args.model} at {args.size}x{args.size}, batch {args.batch_size}, {args.samples} samples, {device}, "
        f"{threads} threads, median of {args.repeats}"
    )
    print(f"\n{'':16}{'s / sample':>12}{'masked images':>15}{'images / s':>12}{'of bare forward':>17}")
    bare = evaluated / seconds["bare forward"]
    for name, duration in seconds.items():
        forwards = evaluated if name != "published loop" else 2 * -(-(args.size**2) // step) * args.samples
        rate = forwards / duration
        print(f"{name:16}{duration / args.samples:12.3f}{forwards:15d}{rate:12.1f}{rate / bare:16.1%}")
    loop = seconds["published loop"]
    print(f"\nan evaluation is {loop / seconds['as evaluated']:.2f} times as fast as the loop")

    print("\nforward passes per sample, shared / one for every point of every curve")
    quantised = heat_quantization(maps)
    for title, protocols in protocol_sets().items():
        for kind, scored in (("continuous", maps), ("8 levels", quantised)):
            shared = count_forwards(model, images[:1], scored[:1], targets[:1], protocols, args.batch_size)
            apart = points_of_all_curves(scored[:1], protocols)
            print(f"{title:28}{kind:12}{shared:6d} / {apart:4d}{1 - shared / apart:8.0%} saved")


def parse_arguments() -> argparse.Namespace:
    parser = arguments(__doc__, quick="resnet18 at 64x64")
    parser.add_argument("--model", default="resnet50", help="a torchvision classifier")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--samples", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    add_machine(parser)
    args = parser.parse_args()
    if args.quick:
        args.model, args.size, args.repeats = "resnet18", 64, 5
    return args


def random_samples(samples: int, size: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Noise images and smooth maps without ties."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(samples, 3, size, size, generator=generator)
    coarse = torch.rand(samples, 1, 7, 7, generator=generator)
    maps = F.interpolate(coarse, (size, size), mode="bicubic").squeeze(1)
    return images.to(device), maps.to(device), torch.zeros(samples, dtype=torch.int64, device=device)


def protocol_sets() -> dict[str, dict[str, Protocol]]:
    return {
        "published": {"published": Published()},
        "strict": {"strict": Strict()},
        "levels": {"levels": Levels(max_levels=1024)},
        "published, strict, levels": {"published": Published(), "strict": Strict(), "levels": Levels(max_levels=1024)},
    }


@torch.inference_mode()
def bare_forward(model: nn.Module, batch: Tensor, images: int) -> None:
    for start in range(0, images, len(batch)):
        model(batch[: images - start])


def published_loop(
    model: nn.Module, images: Tensor, maps: Tensor, targets: Tensor, step: int, batch_size: int
) -> list[tuple[float, float]]:
    """Insertion and deletion as the released code goes about it: every mask is built in numpy and evaluated."""
    scores = []
    for image, attribution, target in zip(images.cpu().numpy(), maps.cpu().numpy(), targets.tolist(), strict=True):
        black = np.broadcast_to(BLACK[:, None, None], image.shape)
        insertion = area(model, masked(image, black, attribution, step), target, batch_size, images.device)
        deletion = area(model, masked(black, image, attribution, step), target, batch_size, images.device)
        scores.append((insertion, deletion))
    return scores


def masked(
    shown: npt.NDArray[np.float32], hidden: npt.NDArray[np.float32], attribution: npt.NDArray[np.float32], step: int
) -> npt.NDArray[np.float32]:
    descending = np.sort(attribution, axis=None)[::-1]
    points = -(-attribution.size // step)
    stack = np.zeros((points, *shown.shape), dtype=np.float32)
    for point in range(points):
        mask = attribution >= descending[min(step * (point + 1), attribution.size - 1)]
        for channel in range(len(shown)):
            stack[point, channel] = np.where(mask, shown[channel], hidden[channel])
    return stack


def area(model: nn.Module, stack: npt.NDArray[np.float32], target: int, batch_size: int, device: torch.device) -> float:
    probabilities: list[float] = []
    for start in range(0, len(stack), batch_size):
        batch = torch.from_numpy(stack[start : start + batch_size]).to(device)
        logits = model(batch)  # with an autograd graph, as in the released code
        probabilities += F.softmax(logits, 1)[:, target].tolist()
    return (sum(probabilities) - (probabilities[0] + probabilities[-1]) / 2) / (len(probabilities) - 1)


def count_forwards(
    model: nn.Module, images: Tensor, maps: Tensor, targets: Tensor, protocols: dict[str, Protocol], batch_size: int
) -> int:
    """Images that pass the network, counted at the network."""
    count = 0

    def add(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        nonlocal count
        count += len(inputs[0])

    handle = model.register_forward_pre_hook(add)
    try:
        score_curves(model, images, maps, targets, protocols, batch_size=batch_size)
    finally:
        handle.remove()
    return count


def points_of_all_curves(maps: Tensor, protocols: dict[str, Protocol]) -> int:
    values = maps.flatten().sort(descending=True).values.cpu()
    return 2 * sum(len(protocol.points(values).lengths) for protocol in protocols.values())


if __name__ == "__main__":
    main()
