"""The tables and figures of a paper on the dashboard, in one run per paper and dataset."""

import hashlib
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from relsplit.bench.configuration.settings import Settings
from relsplit.bench.runs.dashboard import Dashboard, wandb_options
from relsplit.bench.runs.provenance import versions
from relsplit.papers.products.measured import Measured
from relsplit.papers.products.product import Product


def dashboard_group(paper: str | None, dataset: str) -> str:
    """Return the group that a paper's products on a dataset, and the runs that they are made of, stand in."""
    return f"{paper or 'experiments'}/{dataset}"


def product_dashboard(folder: Path, settings: Settings, paper: str | None) -> Dashboard:
    """Return the dashboard of what is reproduced of a paper on a dataset; that of the rows is in the same group.

    Args:
        folder: that all products lie in.
        settings: of the experiment.
        paper: its name, None for experiments that belong to none.
    """
    dataset = settings.dataset.name
    title = paper or "experiments"
    place = hashlib.sha256(f"{platform.node()}:{folder.resolve()}".encode()).hexdigest()[:8]
    return Dashboard(
        wandb_options(settings.logger),
        folder,
        id=f"reproduce-{title}-{dataset}-{place}",
        name=f"{title}-{dataset}",
        group=dashboard_group(paper, dataset),
        job_type="reproduce",
        tags=[title, dataset],
        config={"paper": paper, "dataset": dataset, "model": settings.model.name, "versions": versions()},
    )


def show_product(dashboard: Dashboard, folder: Path, name: str, product: Product, rows: Sequence[Measured]) -> None:
    """Show a table or figure: measured numbers beside published ones, pictures, and which runs they were made of.

    Args:
        dashboard: that shows it.
        folder: of the product, written already.
        name: of the product.
        product: its tables and figures.
        rows: what it was made of.
    """
    dashboard.show(lambda run: _show(run, folder, name, product, rows))


def show_report(dashboard: Dashboard, page: Path) -> None:
    """Show the report.

    Args:
        dashboard: that shows it.
        page: the HTML file.
    """

    def show(run: Any) -> None:
        import wandb

        run.log({"report": wandb.Html(page.read_text(encoding="utf-8"), inject=False)})

    dashboard.show(show)


def _show(run: Any, folder: Path, name: str, product: Product, rows: Sequence[Measured]) -> None:
    import wandb

    shown: dict[str, Any] = {
        f"{name}/{figure}": wandb.Image(str(folder / f"{figure}.png")) for figure in product.figures
    }
    if product.frame is not None:
        shown[f"{name}/table"] = wandb.Table(dataframe=product.frame, allow_mixed_types=True)
    runs = [[row.label, str(path), row.command] for row in rows for path in row.folders]
    shown[f"{name}/rows"] = wandb.Table(columns=["row", "folder", "command"], data=runs)
    run.log(shown)
