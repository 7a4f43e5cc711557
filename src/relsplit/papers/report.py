"""Task ``report``: one HTML page of the evaluations, tables and figures under a folder."""

from pathlib import Path

from relsplit.bench.configuration.settings import Report, Settings
from relsplit.bench.machine.logs import cannot_be_written
from relsplit.bench.machine.terminal import say
from relsplit.papers.reports.html import write_report


def run(settings: Settings) -> Path:
    """Write ``report.html`` into ``output_dir``, or into the folder that was searched.

    Raises:
        InputError: there is nothing to report, or the page cannot be written.
    """
    task = settings.task_as(Report)
    root = Path(task.root)
    page = Path(settings.output_dir or root) / "report.html"
    try:
        write_report(root, page, task.title)
    except OSError as error:
        raise cannot_be_written(str(page), error, "choose another with output_dir=") from error
    say(str(page))
    return page
