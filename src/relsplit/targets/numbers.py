"""What a target is made with, checked before any output is there."""

from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor

from relsplit.checks import as_tensor
from relsplit.errors import InputError


def check_whole(option: str, value: Any) -> None:
    """Check a number of an entry, or one for each sample: a tensor, an array, or a list.

    Raises:
        InputError: it is something else.
    """
    if not is_whole(value):
        raise InputError(f"target: {option} takes whole numbers, not {value!r}".replace("\n", " "))


def check_place(option: str, value: Any) -> None:
    """Check the indices of one entry, such as (row, column).

    Raises:
        InputError: it is something else.
    """
    if not isinstance(value, (tuple, list)) or not all(is_whole(each) for each in value):
        raise InputError(f"target: {option} takes one whole number for each dimension, such as (0, 3), not {value!r}")


def check_index(option: str, value: Any) -> None:
    """Check the number of a class, which is counted from 0.

    Raises:
        InputError: it is something else.
    """
    number = as_tensor(value)
    if not is_whole(number) or not (isinstance(number, Integral) or number.dim() == 0) or number < 0:
        raise InputError(f"target: {option} takes a whole number of at least 0, not {value!r}".replace("\n", " "))


def check_tensor(option: str, value: Any) -> None:
    """Check values that are to be a tensor, or an array.

    Raises:
        InputError: it is something else.
    """
    if not isinstance(as_tensor(value), Tensor):
        raise InputError(f"target: {option} must be a tensor or an array, not {type(value).__name__}")


def is_real(value: Any) -> bool:
    """Say whether a value is one real number."""
    number = as_tensor(value)
    if isinstance(number, Tensor):
        return number.dim() == 0 and not number.is_complex()
    return isinstance(number, Real)


def is_whole(value: Any) -> bool:
    """Say whether a value is a whole number, or holds nothing else."""
    number = as_tensor(value)
    if isinstance(number, Tensor):
        return not (number.is_floating_point() or number.is_complex() or number.dtype == torch.bool)
    if isinstance(number, (tuple, list)):
        return all(is_whole(each) for each in number)
    return isinstance(number, Integral) and not isinstance(number, bool)
