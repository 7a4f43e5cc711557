"""Which of the user's own configuration files cannot be read, and why: Hydra often does not say so."""

from pathlib import Path

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import MarkedYAMLError, YAMLError

from relsplit.bench.configuration.search_path import own


def unreadable_file() -> str | None:
    """Return what is wrong with the first file of ``./conf`` that cannot be read alone, None where all can."""
    mine = own()
    if mine is None:
        return None
    for file in sorted(mine.rglob("*.yaml")):
        if file.is_file() and (wrong := _wrong_with(file)) is not None:
            return f"{Path('conf', file.relative_to(mine))}{wrong}"
    return None


def _wrong_with(file: Path) -> str | None:
    try:
        OmegaConf.load(file)
    except MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark is not None else ""
        return f"{line}: {error.problem}"
    except RecursionError:
        return ": it refers to itself"
    except (YAMLError, UnicodeDecodeError, OmegaConfBaseException, OSError) as error:
        return f" cannot be read: {error}"
    return None
