"""What refined curves save, how far their scores are off, and what their error bound says.

    python benchmarks/curve_refinement.py           # the demo network (trained on first use), 120 of its test images
    python benchmarks/curve_refinement.py --quick   # 16 of them
    python benchmarks/curve_refinement.py dataset=image_folder dataset.root=photos model=resnet50 model.checkpoint=FILE

Each method's maps are scored under the strict protocol on the copy of the network that an evaluation uses: whole, then
with every tolerance. Shown are the ID score of whole curves, the share of the points that were evaluated, the share of
the time of whole curves that scoring took (median over the batches), the error of the mean ID score, the standard
deviation and the largest of the samples' errors, the bound on the error of the mean, and that bound for 1,000 samples
like these.
"""

import argparse
import statistics
from pathlib import Path

import numpy as np
import torch
from _measuring import arguments, now
from hydra import compose, initialize_config_dir

from relsplit.bench.data.dataset import collate_evaluation
from relsplit.bench.explain.explanation import ConfiguredExplainer
from relsplit.bench.explain.prepare import prepare
from relsplit.bench.machine.memory import keep_freed_memory
from relsplit.metrics import CurveScores, score_curves
from relsplit.metrics.insertion_deletion.protocols.nominal import Strict
from relsplit.metrics.insertion_deletion.refinement import error_bound
from relsplit.networks.batches import images_per_pass
from relsplit.networks.inference_copy import inference_copy

CONF = Path(__file__).parents[1] / "conf"
MANY = 1000


def main() -> None:
    args = parse_arguments()
    keep_freed_memory()
    where = f"{torch.get_num_threads()} threads, torch {torch.__version__}"
    print(f"{' '.join(args.overrides) or 'the demo'}, {args.samples} samples, {where}")
    print(
        f"{'method':12}{'tolerance':>10}{'ID':>9}{'points':>8}{'time':>7}{'mean':>9}{'sd':>8}{'largest':>9}"
        f"{'bound':>8}{MANY:>9,}"
    )
    for method in args.methods:
        for line in measured(method, args.samples, args.tolerances, args.overrides):
            print(f"{method:12}{line}", flush=True)


def measured(method: str, samples: int, tolerances: list[float], overrides: list[str]) -> list[str]:
    """Return a row of the table for every tolerance."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("config", [f"explainer={method}", f"num_samples={samples}", "logger=none", *overrides])
    prepared = prepare(cfg).on_device()
    config, network = prepared.config, prepared.network
    device = next(network.parameters()).device
    explainer, copy = ConfiguredExplainer(config, network), inference_copy(network)
    scores: dict[float | None, list[CurveScores]] = {tolerance: [] for tolerance in (None, *tolerances)}
    seconds: dict[float | None, list[float]] = {tolerance: [] for tolerance in scores}
    for start in range(0, len(prepared.samples), 8):
        items = [prepared.dataset[index] for index in range(start, min(start + 8, len(prepared.samples)))]
        batch = collate_evaluation(items)
        images, labels = batch.images.to(device), batch.labels.to(device)
        explanation = explainer.explain(images, labels)
        scored = labels if config["task"]["scored_class"] == "label" else explanation.predicted
        for tolerance in scores:
            for _ in range(2 if not seconds[tolerance] else 1):  # the first time warms up
                begin = now()
                found = score_curves(
                    copy,
                    images,
                    explanation.maps,
                    scored,
                    {"": Strict()},
                    batch_size=images_per_pass(config["task"]["forward_batch_size"], device, images[0, 0].numel()),
                    mean=config["dataset"]["mean"],
                    std=config["dataset"]["std"],
                    tolerance=tolerance,
                    seed=config["seed"],
                )[""]
                taken = now() - begin
            seconds[tolerance].append(taken)
            scores[tolerance].append(found)
    return [
        f"{tolerance:10}{compared(scores[None], scores[tolerance], ratio(seconds[None], seconds[tolerance]))}"
        for tolerance in tolerances
    ]


def ratio(whole: list[float], refined: list[float]) -> float:
    return statistics.median(b / a for a, b in zip(whole, refined, strict=True))


def compared(whole: list[CurveScores], refined: list[CurveScores], time_share: float) -> str:
    """Return what is shown of a tolerance."""
    expected = torch.cat([scores.id_score for scores in whole])
    error = torch.cat([scores.id_score for scores in refined]) - expected
    values = np.concatenate([row for scores in refined for curve in scores.curves for row in curve[1:]])
    checks = np.concatenate([row for scores in refined for both in scores.checks or [] for row in both])
    like_these = np.resize(checks, (round(len(checks) * MANY / len(error)), 2))
    return (
        f"{expected.mean():9.4f}{np.isfinite(values).mean():8.2f}{time_share:7.2f}{error.mean():+9.5f}"
        f"{error.std():8.4f}{error.abs().max():9.4f}{error_bound(checks, len(error)):8.4f}"
        f"{error_bound(like_these, MANY):9.5f}"
    )


def parse_arguments() -> argparse.Namespace:
    parser = arguments(__doc__, quick="16 samples")
    parser.add_argument("overrides", nargs="*", help="of the configuration")
    parser.add_argument("--methods", nargs="+", default=["ours", "grad_cam", "random", "center"])
    parser.add_argument("--tolerances", nargs="+", type=float, default=[0.02, 0.05, 0.1])
    parser.add_argument("--samples", type=int, default=120)
    args = parser.parse_args()
    if args.quick:
        args.samples = 16
    return args


if __name__ == "__main__":
    main()
