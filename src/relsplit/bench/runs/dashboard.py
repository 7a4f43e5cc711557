"""A run on a Weights & Biases dashboard, which is a copy: losing it never ends what it shows."""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from relsplit.bench.configuration.settings import Logger

log = logging.getLogger(__name__)


def wandb_options(logger: Logger | None) -> dict[str, Any] | None:
    """Return the arguments of ``wandb.init``; None where the dashboard is switched off.

    Args:
        logger: ``project``, ``mode`` (the environment variable WANDB_MODE goes before it) and further arguments of
            ``wandb.init``; None switches the dashboard off.
    """
    if logger is None:
        return None
    mode = os.environ.get("WANDB_MODE", logger.mode)
    return None if mode == "disabled" else {**logger.model_dump(), "mode": mode}


class Dashboard:
    """A dashboard run that is opened when there is something to show.

    Args:
        options: of :func:`wandb_options`; None shows nothing.
        folder: where wandb's own files go (``<folder>/wandb``).
        arguments: of ``wandb.init``; a later start with the same ``id`` goes on in the same run.
    """

    def __init__(self, options: Mapping[str, Any] | None, folder: Path, **arguments: Any) -> None:
        self.options = options
        self.folder = folder
        self.arguments = arguments
        self.run: Any = None

    def show(self, action: Callable[[Any], None]) -> None:
        """Call ``action`` with the wandb run; after one that fails nothing more is shown.

        Args:
            action: logs something.
        """
        if self.options is None:
            return
        try:
            self.run = self.run or self._opened(self.options)
            action(self.run)
        except Exception as error:  # whatever it is: the folder has all that would be shown
            reason = " ".join(str(error).split())
            log.warning("no wandb dashboard (%s); the folder %s has all results", reason, self.folder)
            self.options = None

    def close(self, exit_code: int = 0) -> None:
        """Write what is not written yet.

        Args:
            exit_code: other than 0 where what is shown was not finished.
        """
        run, self.run = self.run, None
        if run is not None:
            run.finish(exit_code)

    def _opened(self, options: Mapping[str, Any]) -> Any:
        import wandb  # slow to import, and a machine without it can still evaluate

        return wandb.init(
            **{
                "dir": str(self.folder.resolve()),
                "resume": "allow" if options["mode"] == "online" else None,
                "reinit": "create_new",  # a table's run is open while those of its rows come and go
                "settings": wandb.Settings(silent=True, console="off"),
                **self.arguments,
                **options,
            }
        )


@contextmanager
def opened(dashboard: Dashboard) -> Iterator[Dashboard]:
    """Close a dashboard in the end, however that comes."""
    try:
        yield dashboard
    except BaseException:
        dashboard.close(exit_code=1)
        raise
    dashboard.close()
