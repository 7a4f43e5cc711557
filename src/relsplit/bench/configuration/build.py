"""From a part of the configuration that names a ``_target_`` to the object."""

from collections.abc import Mapping
from typing import Any

from hydra.utils import instantiate
from omegaconf import OmegaConf

from relsplit.errors import InputError


def build(config: Mapping[str, Any], where: str, **arguments: Any) -> Any:
    """Instantiate the ``_target_`` of ``config``; an argument it does not take is the user's error.

    Raises:
        InputError: the target cannot be found or does not take these arguments.
    """
    try:
        return instantiate(OmegaConf.create(dict(config)), _convert_="all", **arguments)
    except Exception as error:
        cause: BaseException = error
        while cause.__cause__ is not None and not isinstance(cause, InputError):
            cause = cause.__cause__
        if isinstance(cause, InputError):
            raise cause from None
        if isinstance(cause, TypeError | ImportError):
            raise InputError(f"{where} cannot be built: {' '.join(str(cause).split())}") from error
        raise
