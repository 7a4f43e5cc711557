"""Does the relevance that arrives equal the probability that was sent (paper Sec. 5.5, Figure 7)?"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from relsplit.bench.runs.records import CONSERVATION
from relsplit.papers.products.measured import Measured
from relsplit.papers.products.product import Brief, Product
from relsplit.papers.reports.text_table import Cell, TextTable, words
from relsplit.pictures.colours import colour_of

CHECKPOINTS = {
    "input": "input of the network",
    "first_block": "input of the first block",
    "last_block": "input of the last block",
}


def conservation_scatter(panels: Mapping[str, tuple[str, pd.DataFrame]]) -> Figure:
    """Probability of the explained class against the relevance sum at three checkpoints.

    Args:
        panels: method to (colour, rows of ``conservation.csv``); one row of panels per method.
    """
    figure = Figure(figsize=(3.1 * len(CHECKPOINTS), 3.1 * len(panels)), layout="constrained")
    axes = figure.subplots(len(panels), len(CHECKPOINTS), squeeze=False)
    for down, (label, (colour, frame)) in enumerate(panels.items()):
        for across, (column, place) in enumerate(CHECKPOINTS.items()):
            axis = axes[down, across]
            axis.plot([0, 1], [0, 1], color="0.6", linewidth=1, zorder=1)
            axis.scatter(frame[column], frame["probability"], s=14, color=colour, alpha=0.7, linewidths=0, zorder=2)
            axis.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal")
            axis.spines[["top", "right"]].set_visible(False)
            axis.set_title(f"({'abc'[across]}) {place}", fontsize=9)
            axis.set_xlabel("sum of relevance", fontsize=8)
            axis.tick_params(labelsize=8)
            gap = maximal_gap(frame, column)
            axis.text(0.97, 0.05, f"max. gap {gap:.1e}", transform=axis.transAxes, ha="right", fontsize=8)
        axes[down, 0].set_ylabel(f"{label}\nprobability p", fontsize=8)
    return figure


def maximal_gap(frame: pd.DataFrame, checkpoint: str) -> float:
    """Largest |sum of relevance - p| / p over the samples."""
    probability = frame["probability"].to_numpy(dtype=float)
    return float(np.max(np.abs(frame[checkpoint].to_numpy(dtype=float) - probability) / probability))


def conservation(rows: Sequence[Measured], brief: Brief) -> Product:
    """Figure 7 with its gaps as a table.

    Args:
        rows: propagation variants; their folders hold ``conservation.csv``.
        brief: what the figure is made for.
    """
    frames = {row.label: pd.read_csv(row.folders[0] / CONSERVATION, dtype={"sample_id": str}) for row in rows}
    figure = conservation_scatter({row.label: (colour_of(row.explainer), frames[row.label]) for row in rows})
    lines = [
        {"method": label, "checkpoint": column, "samples": len(frame), "max_relative_gap": maximal_gap(frame, column)}
        for label, frame in frames.items()
        for column in CHECKPOINTS
    ]
    gaps: pd.DataFrame = pd.DataFrame(lines)
    cells = [
        [words(label), *(Cell(f"{maximal_gap(frame, column):.1e}") for column in CHECKPOINTS)]
        for label, frame in frames.items()
    ]
    samples = len(next(iter(frames.values())))
    table = TextTable(
        f"Largest |sum of relevance − p| / p, {samples} images of {brief.dataset}",
        ["Propagation", *CHECKPOINTS.values()],
        [cells],
    )
    return Product(tables=[table], frame=gaps, figures={"figure": figure})
