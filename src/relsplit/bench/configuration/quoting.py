"""What was typed, as Hydra wants it: file names and layers that its grammar would not understand are quoted."""

import re

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

_CLEAR = re.compile(r"[\w.@/+~-]+=[\w./-]*", re.ASCII)
"""What Hydra understands for sure; asking its parser takes a millisecond."""
_LAYER = re.compile(r"[A-Za-z_][\w.]*(?:\[-?\d+\][\w.]*)+")
_TEXT = re.compile(r"(?!')[^\[\]{},\"]+")
"""What can only be meant as text: no list, mapping, sweep or quotation."""


def quoted(argument: str) -> str:
    """Quote a value, or values of a list, like ``layer4[-1]``, ``epoch=3.ckpt`` or ``Vögel (1).jpg``.

    What Hydra understands, and what may be meant otherwise, is left as it is.

    Args:
        argument: as the shell hands it on ("task.images=[Vögel.jpg]").
    """
    key, equals, value = argument.partition("=")
    if not equals or _CLEAR.fullmatch(argument) or _is_understood(argument):
        return argument
    if value.startswith("[") and value.endswith("]"):
        items = value[1:-1].split(",")
        as_meant = f"{key}=[{','.join(_as_text(item) for item in items)}]"
    else:
        as_meant = f"{key}={_as_text(value)}"
    return as_meant if _is_understood(as_meant) else argument


def _as_text(value: str) -> str:
    is_text = _LAYER.fullmatch(value) or (_TEXT.fullmatch(value) and not _is_understood(f"key={value}"))
    return f'"{value}"' if is_text else value


def _is_understood(argument: str) -> bool:
    try:
        OverridesParser.create().parse_override(argument)
    except HydraException:
        return False
    return True
