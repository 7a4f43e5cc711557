"""What was typed for this run, and the configurations that ``task.explainers`` makes of it."""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import OmegaConf

from relsplit.bench.configuration.composition import composed
from relsplit.bench.configuration.identity import command_without_secrets
from relsplit.bench.configuration.settings import Evaluate, Explain, Settings
from relsplit.errors import InputError

_OWN = ("explainer", "map", "split", "output_dir")
"""What explainers that are evaluated together may have each for itself."""


def typed_texts() -> list[str]:
    """Return the overrides that started this run as they were typed: ``${oc.env:X}`` is not what X holds."""
    texts: list[str] = OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)  # type: ignore[assignment]
    return texts


def typed_command() -> str | None:
    """Return the command that started this run, of a sweep this point's alone; None for a call from Python."""
    if not HydraConfig.initialized():
        return None
    return shlex.join(["relsplit", *command_without_secrets(typed_texts())])


def each_explainer(settings: Settings) -> list[Settings]:
    """Return the configurations that ``explainer=NAME`` would give for each name of ``task.explainers``.

    Everything else that was typed holds for all of them; the options behind a name (``ours split=symmetric``) hold for
    it alone. With ``output_dir=DIR`` they go to ``DIR/NAME``, or ``DIR/NAME-OPTIONS``.

    Args:
        settings: of an evaluation or of maps, composed from a command line.

    Returns:
        One for each name; ``settings`` alone where ``task.explainers`` is null.

    Raises:
        InputError: an explainer cannot be composed, or the command line chooses one beside the list.
    """
    chosen = settings.task.explainers if isinstance(settings.task, Evaluate | Explain) else None
    if chosen is None:
        return [settings]
    if not HydraConfig.initialized():
        raise InputError("task.explainers is for the command line: give a function a configuration for each")
    typed = typed_texts()
    beside = next((text for text in typed if _key(text) == "explainer"), None)
    if beside is not None:
        raise InputError(f"{beside} and task.explainers both choose explainers: leave one of them out")
    typed = [text for text in typed if _key(text) != "task.explainers"]
    found = []
    for each in chosen:
        name, *options = each.split()
        try:
            config = composed([*typed, "task.explainers=null", f"explainer={name}", *options])
        except HydraException as error:
            raise InputError(f"explainer={each} of task.explainers: {error}") from error
        if config.output_dir is not None:
            config.output_dir = str(Path(config.output_dir, re.sub(r"[^\w.]+", "-", each).strip("-")))
        found.append(Settings.composed(config))
    return found


def check_together(several: Sequence[Settings]) -> None:
    """Check that evaluations differ in nothing but the explainer and its map.

    Raises:
        InputError: they differ in something else, which is named, or one of them is several evaluations itself.
    """
    if any(isinstance(each.task, Evaluate) and each.task.explainers is not None for each in several):
        raise InputError("task.explainers names several evaluations where one is wanted: give it one explainer")
    first = several[0].document()
    for other in several[1:]:
        document = other.document()
        differing = [key for key in first if key not in _OWN and first[key] != document.get(key)]
        if differing:
            raise InputError(
                f"explainer={other.explainer.name} comes with another {differing[0]} than "
                f"explainer={several[0].explainer.name}: evaluate it alone"
            )


def _key(override: str) -> str:
    return override.lstrip("+~").partition("=")[0]
