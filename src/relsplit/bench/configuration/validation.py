"""A part of the configuration as the model of it; what does not fit is one line with its key, and what is allowed."""

import inspect
import math
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ValidationError

from relsplit.errors import InputError
from relsplit.options import shown, words
from relsplit.spelling import did_you_mean

Part = TypeVar("Part", bound=BaseModel)


def validated(kind: type[Part], content: Mapping[str, Any], where: str = "") -> Part:
    """Return a part of the configuration as what it is.

    Args:
        kind: the model of the part.
        content: plain containers.
        where: prefix of the keys in the error ("task.").

    Raises:
        InputError: a key does not exist, is missing, or has a value that cannot be used; the first one is named.
    """
    check_finite(content, where.removesuffix("."))
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise InputError(where + _in_words(kind, content, error)) from None


def check_finite(content: Any, where: str) -> None:
    """Check that no number is NaN or infinite: none is of use, though not everything that takes one refuses it.

    Raises:
        InputError: one is.
    """
    if isinstance(content, Mapping):
        for key, value in content.items():
            check_finite(value, f"{where}.{key}" if where else str(key))
    elif isinstance(content, list):
        for index, value in enumerate(content):
            check_finite(value, f"{where}[{index}]")
    elif isinstance(content, float) and not math.isfinite(content):
        raise InputError(f"{where} must be a finite number, not {content}")


def _in_words(kind: type[BaseModel], content: Mapping[str, Any], error: ValidationError) -> str:
    errors = error.errors()
    # Of several things that a value may be, the one that it comes closest to.
    alike = [each for each in errors if each["loc"][:1] == errors[0]["loc"][:1]]
    found = max(alike, key=lambda each: len(each["loc"]))
    if isinstance(said := found.get("ctx", {}).get("error"), InputError):  # by a validator of a model's own
        return str(said)
    key, annotation, value = _place(kind, found["loc"], content)
    if found["type"] in ("union_tag_invalid", "union_tag_not_found"):
        tags = ", ".join(tag for each in typing.get_args(annotation) for tag in _tags(each))
        return f"{key}._target_ must be one of {tags}, not {value.get('_target_')!r}"
    if found["type"] == "extra_forbidden":
        fields = [field.alias or name for name, field in annotation.model_fields.items()]
        names = [name for name in fields if name != "_target_"]  # which says what kind it is, and is no setting
        hint = did_you_mean(key.rpartition(".")[2], names)
        return f"{key} is no setting; there are {', '.join(names) or 'none'}{hint}"
    if found["type"] == "missing":
        return f"{key} is missing"
    return f"{key} must be {_words(annotation)}, not {shown(value)}"


def _place(kind: Any, location: tuple[int | str, ...], content: Any) -> tuple[str, Any, Any]:
    """Key, annotation and value of what an error is about; pydantic's names for members of unions are left out."""
    key = ""
    for step in location:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            if step in (kind.__name__, *_tags(kind)):
                continue
            fields = {field.alias or name: field for name, field in kind.model_fields.items()}
            key += f".{step}" if key else str(step)
            if step not in fields:  # another key than its own
                return key, kind, content.get(step) if isinstance(content, Mapping) else content
            field = fields[str(step)]
            parts = (field.annotation, *field.metadata)
            kind = typing.cast(Any, Annotated)[parts] if field.metadata else field.annotation
            content = content.get(step) if isinstance(content, Mapping) else content
            kind = _member(kind, content) if step != location[-1] else kind
        elif _is_list(content) and isinstance(step, int):
            key, content = f"{key}[{step}]", content[step]
            kind = _item_of(kind)
        elif isinstance(content, Mapping) and step in content and typing.get_origin(_bare(kind)) is dict:
            key, content = f"{key}.{step}", content[step]
            kind = typing.get_args(_bare(kind))[1]
    return key, kind, content


def _is_list(content: Any) -> bool:
    return isinstance(content, Sequence) and not isinstance(content, str)


def _bare(kind: Any) -> Any:
    return typing.get_args(kind)[0] if typing.get_origin(kind) is Annotated else kind


def _item_of(kind: Any) -> Any:
    """Of ``Sequence[Item]``, alone or in a union, the item."""
    members = (_bare(kind), *typing.get_args(_bare(kind)))
    sequences = [each for each in members if typing.get_origin(each) in (Sequence, list)]
    return typing.get_args(sequences[0])[0]


def _member(kind: Any, content: Any) -> Any:
    """Of a union with models the one that a mapping is, by its ``_target_`` where that tells them apart."""
    union = _bare(kind)
    if not isinstance(content, Mapping) or typing.get_origin(union) not in (typing.Union, types.UnionType):
        return kind
    models = [each for each in typing.get_args(union) if inspect.isclass(each) and issubclass(each, BaseModel)]
    told = [each for each in models if content.get("_target_") in _tags(each)]
    return (told or models or [kind])[0]


def _tags(kind: Any) -> tuple[Any, ...]:
    """What ``_target_`` may be where a model says it."""
    if not (inspect.isclass(kind) and issubclass(kind, BaseModel)):
        return ()
    annotations = [field.annotation for field in kind.model_fields.values() if field.alias == "_target_"]
    return typing.get_args(annotations[0]) if annotations else ()


def _words(annotation: Any) -> str:
    if not (inspect.isclass(annotation) and issubclass(annotation, BaseModel)):
        return words(annotation)
    names_code = any(field.alias == "_target_" for field in annotation.model_fields.values())
    return "a mapping with _target_" if names_code else "a group of settings"
