"""Failures at a glance: their maps with score and category, worst first."""

import pandas as pd
from matplotlib.figure import Figure

from relsplit.bench.runs.maps import Maps
from relsplit.papers.products.failures_file import INITIALS, NAMES, decided
from relsplit.pictures.overlays import light_overlay

SHEET_LEGEND = "On the contact sheet: ID score and category ({}); white: outline of the object.".format(
    ", ".join(f"{short} = {NAMES[category].lower()}" for short, category in INITIALS.items())
)


def contact_sheet(maps: Maps, failures: pd.DataFrame, across: int = 10) -> Figure:
    """Draw the failures, worst first, with score and category; the object's outline in white."""
    count = len(maps.sample_id)
    across = min(across, count)
    down = -(-count // across)
    figure = Figure(figsize=(1.15 * across, 1.4 * down))
    axes = figure.subplots(down, across, squeeze=False, gridspec_kw={"wspace": 0.05, "hspace": 0.3}).ravel()
    initials = {category: short for short, category in INITIALS.items()}
    for axis in axes[count:]:
        axis.set_axis_off()
    for index, (axis, score, category) in enumerate(
        zip(axes[:count], failures["id_score"], decided(failures), strict=True)
    ):
        axis.imshow(light_overlay(maps.image[index], maps.map[index]), interpolation="nearest")
        if maps.region[index].any():
            axis.contour(maps.region[index], levels=[0.5], colors="white", linewidths=0.7)
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
        axis.set_title(f"{score:+.2f} {initials[category]}", fontsize=7, pad=2)
    return figure
