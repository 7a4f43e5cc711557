"""The pictures of a run: every shown sample with its map over it and its insertion and deletion curves."""

import io
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from relsplit.bench.runs.maps import Maps
from relsplit.bench.runs.records import SampleCurves
from relsplit.bench.runs.sampled_curves import from_nothing
from relsplit.files import write_bytes
from relsplit.pictures.overlays import light_overlay
from relsplit.pictures.plain_text import plain

PICTURES, OVERLAYS, GRID = "pictures", "overlays", "samples.png"


def write_pictures(folder: Path, maps: Maps, curves: Sequence[SampleCurves] = (), title: str = "") -> Path:
    """Write ``pictures/samples.png``, one row a sample, and ``pictures/overlays/<sample_id>.png``.

    Args:
        folder: an existing run folder.
        maps: the samples to be shown.
        curves: their curves under any number of protocols; without curves that column is left out.
        title: over the whole picture.

    Returns:
        Path of ``samples.png``.
    """
    overlays = folder / PICTURES / OVERLAYS
    for made in (overlays.parent, overlays):  # not the run's folder: somebody may have moved it
        made.mkdir(exist_ok=True)
    for sample_id, image, attribution in zip(maps.sample_id, maps.image, maps.map, strict=True):
        blended = np.round(255 * light_overlay(image, attribution)).astype(np.uint8)
        picture = io.BytesIO()
        Image.fromarray(blended).save(picture, "PNG")
        write_bytes(overlays / f"{sample_id}.png", picture.getbuffer())
    path = folder / PICTURES / GRID
    grid = io.BytesIO()
    sample_grid(maps, curves, title).savefig(grid, format="png", dpi=110)
    write_bytes(path, grid.getbuffer())
    return path


def sample_grid(maps: Maps, curves: Sequence[SampleCurves], title: str) -> Figure:
    """One row a sample: image, map over it, map alone, curves of every protocol."""
    rows, columns = len(maps.sample_id), 4 if curves else 3
    width, height = 2.2 * columns + (0.8 if curves else 0), 2.3 * rows + 0.8
    figure = Figure(figsize=(width, height))
    # Margins by hand, in inches: a layout engine takes a second, and an evaluation of few samples not much more.
    margins = {"left": 0.15 / width, "right": 1 - 0.15 / width, "bottom": 0.4 / height, "top": 1 - 0.85 / height}
    grid = {"width_ratios": [1, 1, 1, 1.6][:columns], "wspace": 0.25, "hspace": 0.45, **margins}
    axes = figure.subplots(rows, columns, squeeze=False, gridspec_kw=grid)
    # At the height that matplotlib would choose, if it first measured ticks that are not drawn.
    label: dict[str, Any] = {"fontsize": 7, "y": 1}
    figure.suptitle(plain(title), fontsize=10, y=1 - 0.1 / height, va="top")
    for index, row in enumerate(axes):
        image, attribution = maps.image[index], maps.map[index]
        row[0].imshow(image, interpolation="nearest")
        row[0].set_title(plain(caption(str(maps.class_name[index]), float(maps.probability[index]))), **label)
        row[1].imshow(light_overlay(image, attribution), interpolation="nearest")
        signed = bool(attribution.min() < 0)
        row[1].set_title("map over image: red for, blue against" if signed else "map over image", **label)
        row[2].imshow(attribution, interpolation="nearest", **colours_of(attribution))
        row[2].set_title(f"map, {attribution.min():.2g} to {attribution.max():.2g}", **label)
        for axis in row[:3]:
            axis.set_axis_off()
        if curves:
            _draw_curves(row[3], [curve for curve in curves if curve.sample_id == maps.sample_id[index]])
    if curves:
        axes[-1][3].set_xlabel("share of the pixels", fontsize=8)
    return figure


def caption(name: str, probability: float) -> str:
    """Return what stands over a sample: its class and probability, or every class that plays a part, a line each.

    Args:
        name: see :class:`relsplit.bench.runs.maps.Maps`.
        probability: of the explained class.
    """
    lines = [textwrap.fill(line.replace("_", " "), 34) for line in name.splitlines() or [""]]
    said = "p" if len(lines) == 1 else "p of the explained class"
    number = f"{probability:.3f}" if probability >= 0.001 or probability == 0 else f"{probability:.1e}"
    return "\n".join([*lines, f"{said} = {number}"])


def colours_of(attribution: npt.NDArray[np.floating]) -> dict[str, Any]:
    """Return the colours of a map alone: a signed one has white at zero, red above it and blue below it."""
    if attribution.min() >= 0:
        return {"cmap": "viridis"}
    most = float(np.abs(attribution).max())
    return {"cmap": "RdBu_r", "vmin": -most, "vmax": most}


def _draw_curves(axis: Axes, curves: Sequence[SampleCurves]) -> None:
    for curve, style in zip(curves, ("-", "--", ":", "-."), strict=False):
        (inserted, insertion), (deleted, deletion) = curve.evaluated("insertion"), curve.evaluated("deletion")
        from_black, from_whole = from_nothing(insertion, deletion)
        axis.plot([0, *inserted], from_black, style, color="tab:green", label=f"insertion, {curve.protocol}")
        axis.plot([0, *deleted], from_whole, style, color="tab:red", label=f"deletion, {curve.protocol}")
    axis.set(xlim=(-0.02, 1), ylim=(-0.02, 1.02))
    axis.tick_params(labelsize=7)
    axis.set_ylabel("probability of the scored class", fontsize=7)
    axis.legend(fontsize=6, frameon=False, loc="best")
