"""Mean insertion and deletion curves of several methods."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from relsplit.bench.runs.sampled_curves import POSITIONS, from_nothing, sampled_curves
from relsplit.papers.products.measured import Measured, common_protocols
from relsplit.pictures.colours import colour_of
from relsplit.pictures.plain_text import plain

LINES = 8
"""At most in one plot; further methods get plots of their own."""
_SOLID, *_DASHED = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (4, 1, 1, 1)), (0, (2, 2)))
"""Variants of one method share its colour and differ in their dashes; all controls are dashed, each in its way."""


def mean_curves(rows: Sequence[Measured], protocols: Sequence[str]) -> Figure:
    """Insertion and deletion side by side, for every protocol and every group of methods.

    The band is ± one standard error over the samples. A curve starts at 0 pixels, see
    :func:`relsplit.bench.runs.sampled_curves.from_nothing`.

    Args:
        rows: methods and controls; the controls stand in every plot.
        protocols: whose curves.
    """
    groups = grouped(rows)
    plots = [(protocol, group) for protocol in protocols for group in groups]
    figure = Figure(figsize=(9.5, 2.7 * len(plots)), layout="constrained")
    axes = figure.subplots(len(plots), 2, squeeze=False, sharex=True, sharey=True)
    styles = dict(zip((row.label for row in rows), _styles(rows), strict=True))
    for pair, (protocol, group) in zip(axes, plots, strict=True):
        for row in group:
            _draw(pair, row, protocol, styles[row.label])
        for axis, name in zip(pair, ("Insertion", "Deletion"), strict=True):
            axis.set_title(f"{name}, {protocol}", fontsize=9)
            axis.set(xlim=(-0.02, 1), ylim=(0, 1))
            axis.spines[["top", "right"]].set_visible(False)
            axis.tick_params(labelsize=8)
        pair[0].set_ylabel("probability of the scored class", fontsize=8)
        pair[1].legend(
            loc="center left", bbox_to_anchor=(1.02, 0.5), fontsize=8, frameon=False,
            title="mean, band ± standard error", title_fontsize=7,
        )  # fmt: skip
    for axis, name in zip(axes[-1], ("inserted", "deleted"), strict=True):
        axis.set_xlabel(f"share of pixels {name}", fontsize=8)
    return figure


def grouped(rows: Sequence[Measured]) -> list[list[Measured]]:
    """Return the rows of each plot: some methods, and the controls beside them if they are no more than a half."""
    controls = [row for row in rows if row.control]
    beside = controls if len(controls) <= LINES // 2 else []
    shown = [row for row in rows if not (beside and row.control)]
    if not shown:
        return [beside]
    count = -(-len(shown) // (LINES - len(beside)))
    bounds = np.linspace(0, len(shown), count + 1).round().astype(int)
    return [[*shown[begin:end], *beside] for begin, end in pairwise(bounds)]


def _styles(rows: Sequence[Measured]) -> Iterator[dict[str, Any]]:
    """Yield the colour and dashes of each row."""
    seen: Counter[str] = Counter()
    for row in rows:
        kind = "control" if row.control else row.explainer
        dashes = _DASHED if row.control else (_SOLID, *_DASHED)
        yield {
            "color": colour_of(row.explainer),
            "linestyle": dashes[seen[kind] % len(dashes)],
            "linewidth": 1.8 if row.control else 1.4,
            "label": plain(row.label),
        }
        seen[kind] += 1


def _draw(pair: Sequence[Axes], row: Measured, protocol: str, style: dict[str, Any]) -> None:
    order = list(row.samples[0].index)  # of several checkpoints the mean, as in the table
    insertion, deletion = np.mean([sampled_curves(curves, protocol, order) for curves in row.curves], axis=0)
    for axis, curves in zip(pair, from_nothing(insertion, deletion), strict=True):
        mean = curves.mean(axis=0)
        error = curves.std(axis=0, ddof=1) / np.sqrt(len(curves)) if len(curves) > 1 else np.zeros_like(mean)
        positions = [0.0, *POSITIONS]
        axis.plot(positions, mean, **style)
        axis.fill_between(positions, mean - error, mean + error, color=style["color"], alpha=0.12, linewidth=0)


def curve_figures(rows: Sequence[Measured]) -> dict[str, Figure]:
    """The curves of a table's rows, as a figure named ``curves``."""
    return {"curves": mean_curves(rows, common_protocols(rows))}
