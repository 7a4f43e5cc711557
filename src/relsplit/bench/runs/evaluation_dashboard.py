"""An evaluation on the dashboard: progress and running means while it goes on, all of its results in the end.

Both are read from the run folder, so CSV and pictures have all that the dashboard has, any number of processes may
evaluate, and a resumed run looks like one that was never interrupted.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from relsplit.bench.configuration.identity import Identity
from relsplit.bench.configuration.settings import Settings
from relsplit.bench.runs.dashboard import Dashboard, wandb_options
from relsplit.bench.runs.pictures import GRID, OVERLAYS, PICTURES
from relsplit.bench.runs.records import SCORES, SampleCurves
from relsplit.bench.runs.sampled_curves import POSITIONS, sampled_curves
from relsplit.bench.runs.store import Journal, MeasuredSamples

SECONDS = 10.0
"""Between two looks at an evaluation that goes on."""


def evaluation_dashboard(folder: Path, settings: Settings, identity: Identity) -> Dashboard:
    """Return the dashboard of an evaluation.

    Args:
        folder: the run folder.
        settings: of the evaluation.
        identity: of the settings.
    """
    dataset, title, protocol = settings.dataset.name, settings.explainer_title, next(iter(settings.protocol))
    return Dashboard(
        wandb_options(settings.logger),
        folder,
        id=f"evaluate-{identity.hash}",
        name=f"{dataset}-{title}-{protocol}",
        group=f"{dataset}/{title}/{protocol}",
        job_type=settings.explainer.name,
        tags=[dataset, settings.explainer.name, protocol],
        config=identity.written(),
    )


@contextmanager
def watched(dashboard: Dashboard, folder: Path, total: int, seconds: float = SECONDS) -> Iterator[None]:
    """Show how far an evaluation is, and its means so far, again and again until the context ends.

    Args:
        dashboard: that shows it.
        folder: the run folder.
        total: number of samples when all are done.
        seconds: between two looks.
    """
    journal, ended = Journal(folder), threading.Event()

    def look() -> None:
        if journal.is_longer():
            dashboard.show(lambda run: run.log(progress(journal.rows, total)))

    def watch() -> None:
        while not ended.wait(seconds):
            look()

    if dashboard.options is None:
        yield
        return
    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        look()


def progress(rows: Mapping[str, Mapping[str, Any]], total: int) -> dict[str, float]:
    """Return how many samples are done and the primary protocol's means over these.

    Args:
        rows: of ``samples.csv``, by sample id.
        total: number of samples when all are done.
    """
    means = {f"progress/{score}": float(np.mean([row[score] for row in rows.values()])) for score in SCORES}
    return {"progress/samples": len(rows), "progress/share": len(rows) / total, **means}


def publish(dashboard: Dashboard, folder: Path, samples: MeasuredSamples, summary: Mapping[str, Any]) -> None:
    """Show a finished evaluation.

    Args:
        dashboard: that shows it.
        folder: the run folder, which has the pictures.
        samples: what was measured.
        summary: the content of ``summary.json``.
    """
    dashboard.show(lambda run: _publish(run, folder, samples, summary))


def _publish(run: Any, folder: Path, samples: MeasuredSamples, summary: Mapping[str, Any]) -> None:
    import wandb

    table, curves = samples.table(), samples.curves()
    shown = {key: value for key, value in summary.items() if isinstance(value, int | float | str)}
    run.summary.update(shown)
    run.log({"summary": wandb.Table(columns=list(shown), data=[list(shown.values())])})
    run.log({"samples": _sample_table(folder, table), "conservation": _conservation(table)})
    run.log({f"curves/{protocol}": _curve_plot(curves, protocol) for protocol in summary["protocols"]})
    grid = folder / PICTURES / GRID
    if grid.exists():
        run.log({"pictures": wandb.Image(str(grid))})


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


def _curve_plot(measured: Sequence[SampleCurves], protocol: str) -> Any:
    import wandb

    lines: dict[str, npt.NDArray[np.float64]] = {}
    for name, curves in zip(("insertion", "deletion"), sampled_curves(measured, protocol), strict=True):
        mean, band = curves.mean(axis=0), curves.std(axis=0)
        lines |= {name: mean, f"{name} + std": mean + band, f"{name} - std": mean - band}
    return wandb.plot.line_series(
        xs=POSITIONS.tolist(),
        ys=[values.tolist() for values in lines.values()],
        keys=list(lines),
        title=f"Insertion and deletion, {protocol}",
        xname="share of the pixels",
    )
