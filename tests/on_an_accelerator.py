"""All that is explained and scored on an accelerator beside the CPU; a program, as a pretended device is a process's.

``python on_an_accelerator.py DEVICE`` prints one JSON object: for every explainer, metric, target and network what the
greatest difference to the CPU is (as a share of the greatest entry), what failed, and what the device was waited for.
"""
# ruff: noqa: E402  (a program finds the other tests' modules only once it has said where they are)

import json
import sys
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent / "explainers")]

from explainer_configs import CONF, build, distinct_methods
from hydra.utils import instantiate
from omegaconf import OmegaConf
from small_networks import SmallResNet, seeded_images, small_network, small_resnet
from torchvision.models.resnet import BasicBlock, ResNet

from colour_detector import ColourDetector, colour_images
from pretend_accelerator import Accelerator, registered
from relsplit import LRP
from relsplit.metrics import ExplainedBatch, InsertionDeletion, flipping_area
from relsplit.metrics.insertion_deletion.protocols import PROTOCOLS
from relsplit.targets import Detection, Likeness, Pixels, Value
from small_transformer import small_vit
from two_halves import Halves

TRANSFORMERS = ("attention_rollout", "transformer_attribution")
Outcome = dict[str, Any]
QUICK_METRICS: dict[str, dict[str, Any]] = {
    "pixel_flipping": {"steps": 4},
    "sensitivity": {"num_perturbations": 2},
    "sensitivity_n": {"subsets": 3, "shares": [0.3]},
    "road": {"percentages": [30, 60]},
    "gae": {"cache_dir": None},
    "gae_released": {"cache_dir": None},
}


def difference(found: Any, expected: Any) -> float:
    """The greatest one, as a share of the greatest entry (or of 1e-6); of dictionaries, of any of their values."""
    if isinstance(expected, dict):
        if list(found) != list(expected):
            return float("inf")
        return max(difference(found[key], value) for key, value in expected.items())
    found, expected = found.detach().cpu().double(), expected.detach().cpu().double()
    if found.shape != expected.shape or not torch.equal(found.isnan(), expected.isnan()):
        return float("inf")
    found, expected = found.nan_to_num(0), expected.nan_to_num(0)
    return float((found - expected).abs().max() / expected.abs().max().clamp(min=1e-6))


def compared(act: Callable[[torch.device], Any], device: torch.device) -> Outcome:
    """What ``act`` answers on the device beside what it answers on the CPU, and what it waits for."""
    expected = act(torch.device("cpu"))
    with Accelerator() as watch:
        try:
            found = act(device)
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(last.filename).name}:{last.lineno}"
            return {"error": f"{type(error).__name__} at {where}: {' '.join(str(error).split())[:300]}"}
        waits = sum(watch.waits.values())
        return {"error": None, "difference": difference(found, expected), "waits": waits}


def explainers(device: torch.device) -> dict[str, Outcome]:
    found = {}
    for name in distinct_methods():
        x = seeded_images(2, size=64 if name in TRANSFORMERS else 32)

        def act(where: torch.device, name: str = name, x: Tensor = x) -> Tensor:
            return build(name, small_network(name).to(where)).attribute(x.to(where), torch.tensor([1, 3], device=where))

        found[name] = compared(act, device)
    return found


def batch(where: torch.device, colours: bool = False) -> ExplainedBatch:
    """Four samples, explained by LRP; a metric that needs a network that is right gets one that knows ``colours``."""
    network, x = (ColourDetector(), colour_images(4, 32)[0]) if colours else (small_resnet(), seeded_images(4, size=32))
    network, x = network.to(where), x.to(where)
    targets = torch.tensor([0, 1, 2, 3], device=where)
    boxes = torch.zeros(4, 32, 32, dtype=torch.bool)
    boxes[:, 4:20, 8:24] = True

    def explain_with(model: nn.Module) -> Callable[[Tensor, Tensor], Tensor]:
        return lambda images, classes: LRP(model).attribute(images, classes).sum(1)

    relevance = LRP(network).attribute(x, targets)
    return ExplainedBatch(
        images=x,
        labels=targets,
        targets=targets,
        maps=relevance.sum(1),
        relevance_sum=relevance.sum((1, 2, 3)),
        probability=network(x).softmax(1).gather(1, targets[:, None])[:, 0].detach(),
        boxes=boxes.to(where),
        segmentations=boxes.to(where),
        network=network,
        explain_with=explain_with,
        attribute=explain_with(network),
    )


def metrics(device: torch.device) -> dict[str, Outcome]:
    found = {}
    for path in sorted((CONF / "metric").glob("*.yaml")):
        content = OmegaConf.load(path)
        options = OmegaConf.to_container(content, resolve=False)[path.stem]  # type: ignore[index,call-overload]
        metric = instantiate({**options, **QUICK_METRICS.get(path.stem, {})})

        def score(where: torch.device, metric: Any = metric) -> dict[str, Tensor]:
            sees_the_run = hasattr(metric, "look_at")
            given = batch(where, colours=sees_the_run)
            if sees_the_run:
                metric.look_at(given.network, given.labels.tolist(), lambda position: given.images[position])
            columns: dict[str, Tensor] = metric.columns(given)
            return columns

        found[path.stem] = compared(score, device)
    for protocol in PROTOCOLS.names():

        def act(where: torch.device, protocol: str = protocol) -> dict[str, Tensor]:
            given = batch(where)
            metric = InsertionDeletion(given.network, protocol=protocol).to(where)
            metric.update(given.images, given.maps, given.targets)
            return metric.compute()

        found[f"insertion and deletion, {protocol}"] = compared(act, device)
    for name, (network, target) in EXPLAINED.items():

        def flipped(where: torch.device, network: Any = network, target: Any = target) -> Tensor:
            x = seeded_images(2, size=8).abs()
            return flipping_area(network().to(where), x.to(where), x.mean(1), target, steps=4, baseline="zero")

        found[f"pixel flipping of {name}"] = compared(flipped, device)
    return found


def contrast(scores: Tensor) -> Tensor:
    start = torch.zeros_like(scores)
    start[:, 1], start[:, 2] = scores.softmax(1)[:, 1], -scores.softmax(1)[:, 2]
    return start


def with_head(*end: nn.Module, classes: int = 5) -> nn.Module:
    network = small_resnet(BasicBlock)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        network.fc = nn.Sequential(nn.Linear(16, classes), *end).double()
    return network.eval()


TARGETS: dict[str, tuple[Callable[[torch.device], Any], dict[str, Any]]] = {
    "predicted": (lambda where: None, {}),
    "one class": (lambda where: 3, {}),
    "a tensor there": (lambda where: torch.tensor([1, 3], device=where), {}),
    "a tensor on the CPU": (lambda where: torch.tensor([1, 3]), {}),
    "a function": (lambda where: contrast, {}),
    "logit": (lambda where: 1, {"start": "logit"}),
    "one": (lambda where: 1, {"start": "one"}),
    "a function as start": (lambda where: None, {"start": contrast}),
}
HEADS: dict[str, Callable[[], nn.Module]] = {
    "logits": with_head,
    "one logit": lambda: with_head(classes=1),
    "several sigmoids": lambda: with_head(nn.Sigmoid()),
    "softmax": lambda: with_head(nn.Softmax(1)),
}


EXPLAINED: dict[str, tuple[Callable[[], nn.Module], Any]] = {
    "each image's logit": (with_head, Value(torch.tensor([1, 3]))),
    "likeness": (with_head, Likeness(torch.rand(2, 5, generator=torch.Generator().manual_seed(0)))),
    "a function": (with_head, contrast),
    "a region": (lambda: small_resnet(BasicBlock).conv1, Pixels(0, torch.ones(2, 4, 4))),
    "a box": (Halves, Detection()),
}
"""Targets whose own tensors are on the CPU."""


def targets(device: torch.device) -> dict[str, Outcome]:
    found = {}
    for name, (target, options) in TARGETS.items():

        def act(where: torch.device, target: Any = target, options: Any = options) -> Tensor:
            return LRP(with_head().to(where), **options).attribute(seeded_images(2, size=32).to(where), target(where))

        found[name] = compared(act, device)
    for name, make in HEADS.items():

        def explain(where: torch.device, make: Any = make) -> dict[str, Tensor]:
            x = seeded_images(2, size=32).to(where)
            lrp = LRP(make().to(where))
            relevance, sums = lrp.attribute(x, return_sums=True)
            return {"relevance": relevance, "chosen": lrp.attribute(x, torch.tensor([0, 1], device=where)), **sums}

        found[f"of {name}"] = compared(explain, device)
    return found


OPTIONS: dict[str, dict[str, Any]] = {
    **{f"rule {rule}": {"rule": rule} for rule in ("epsilon", "gamma", "alpha2_beta1", "mixture", "flat", "ratio")},
    "input rule activation": {"input_rule": "activation"},
    "symmetric": {"split": "symmetric", "include_identity": False},
    "proportional": {"split": "proportional"},
    "winner": {"max_pool": "winner"},
    "released": {"max_pool": "average_2x2", "stabilizer": 1e-5},
}


def options(device: torch.device) -> dict[str, Outcome]:
    found = {}
    for name, chosen in OPTIONS.items():

        def act(where: torch.device, chosen: Any = chosen) -> Tensor:
            return LRP(small_resnet().to(where), **chosen).attribute(seeded_images(2, size=32).to(where), 1)

        found[name] = compared(act, device)

    def stages(where: torch.device) -> dict[str, Tensor]:
        return LRP(small_resnet().to(where)).attribute(seeded_images(2, size=32).to(where), 1, at="all")

    def ledger(where: torch.device) -> dict[str, Tensor]:
        return dict(LRP(small_resnet().to(where)).check(seeded_images(2, size=32).to(where), 1).sums)

    return {**found, "at all": compared(stages, device), "check": compared(ledger, device)}


def deeper(blocks: list[int]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return ResNet(BasicBlock, blocks, num_classes=5, width_per_group=64).eval()


NETWORKS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "ResNet": (lambda: SmallResNet(BasicBlock).eval(), 32),
    "a deeper ResNet": (lambda: deeper([2, 2, 2, 2]), 32),
    "transformer": (lambda: small_vit(size=64), 64),
    "a deeper transformer": (lambda: small_vit(size=64, depth=4), 64),
    "a transformer with attention written out": (lambda: small_vit(size=64, fused=False), 64),
}


def waits(device: torch.device) -> dict[str, dict[str, int]]:
    """What a call of LRP waits for once the network is known: by network and number of images."""
    found = {}
    for name, (make, size) in NETWORKS.items():
        with torch.random.fork_rng(devices=[]), Accelerator() as watch:
            torch.manual_seed(0)
            lrp = LRP(make().to(device))
            for count in (1, 4):
                x = seeded_images(count, size=size).float().to(device)
                label = torch.zeros(count, dtype=torch.long, device=device)
                for target, kind in ((None, "predicted"), (label, "given")):
                    lrp.attribute(x, target)
                    before = Counter(watch.waits)
                    lrp.attribute(x, target)
                    found[f"{name}, {count} images, {kind}"] = dict(watch.waits - before)
    return found


def main(name: str) -> None:
    device = registered() if name == "pretend" else torch.device(name)
    warnings.simplefilter("ignore")
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    parts = (explainers, metrics, targets, options, waits)
    print(json.dumps({part.__name__: part(device) for part in parts}))


if __name__ == "__main__":
    main(sys.argv[1])
