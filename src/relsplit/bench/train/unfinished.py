"""Whether a checkpoint is left of a training that has not come to its end."""

from pathlib import Path

from relsplit.bench.configuration.folders import BEST, SUMMARY, is_where_training_puts_it
from relsplit.bench.configuration.settings import Settings
from relsplit.bench.runs.folder import CONFIG
from relsplit.errors import InputError

LAST = "last.ckpt"


def check_trained(settings: Settings) -> None:
    """Check that ``model.checkpoint`` is not left of a training that has not come to its end.

    Such a file is a network of any epoch, the first one say. ``summary.json`` is the last thing that a training writes.

    Raises:
        InputError: it is.
    """
    if settings.model.checkpoint is None:
        return
    checkpoint = Path(settings.model.checkpoint)
    folder = checkpoint.parent
    if not checkpoint.is_file() or checkpoint.name not in (BEST, LAST) or (folder / SUMMARY).is_file():
        return
    if is_where_training_puts_it(settings) or (folder / CONFIG).is_file() or (folder / LAST).is_file():
        raise InputError(
            f"{checkpoint} is of a training that has not come to its end ({folder} has no {SUMMARY}): start the same "
            "task=train again, which finishes it, or copy the file elsewhere to explain the network as it is"
        )
