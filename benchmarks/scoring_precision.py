"""What reading the masked images in half precision saves, and what it does to the scores.

    python benchmarks/scoring_precision.py           # the demo network (trained on first use), 40 of its test images
    python benchmarks/scoring_precision.py --quick   # 8 of them
    python benchmarks/scoring_precision.py dataset=image_folder dataset.root=photos model=resnet50 model.checkpoint=FILE

Each method's maps are scored under the strict protocol on the copy of the network that an evaluation uses, in fp32 and
in half precision, one batch of samples after the other, both in turn. Throughput is in masked images per second, median
over the batches; the difference is that of a sample's ID score.
"""

import argparse
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from _measuring import arguments, now, use_threads
from hydra import compose, initialize_config_dir
from torch import Tensor, nn

from relsplit.bench.data.dataset import collate_evaluation
from relsplit.bench.explain.explanation import ConfiguredExplainer
from relsplit.bench.explain.prepare import prepare
from relsplit.bench.machine.memory import keep_freed_memory
from relsplit.metrics import score_curves
from relsplit.metrics.insertion_deletion.protocols.nominal import Strict
from relsplit.networks.batches import images_per_pass
from relsplit.networks.inference_copy import inference_copy

CONF = Path(__file__).parents[1] / "conf"
METHODS = (
    "ours",
    "grad_cam",
    "integrated_gradients",
    "guided_backprop",
    "relevance_pyramid",
    "center",
    "random",
    "one_pixel",
)


def main() -> None:
    args = parse_arguments()
    keep_freed_memory()
    where = f"{use_threads(args.threads)} threads, torch {torch.__version__}"
    print(f"{' '.join(args.overrides) or 'the demo'}, {args.samples} samples, {args.precision}, {where}")
    print(f"{'method':24}{'ID':>8}{'half':>10}{'mean |dID|':>12}{'largest':>10}{'images/s':>10}{'half':>8}{'ratio':>8}")
    for method in args.methods:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            cfg = compose(
                "config", [f"explainer={method}", f"num_samples={args.samples}", "logger=none", *args.overrides]
            )
        prepared = prepare(cfg).on_device()
        explainer = ConfiguredExplainer(prepared.config, prepared.network)
        mean, std = prepared.config["dataset"]["mean"], prepared.config["dataset"]["std"]

        def batches(prepared: Any = prepared, explainer: Any = explainer) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
            for start in range(0, len(prepared.samples), 8):
                items = [prepared.dataset[index] for index in range(start, min(start + 8, len(prepared.samples)))]
                batch = collate_evaluation(items)
                device = next(prepared.network.parameters()).device
                images, labels = batch.images.to(device), batch.labels.to(device)
                yield images, explainer.explain(images, labels).maps, labels

        print(f"{method:24}{compared(prepared.network, batches(), mean, std, args.precision)}", flush=True)


def compared(
    network: nn.Module,
    batches: Iterator[tuple[Tensor, Tensor, Tensor]],
    mean: Sequence[float],
    std: Sequence[float],
    precision: Any,
) -> str:
    """Return a row of the table for batches of images, maps and labels."""
    copies: dict[Any, nn.Module] = {name: inference_copy(network, name) for name in ("fp32", precision)}
    scores: dict[str, list[Tensor]] = {name: [] for name in copies}
    rates: dict[str, list[float]] = {name: [] for name in copies}
    for images, maps, labels in batches:
        for name, copy in copies.items():
            size = images_per_pass(None, images.device, images.shape[-2:].numel(), name)
            for _ in range(2 if not rates[name] else 1):  # the first time warms up
                begin = now()
                curves = score_curves(copy, images, maps, labels, {"": Strict()}, batch_size=size, mean=mean, std=std)[
                    ""
                ]
                seconds = now() - begin
            rates[name].append(2 * sum(len(curve.fraction) for curve in curves.curves) / seconds)
            scores[name].append(curves.id_score)
    whole, half = torch.cat(scores["fp32"]), torch.cat(scores[precision])
    ratio = statistics.median(b / a for a, b in zip(rates["fp32"], rates[precision], strict=True))
    change = (whole - half).abs()
    return (
        f"{whole.mean():8.4f}{half.mean():10.4f}{change.mean():12.4f}{change.max():10.4f}"
        f"{statistics.median(rates['fp32']):10.0f}{statistics.median(rates[precision]):8.0f}{ratio:8.2f}"
    )


def parse_arguments() -> argparse.Namespace:
    parser = arguments(__doc__, quick="8 samples")
    parser.add_argument("overrides", nargs="*", help="of the configuration")
    parser.add_argument("--methods", nargs="+", default=METHODS)
    parser.add_argument("--samples", type=int, default=40)
    parser.add_argument("--precision", choices=("bf16", "fp16"), default="bf16")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 leaves torch's choice")
    args = parser.parse_args()
    if args.quick:
        args.samples = 8
    return args


if __name__ == "__main__":
    main()
