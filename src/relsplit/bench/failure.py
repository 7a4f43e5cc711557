"""What ended a run, as an exit code and one line.

This file imports Python alone at its top: what ended the run may be that something is not installed.
"""

import errno
import sys
import tempfile
import traceback
from collections.abc import Sequence

from relsplit.bench.configuration.extras import extra_of, how_to_install
from relsplit.errors import IncompleteRun, InputError

INCOMPLETE, WRONG_INPUT, UNEXPECTED = 1, 2, 3
WRITING_FAILED = {
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ENODEV,
}  # fmt: skip
LIMITS = {
    errno.EMFILE: "raise it with `ulimit -n 1024`, or say dataset.num_workers=0",
    errno.ENFILE: "end other programs, or say dataset.num_workers=0",
    errno.EAGAIN: "end other processes, or say dataset.num_workers=0",
    errno.ENOMEM: "end other programs, or choose smaller batches (task.batch_size, trainer.batch_size)",
}
"""Errors of a machine that has no more of something, and what to do."""


def described(error: Exception, typed: Sequence[str]) -> tuple[str, int, str]:
    """Return the kind of error in a word, its exit code, and its text.

    Args:
        error: what ended the run.
        typed: the command line.
    """
    cause: BaseException | None = error
    while cause is not None:  # Hydra and Lightning wrap what ended them
        if isinstance(cause, InputError):
            return "error", WRONG_INPUT, str(cause)
        if isinstance(cause, IncompleteRun):
            return "incomplete", INCOMPLETE, str(cause)
        if isinstance(cause, ModuleNotFoundError) and (extra := extra_of(cause.name)):
            return "error", WRONG_INPUT, f"{cause}: it comes with {how_to_install(extra)}"
        if isinstance(cause, BrokenPipeError):
            closed = "whoever read what is said here (`| head`, say) has ended"
            return "incomplete", INCOMPLETE, f"{closed}: start the same command again, which goes on"
        if isinstance(cause, OSError) and cause.errno in WRITING_FAILED:
            file = f" ({cause.filename})" if cause.filename else ""
            return "incomplete", INCOMPLETE, f"{cause.strerror}{file}: mend that and start the same command to go on"
        if isinstance(cause, OSError) and cause.errno in LIMITS:
            limit = f"{cause.strerror}: {LIMITS[cause.errno]}, and start the same command again"
            return "incomplete", INCOMPLETE, limit
        if isinstance(cause, RuntimeError) and str(cause).startswith(("DataLoader worker", "DataLoader timed out")):
            lost = "a data-loading process was killed (memory?), or has waited for a file for too long"
            return "incomplete", INCOMPLETE, f"{lost}: start the same command with dataset.num_workers=0, which goes on"
        cause = cause.__cause__ or cause.__context__
    if _is_of_hydra(error):
        return "error", WRONG_INPUT, _of_the_configuration(error, typed)
    if isinstance(error, RuntimeError) and _raised_in(error, "submitit"):
        return "error", WRONG_INPUT, f"hydra/launcher: {error} On one machine say hydra/launcher=joblib, or none"
    text = f"{type(error).__name__}: {str(error)[:300]}; the traceback is in {_kept(error, typed)}"
    return "unexpected", UNEXPECTED, text


def _is_of_hydra(error: Exception) -> bool:
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    checks_what_was_typed = ("hydra", "omegaconf", "antlr4")
    ended_hydra = isinstance(error, HydraException | OmegaConfBaseException) or _raised_in(
        error, *checks_what_was_typed
    )
    return ended_hydra or _COMPOSING in _modules(error)


_COMPOSING = "hydra._internal.config_loader_impl"
"""The module of Hydra's that all composing goes through."""


def _of_the_configuration(error: Exception, typed: Sequence[str]) -> str:
    from yaml import YAMLError

    from relsplit.bench.configuration.misspelt import explained
    from relsplit.bench.configuration.unreadable import unreadable_file

    of_a_file = isinstance(error, YAMLError | UnicodeDecodeError | RecursionError) or not str(error)
    if of_a_file and (found := unreadable_file()) is not None:
        return found
    if isinstance(error, RecursionError):
        return f"configuration files name one another in a circle (typed: {' '.join(typed)})"
    text = explained(str(error or error.__cause__).split("Config search path")[0], typed)
    hint = "; quote what has brackets or commas: 'key=[a,b]'" if "override" in text and "[" in text else ""
    keys = [argument.partition("=")[0].lstrip("+~") for argument in typed]
    if not any(key and key in text for key in keys):  # Hydra does not always say which
        hint += f" (typed: {' '.join(typed)})"
    return text.strip() + hint


def _raised_in(error: Exception, *packages: str) -> bool:
    """Say whether an error comes out of one of these packages."""
    return any(module.partition(".")[0] in packages for module in _modules(error)[-1:])


def _modules(error: Exception) -> list[str]:
    """The names of the modules that an error came through, that which raised it last."""
    return [str(frame.f_globals.get("__name__")) for frame, _ in traceback.walk_tb(error.__traceback__)]


def _kept(error: Exception, typed: Sequence[str]) -> str:
    """Write the traceback to a file; return its path."""
    from relsplit.bench.configuration.identity import command_without_secrets

    text = "".join(traceback.format_exception(error))
    try:
        with tempfile.NamedTemporaryFile("w", prefix="relsplit-", suffix=".txt", delete=False) as file:
            file.write(f"{' '.join(command_without_secrets(typed))}\n{text}")
            return file.name
    except OSError:
        print(text, file=sys.stderr)
        return "the lines above"
