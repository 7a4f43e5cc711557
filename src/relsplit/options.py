"""Option values against the annotations of what takes them, before anything is done with them.

An annotation says what a value may be: ``int`` is a whole number, ``float`` any finite number, ``Literal`` one of its
values, ``Annotated[float, Limits(above=0)]`` a number in a range. What an annotation names beside these (tensors,
modules, protocols) is left to the function itself.
"""

import functools
import inspect
import math
import numbers
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, Union

from relsplit.errors import InputError
from relsplit.spelling import did_you_mean

Checked = TypeVar("Checked", bound=Callable[..., Any])


class Constraint:
    """What ``Annotated`` says of a value beside its type; pydantic understands it, too."""

    def hold(self, value: Any) -> bool:
        """Say whether ``value`` is allowed."""
        raise NotImplementedError(type(self).__name__)

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:
        """Let pydantic check it, where the configuration is checked with it."""
        from pydantic_core import core_schema

        return core_schema.no_info_after_validator_function(self._held, handler(source))

    def _held(self, value: Any) -> Any:
        if not self.hold(value):
            raise ValueError(str(self))
        return value


@dataclass(frozen=True)
class Limits(Constraint):
    """The range of a number, for ``Annotated[int, Limits(minimum=1)]``; the ends of ``above`` and ``below`` are out."""

    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    below: float | None = None

    def hold(self, value: float) -> bool:
        """Say whether ``value`` lies in the range."""
        return (
            (self.minimum is None or value >= self.minimum)
            and (self.maximum is None or value <= self.maximum)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        ends = (("of at least", self.minimum), ("above", self.above), ("at most", self.maximum), ("below", self.below))
        return " and ".join(f"{word} {end:,}" for word, end in ends if end is not None)


@dataclass(frozen=True)
class Length(Constraint):
    """How many values a sequence has, for ``Annotated[Sequence[float], Length(3)]``."""

    count: int

    def hold(self, value: Sequence[Any]) -> bool:
        """Say whether ``value`` has so many."""
        return len(value) == self.count

    def __str__(self) -> str:
        return f"of {self.count}"


@dataclass(frozen=True)
class Matching(Constraint):
    """Text of a form, for ``Annotated[str, Matching(r"[a-z]+", "of small letters")]``."""

    pattern: str
    words: str

    def hold(self, value: str) -> bool:
        """Say whether all of ``value`` is of the form."""
        return re.fullmatch(self.pattern, value) is not None

    def __str__(self) -> str:
        return self.words


Count = Annotated[int, Limits(minimum=1)]
"""A whole number of at least 1."""
Positive = Annotated[float, Limits(above=0)]
"""A finite number above 0."""
Share = Annotated[float, Limits(minimum=0, maximum=1)]
"""A number from 0 to 1."""
Seed = Annotated[int, Limits(minimum=0, below=2**63)]
"""What random numbers are drawn from."""


def checked_options(function: Checked) -> Checked:
    """Decorate a class or function: its arguments are checked against its annotations whenever it is called.

    Raises:
        InputError: (when called) an argument has a value that its annotation does not allow; the message names it.
    """
    if isinstance(function, type):
        setattr(function, "__init__", _checking(_constructor(function), skip=1))  # noqa: B010 (for type checkers)
        return typing.cast(Checked, function)
    return typing.cast(Checked, _checking(function, skip=0))


def check_options(function: Callable[..., Any], options: Mapping[str, Any], where: str = "") -> None:
    """Check arguments that a class or function will be called with by keyword.

    Args:
        function: a class or function.
        options: by name; those that will be added at the call may be missing.
        where: prefix of the names in the error ("explainer.").

    Raises:
        InputError: a name that the function does not take, or a value that its annotation does not allow.
    """
    called = _constructor(function) if isinstance(function, type) else function
    try:
        parameters = inspect.signature(function).parameters
    except ValueError:  # a builtin that does not say what it takes
        return
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        for name in options:
            if name not in parameters:
                known = ", ".join(parameters) or "no options"
                hint = did_you_mean(name, parameters)
                raise InputError(f"{where}{name} is no option of {function.__name__}: it takes {known}{hint}")
    annotations = _annotations(called)
    for name, value in options.items():
        if name in annotations:
            check_value(f"{where}{name}", value, annotations[name])


def check_value(name: str, value: object, annotation: Any) -> None:
    """Check one value.

    Args:
        name: what it is called in the error.
        value: any value.
        annotation: what it may be.

    Raises:
        InputError: the annotation does not allow it.
    """
    if not _allows(annotation, value):
        raise InputError(f"{name} must be {words(annotation)}, not {shown(value)}")


def _constructor(kind: type) -> Callable[..., Any]:
    return typing.cast(Callable[..., Any], getattr(kind, "__init__"))  # noqa: B009 (for type checkers)


def shown(value: object) -> str:
    """Return a value as one would type it, cut short where it is long."""
    names: dict[Any, str] = {None: "null", True: "true", False: "false"}
    text = names[value] if value is None or isinstance(value, bool) else repr(value)
    return text if len(text) <= 100 else f"{text[:100]}..."


def _checking(function: Callable[..., Any], skip: int) -> Callable[..., Any]:
    signature = inspect.signature(function)
    names = list(signature.parameters)[skip:]

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        annotations = _annotations(function)
        for name, value in (*zip(names, args[skip:], strict=False), *kwargs.items()):
            if name in annotations:
                check_value(name, value, annotations[name])
        return function(*args, **kwargs)

    return call


@functools.cache
def _annotations(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        found = typing.get_type_hints(function, include_extras=True)
    except (NameError, TypeError):  # names that only type checkers see
        return {}
    return {name: annotation for name, annotation in found.items() if name != "return"}


def _allows(annotation: Any, value: object) -> bool:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        constraints = [each for each in arguments[1:] if isinstance(each, Constraint)]
        return _allows(arguments[0], value) and all(each.hold(value) for each in constraints)
    if origin in (Union, types.UnionType):
        return any(_allows(each, value) for each in arguments)
    if origin is Literal:
        return any(type(value) is type(each) and value == each for each in arguments)
    if annotation is None or annotation is type(None):
        return value is None
    if annotation is bool:
        return isinstance(value, bool)
    if annotation is int:
        return isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if annotation is float:
        return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)
    if annotation is str:
        return isinstance(value, str)
    if origin is Callable:  # a configuration may say how it is made
        return callable(value) or isinstance(value, Mapping)
    if origin in (Sequence, list):
        return (
            isinstance(value, Sequence) and not isinstance(value, str) and all(_allows(arguments[0], v) for v in value)
        )
    if origin is tuple and Ellipsis not in arguments:
        return (
            isinstance(value, Sequence)
            and len(value) == len(arguments)
            and all(_allows(each, v) for each, v in zip(arguments, value, strict=True))
        )
    return True  # what the function itself understands


def words(annotation: Any) -> str:
    """Say what an annotation allows: "a whole number of at least 1 or null"."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        length = next((each for each in arguments[1:] if isinstance(each, Length)), None)
        if length is not None:
            return f"a list {length} values, each {words(typing.get_args(arguments[0])[0])}"
        return " ".join([words(arguments[0]), *(str(each) for each in arguments[1:] if isinstance(each, Constraint))])
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(words(each) for each in arguments))
    if origin is Literal:
        return f"one of {', '.join(map(str, arguments))}" if len(arguments) > 1 else repr(arguments[0])
    if origin in (Sequence, list):
        return f"a list of values, each {words(arguments[0])}"
    if annotation is Any:
        return "anything"
    if origin is Callable:
        return "a function"
    if origin is dict or annotation is dict:
        return "a mapping"
    if origin is tuple:
        return f"{len(arguments)} values, each of them {words(arguments[0])}"
    names: dict[Any, str] = {
        bool: "true or false", int: "a whole number", float: "a finite number", str: "text", type(None): "null",
    }  # fmt: skip
    return names.get(annotation, getattr(annotation, "__name__", str(annotation)))
