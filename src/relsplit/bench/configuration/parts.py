"""What the configuration consists of: groups of settings, and parts that name code."""

import typing
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from hydra.errors import HydraException
from hydra.utils import get_object, instantiate
from omegaconf import OmegaConf
from pydantic import BaseModel, ConfigDict, Field

from relsplit.bench.configuration.extras import extra_of, how_to_install
from relsplit.bench.configuration.validation import validated
from relsplit.errors import InputError
from relsplit.options import check_options

_NO_ARGUMENTS = ("_partial_", "_convert_", "_recursive_")
"""Keys beside ``_target_`` that tell Hydra how to call."""


class Group(BaseModel):
    """A part of the configuration, which never changes; other keys than its own are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False, populate_by_name=False)


class OpenGroup(Group):
    """A part of the configuration whose further keys are arguments of something else."""

    model_config = ConfigDict(extra="allow")

    @property
    def arguments(self) -> Mapping[str, Any]:
        """The further keys, read-only."""
        return MappingProxyType(self.model_extra or {})


class Named(OpenGroup):
    """A part that names a class or function (``_target_``); its further keys are the arguments of the call."""

    import_path: str = Field(alias="_target_")

    def check(self, where: str) -> None:
        """Import what is named, and check the arguments of it and of what they name themselves.

        Args:
            where: key of the part ("map").

        Raises:
            InputError: it cannot be imported, does not take an argument, or its annotation does not allow it. What is
                added at the call may be missing.
        """
        function = imported(self.import_path, f"{where}._target_")
        arguments = {key: value for key, value in self.arguments.items() if key not in _NO_ARGUMENTS}
        for key, value in list(arguments.items()):
            if isinstance(value, Mapping) and "_target_" in value:
                validated(Named, value, f"{where}.{key}.").check(f"{where}.{key}")
                del arguments[key]
        check_options(function, arguments, f"{where}.")

    def build(self, where: str, **more: Any) -> Any:
        """Call what is named; an argument that it does not take is the user's error.

        Args:
            where: key of the part.
            more: further arguments, or others than the configuration's.

        Raises:
            InputError: it cannot be found, does not take these arguments, or refuses one itself.
        """
        try:
            named = OmegaConf.create({"_target_": self.import_path, **self.arguments})
            return instantiate(named, _convert_="all", **more)
        except Exception as error:
            cause: BaseException = error
            while cause.__cause__ is not None and not isinstance(cause, InputError):
                cause = cause.__cause__
            if isinstance(cause, InputError):
                raise cause from None
            if isinstance(cause, TypeError | ImportError):
                raise InputError(
                    f"{where}._target_={self.import_path}: cannot be built ({' '.join(str(cause).split())}); check the "
                    f"import path and the {where}.* arguments"
                ) from error
            raise


def imported(import_path: str, where: str) -> Callable[..., Any]:
    """Return the class or function of an import path.

    Raises:
        InputError: it cannot be imported, or is neither.
    """
    try:
        found = get_object(import_path)
    except (HydraException, ImportError, ValueError, AttributeError) as error:
        if isinstance(error.__cause__, InputError):
            raise InputError(f"{where}={import_path}: {error.__cause__}") from error
        missing = error.__cause__ if isinstance(error.__cause__, ModuleNotFoundError) else error
        extra = extra_of(missing.name) if isinstance(missing, ModuleNotFoundError) else None
        hint = f"; it comes with {how_to_install(extra)}" if extra else ""
        reason = " ".join(str(error).split())
        raise InputError(f"{where}={import_path}: cannot be imported ({reason}){hint}") from error
    if not callable(found):
        raise InputError(f"{where}={import_path} is a {type(found).__name__}, no class or function")
    return typing.cast(Callable[..., Any], found)
