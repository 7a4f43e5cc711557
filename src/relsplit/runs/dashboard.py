"""A finished run on a Weights & Biases dashboard.

Everything shown there is read back from the run folder, so CSV and pictures have all that the dashboard has, and a
resumed run looks like one that was never interrupted. A dashboard that cannot be written never ends a run.
"""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from relsplit.runs.pictures import GRID, OVERLAYS, PICTURES
from relsplit.runs.sampled_curves import POSITIONS, sampled_curves
from relsplit.runs.store import read_samples

log = logging.getLogger(__name__)


def wandb_options(logger: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the arguments of ``wandb.init``; None where the dashboard is switched off.

    Args:
        logger: ``project``, ``mode`` (the environment variable WANDB_MODE goes before it) and further arguments of
            ``wandb.init``; empty switches the dashboard off.
    """
    if not logger:
        return None
    mode = os.environ.get("WANDB_MODE", logger["mode"])
    return None if mode == "disabled" else {**logger, "mode": mode}


def publish(folder: Path, config: Mapping[str, Any], summary: Mapping[str, Any]) -> None:
    """Log a run folder to Weights & Biases.

    Args:
        folder: the run folder; wandb's files go to ``<folder>/wandb``.
        config: the resolved configuration; ``config["logger"]`` as for :func:`wandb_options`.
        summary: the content of ``summary.json``.
    """
    options = wandb_options(config["logger"])
    if options is None:
        return
    try:
        _publish(folder, config, summary, options)
    except Exception as error:  # the dashboard is a copy: losing it must not lose the run
        log.warning("the wandb dashboard was not written (%s); the run folder %s has all results", error, folder)


def _publish(folder: Path, config: Mapping[str, Any], summary: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    import wandb  # slow to import, and a machine without it can still evaluate

    explainer = summary["explainer"] if summary["split"] is None else f"{summary['explainer']}-{summary['split']}"
    run = wandb.init(
        dir=str(folder),
        name=f"{summary['dataset']}-{explainer}-{summary['protocol']}",
        group=f"{summary['dataset']}/{explainer}/{summary['protocol']}",
        job_type=str(summary["explainer"]),
        tags=[str(summary[key]) for key in ("dataset", "explainer", "protocol")],
        config=dict(config),
        settings=wandb.Settings(silent=True, console="off"),
        **options,
    )
    try:
        samples = read_samples(folder)
        shown = {key: value for key, value in summary.items() if isinstance(value, int | float | str)}
        run.summary.update(shown)
        run.log({"summary": wandb.Table(columns=list(shown), data=[list(shown.values())])})
        run.log({"samples": _sample_table(folder, samples), "conservation": _conservation(samples)})
        run.log({f"curves/{protocol}": _curve_plot(folder, protocol) for protocol in summary["protocols"]})
        grid = folder / PICTURES / GRID
        if grid.exists():
            run.log({"pictures": wandb.Image(str(grid))})
    finally:
        run.finish()


def _sample_table(folder: Path, samples: pd.DataFrame) -> Any:
    import wandb

    overlays = {path.stem: path for path in (folder / PICTURES / OVERLAYS).glob("*.png")}
    columns = ["overlay", *samples.columns]
    table = wandb.Table(columns=columns)
    for row in samples.itertuples(index=False):
        overlay = overlays.get(str(row.sample_id))
        table.add_data(wandb.Image(str(overlay)) if overlay else None, *row)
    return table


def _conservation(samples: pd.DataFrame) -> Any:
    import wandb

    table = wandb.Table(dataframe=samples[["sample_id", "probability", "relevance_sum"]])
    return wandb.plot.scatter(table, "probability", "relevance_sum", title="Conservation")


def _curve_plot(folder: Path, protocol: str) -> Any:
    import wandb

    lines: dict[str, npt.NDArray[np.float64]] = {}
    for name, curves in zip(("insertion", "deletion"), sampled_curves(folder, protocol), strict=True):
        mean, band = curves.mean(axis=0), curves.std(axis=0)
        lines |= {name: mean, f"{name} + std": mean + band, f"{name} - std": mean - band}
    return wandb.plot.line_series(
        xs=POSITIONS.tolist(),
        ys=[values.tolist() for values in lines.values()],
        keys=list(lines),
        title=f"Insertion and deletion, {protocol}",
        xname="share of the pixels",
    )
