"""Mean insertion and deletion curves of several methods."""

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from relsplit.bench.runs.sampled_curves import POSITIONS, sampled_curves
from relsplit.papers.products.measured import Measured, common_protocols
from relsplit.pictures.plain_text import plain


def mean_curves(rows: Sequence[Measured], protocols: Sequence[str]) -> Figure:
    """One panel per protocol and curve; the band is ± one standard error over the samples. Controls are dashed."""
    figure = Figure(figsize=(7.5, 3.0 * len(protocols)), layout="constrained")
    axes = figure.subplots(len(protocols), 2, squeeze=False, sharex=True, sharey=True)
    # Ten saturated colours, then their ten light twins.
    pairs = matplotlib.colormaps["tab20"].colors  # type: ignore[attr-defined]  # a list of colours has them
    colours = [(*pairs[::2], *pairs[1::2])[index % 20] for index in range(len(rows))]
    for down, protocol in enumerate(protocols):
        for index, row in enumerate(rows):
            order = list(row.samples[0].index)  # of several checkpoints the mean, as in the table
            both = np.mean([sampled_curves(folder, protocol, order) for folder in row.folders], axis=0)
            for axis, curves in zip(axes[down], both, strict=True):
                mean = curves.mean(axis=0)
                error = curves.std(axis=0, ddof=1) / np.sqrt(len(curves)) if len(curves) > 1 else np.zeros_like(mean)
                style = "--" if row.control else "-"
                axis.plot(POSITIONS, mean, style, color=colours[index], linewidth=1.2, label=plain(row.label))
                axis.fill_between(POSITIONS, mean - error, mean + error, color=colours[index], alpha=0.2, linewidth=0)
        for axis, name in zip(axes[down], ("Insertion", "Deletion"), strict=True):
            axis.set_title(f"{name}, {protocol}", fontsize=9)
            axis.set(xlim=(0, 1), ylim=(0, 1))
            axis.spines[["top", "right"]].set_visible(False)
        axes[down, 0].set_ylabel("probability of the class", fontsize=8)
    for axis, name in zip(axes[-1], ("inserted", "deleted"), strict=True):
        axis.set_xlabel(f"share of pixels {name}", fontsize=8)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", fontsize=7, frameon=False)
    return figure


def curve_figures(rows: Sequence[Measured]) -> dict[str, Figure]:
    """The curves of a table's rows, as a figure named ``curves``."""
    return {"curves": mean_curves(rows, common_protocols(rows))}
