"""Task ``report``: one HTML page of the evaluations, tables and figures under a folder."""

from pathlib import Path

from omegaconf import DictConfig

from relsplit.bench.configuration.settings import check_groups
from relsplit.bench.machine.logs import cannot_be_written
from relsplit.bench.machine.terminal import say
from relsplit.papers.reports.html import write_report


def run(cfg: DictConfig) -> Path:
    """Write ``report.html`` into ``output_dir``, or into the folder that was searched.

    Raises:
        InputError: there is nothing to report, or the page cannot be written.
    """
    check_groups(cfg)
    root = Path(cfg.task.root)
    page = Path(cfg.output_dir or root) / "report.html"
    try:
        write_report(root, page, cfg.task.title)
    except OSError as error:
        raise cannot_be_written(str(page), error, "choose another with output_dir=") from error
    say(str(page))
    return page
