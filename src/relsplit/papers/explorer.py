"""Task ``explorer``: one HTML page to look into finished evaluations, sample by sample."""

from pathlib import Path

from relsplit.bench.configuration.settings import Explorer, Settings
from relsplit.bench.machine.logs import cannot_be_written
from relsplit.bench.machine.terminal import say
from relsplit.bench.runs.summary import EVALUATION, read_summary
from relsplit.papers.table import finished

FOLDER = Path("outputs", "explorer")
"""Where the page goes, if ``output_dir`` does not say it."""


def run(settings: Settings) -> Path:
    """Write ``explorer.html``, and say what is not on it.

    Returns:
        The page, in ``output_dir`` or ``outputs/explorer``.

    Raises:
        InputError: there is no finished evaluation, none keeps maps, one is damaged, or the page cannot be written.
    """
    # Here and not above: the settings of a wrong command need no torch.
    from relsplit.papers.reports.explorer import Explored, write_explorer

    task = settings.task_as(Explorer)
    page = Path(settings.output_dir or FOLDER) / "explorer.html"
    runs = [Explored(str(read_summary(folder, EVALUATION)["explainer"]), folder) for folder in finished(task.runs)]
    try:
        notes = write_explorer(runs, page, task.title, task.samples)
    except OSError as error:
        raise cannot_be_written(str(page), error, "choose another with output_dir=") from error
    for note in notes:
        say(note)
    say(str(page))
    return page
