"""The ways in which a run can end without its result."""

import re


class InputError(ValueError):
    """Something handed in (argument, configuration, file) cannot be used.

    The message is one line that says what is wrong, where, and what to do. The command line prints it without a
    traceback and exits with code 2.
    """

    def __init__(self, message: str) -> None:
        super().__init__(re.sub(r"\s*[\r\n]+\s*", " ", message.strip()))  # what others say may have several lines


class IncompleteRun(RuntimeError):
    """A run ended although not every requested sample has a result; the command line exits with code 1."""


class Terminated(KeyboardInterrupt):
    """A scheduler or another program ended the run (SIGTERM); what was finished is on the disk. Exit code 143."""


class UnsupportedModelError(InputError):
    """The model does something that relevance cannot pass."""
