"""Draw the pictures of docs/concepts.md, of a network trained on ImageNet and photographs of scikit-image's.

``pip install "relsplit[photographs]"`` brings both.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from PIL import Image
from torch import Tensor, nn

from relsplit import LRP
from relsplit.bench.data.skimage_photographs import read_skimage_photographs
from relsplit.bench.models.efficientnet_lite0 import EfficientNetLite0Weights, efficientnet_lite0
from relsplit.bench.runs.sampled_curves import from_nothing
from relsplit.explainers import ClassEvidence, OnePixel, RelevancePyramid
from relsplit.metrics import score_curves
from relsplit.metrics.insertion_deletion.protocols.nominal import Published, Strict
from relsplit.pictures.overlays import overlay

WEIGHTS = EfficientNetLite0Weights.IMAGENET1K_V1
CLASSES: list[str] = WEIGHTS.meta["categories"]
MEAN, STD = WEIGHTS.transforms().mean, WEIGHTS.transforms().std
GOOD, BAD = "#1b7f79", "#c8553d"


def photograph(name: str) -> Tensor:
    """Return a photograph (1, 3, 224, 224) as the network expects it."""
    (sample,) = [sample for sample in read_skimage_photographs().samples if sample.sample_id == name]
    return WEIGHTS.transforms()(Image.open(sample.path).convert("RGB"))[None]  # type: ignore[no-any-return]


def pixels(image: Tensor) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    """Return an image (1, 3, H, W) as it is seen, (H, W, 3) uint8."""
    shown = image[0] * torch.tensor(STD)[:, None, None] + torch.tensor(MEAN)[:, None, None]
    return (255 * shown.permute(1, 2, 0)).round().clamp(0, 255).byte().numpy()


def draw_map(axis: Axes, image: Tensor, heat: Tensor, title: str) -> None:
    """Draw a map (H, W) over its image."""
    axis.imshow(overlay(pixels(image), heat.numpy(), cmap="inferno", alpha=0.6))
    axis.set_title(title, fontsize=9)
    axis.set_axis_off()


def relevance(model: nn.Module) -> Figure:
    """A photograph, the relevance of its pixels, and what they sum to."""
    image = photograph("chelsea")
    answer = model(image).softmax(1)[0]
    heat = RelevancePyramid(model).attribute(image)[0]
    figure = Figure(figsize=(6.6, 2.6), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=[1, 1, 0.9])
    left.imshow(pixels(image))
    left.set_title(f"{CLASSES[int(answer.argmax())]}, p = {float(answer.max()):.3f}", fontsize=9)
    left.set_axis_off()
    draw_map(middle, image, heat, f"relevance, sum = {float(heat.sum()):.3f}")
    rows = heat.sum(1).numpy()
    right.fill_between(np.arange(len(rows)), np.cumsum(rows), color=GOOD, alpha=0.35, linewidth=0)
    right.axhline(float(answer.max()), color="0.3", linewidth=1, linestyle="--")
    right.set_title("rows added up, top to bottom", fontsize=9)
    right.set(xlim=(0, len(rows) - 1), ylim=(0, float(answer.max()) * 1.12), xlabel="row of pixels")
    right.text(4, float(answer.max()) * 1.02, "p", fontsize=9, va="bottom")
    right.spines[["top", "right"]].set_visible(False)
    return figure


def conservation(model: nn.Module) -> Figure:
    """The sum of relevance at every block on the way back, with and without a stabiliser in the denominators."""
    image = photograph("chelsea")
    figure = Figure(figsize=(6.6, 2.6), layout="constrained")
    axis = figure.subplots()
    variants = ((0.0, "nothing added to denominators", GOOD), (0.01, "0.01 added to every denominator", BAD))
    for stabilizer, label, colour in variants:
        _, sums = LRP(model, stabilizer=stabilizer).attribute(image, return_sums=True)
        start = float(sums["output"])
        names = ["output", *reversed([name for name in sums if name not in ("input", "output")]), "input"]
        axis.plot([float(sums[name]) / start for name in names], "o-", markersize=4, color=colour, label=label)
    axis.axhline(1, color="0.6", linewidth=0.8, zorder=0)
    axis.set_xticks(range(len(names)), names, rotation=40, ha="right", fontsize=7)
    axis.set(ylim=(0, 1.1))
    axis.set_ylabel("sum of relevance / p", fontsize=8)
    axis.legend(frameon=False, fontsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    return figure


def splitting() -> Figure:
    """A skip connection meets its residual branch: 30 units of relevance are divided by the two summands."""
    figure = Figure(figsize=(6.6, 2.3))
    axis = figure.add_axes((0, 0, 1, 1))
    axis.set(xlim=(0, 13.2), ylim=(0, 4.6))
    axis.set_axis_off()

    def box(x: float, y: float, text: str, colour: str = "#eceff1", width: float = 2.0) -> None:
        style = "round,pad=0.08,rounding_size=0.15"
        axis.add_patch(FancyBboxPatch((x, y), width, 0.9, boxstyle=style, facecolor=colour, edgecolor="0.45"))
        axis.text(x + width / 2, y + 0.45, text, ha="center", va="center", fontsize=9)

    def arrow(start: tuple[float, float], end: tuple[float, float], text: str, colour: str, above: float = 0.2) -> None:
        patch = FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=12, color=colour, linewidth=1.6)
        axis.add_patch(patch)
        x, y = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2 + above
        axis.text(x, y, text, ha="center", va="bottom", fontsize=8, color=colour)

    box(0.4, 1.85, "input of\nthe block")
    box(4.6, 3.2, "skip: value 1")
    box(4.6, 0.5, "branch: value 2")
    box(8.6, 1.85, "sum: 3", width=1.4)
    arrow((12.9, 2.3), (10.15, 2.3), "relevance 30", GOOD)
    arrow((8.5, 2.6), (6.75, 3.6), "1/3: 10", GOOD)
    arrow((8.5, 2.0), (6.75, 1.0), "2/3: 20", GOOD, above=-0.75)
    arrow((4.5, 3.6), (2.5, 2.65), "10", GOOD)
    arrow((4.5, 1.0), (2.5, 1.95), "20", GOOD, above=-0.75)
    axis.text(1.4, 1.3, "gets 30", ha="center", va="bottom", fontsize=9, color=GOOD)
    return figure


def protocols(model: nn.Module) -> Figure:
    """Insertion curves of two maps under two protocols: tied pixels at once, or exactly n of them."""
    image = photograph("coffee")
    target = model(image).argmax(1)
    maps = {
        "relevance pyramid": (RelevancePyramid(model).attribute(image, target), GOOD),
        "one pixel (control)": (OnePixel(model).attribute(image, target), BAD),
    }
    figure = Figure(figsize=(6.6, 2.7), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for label, (heat, colour) in maps.items():
        points = {"published": Published(step=1792), "strict": Strict(step=1792)}
        scores = score_curves(model, image, heat, target, points, mean=MEAN, std=STD)
        for axis, (name, found) in zip(axes, scores.items(), strict=True):
            (curve,) = found.curves
            area = float(found.insertion[0])
            inserted, _ = from_nothing(curve.insertion, curve.deletion)
            axis.plot([0, *curve.fraction], inserted, color=colour, linewidth=1.6, label=f"{label}: {area:.2f}")
            axis.set_title(name, fontsize=9)
    for axis in axes:
        axis.set(xlim=(-0.02, 1), ylim=(0, 1))
        axis.set_xlabel("share of the pixels inserted", fontsize=8)
        axis.legend(frameon=False, fontsize=7, title="area below", title_fontsize=7, loc="lower right")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("probability of the class", fontsize=8)
    return figure


def evidence(model: nn.Module) -> Figure:
    """Two photographs side by side, explained for the class of each, without and with what speaks against it."""
    image = torch.cat([photograph("chelsea"), photograph("coffee")], dim=3)
    classes = [int(model(photograph(name)).argmax()) for name in ("chelsea", "coffee")]
    probability = model(image).softmax(1)[0]
    without = RelevancePyramid(model, rule="z_plus")
    figure = Figure(figsize=(6.6, 3.4), layout="constrained")
    axes = figure.subplots(2, 2)
    for row, explained in zip(axes, classes, strict=True):
        name = f"{CLASSES[explained]}, p = {float(probability[explained]):.3f}"
        draw_map(row[0], image, without.attribute(image, explained)[0], f"z+ map of {name}")
        draw_map(row[1], image, ClassEvidence(model).attribute(image, explained)[0], f"class evidence for {name}")
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("docs/concepts"))
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    model = efficientnet_lite0(WEIGHTS).eval()
    with torch.no_grad():
        figures = {
            "relevance": relevance(model),
            "conservation": conservation(model),
            "splitting": splitting(),
            "protocols": protocols(model),
            "evidence": evidence(model),
        }
    for name, figure in figures.items():
        kind = "jpg" if name in ("relevance", "evidence") else "png"  # photographs, drawings
        figure.savefig(folder / f"{name}.{kind}", dpi=130, facecolor="white")


if __name__ == "__main__":
    main()
