"""The ways in which a run can end without its result."""

import re
import signal
import traceback


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


def is_of_a_signal(error: BaseException) -> bool:
    """Say whether a handler of a signal raised an error, which then has nothing to do with the code that it left.

    Python runs handlers between any two steps of the main thread. PyTorch's raises where a data-loading process dies, a
    user's own where time is up; neither says anything about the network or the file that was just being worked on.

    Args:
        error: with its traceback.
    """
    handlers = [signal.getsignal(number) for number in signal.valid_signals()]
    codes = {getattr(handler, "__code__", None) or getattr(type(handler).__call__, "__code__", None)
             for handler in handlers if callable(handler)}  # fmt: skip
    return any(frame.f_code in codes for frame, _ in traceback.walk_tb(error.__traceback__))
