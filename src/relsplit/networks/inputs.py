"""What a network is given: what is explained, one tensor or several, and what is handed on beside it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from relsplit.checks import checked_batch
from relsplit.errors import InputError, is_of_a_signal

Given = Tensor | tuple[Tensor, ...] | Mapping[str, Tensor]
"""One input; several that a network takes by position; or several that it takes by name."""

_CPU = torch.device("cpu")
_MASK = "attention_mask"


@dataclass(frozen=True)
class Inputs:
    """What one call of a network is given.

    Attributes:
        tensors: what is explained, (N, ...) each: floating point values, or integers, which are tokens.
        names: of these, where the network takes them by name.
        is_single: whether it is one tensor, and not a tuple of one.
        forward_kwargs: what the network gets beside them; it receives no relevance.
    """

    tensors: tuple[Tensor, ...]
    names: tuple[str, ...] = ()
    is_single: bool = False
    forward_kwargs: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return N."""
        return len(self.tensors[0])

    def __str__(self) -> str:
        """Say what they are, for a message."""
        kinds = [f"{tuple(each.shape)}, {each.dtype} on {each.device}" for each in self.tensors]
        if self.is_single:
            return f"shape {kinds[0]}"
        labels = self.names or range(len(kinds))
        return "; ".join(f"{label}: {kind}" for label, kind in zip(labels, kinds, strict=True))

    def name(self, place: int) -> str:
        """Return what an error calls one of them."""
        return "inputs" if self.is_single else f"inputs[{(self.names or range(len(self.tensors)))[place]!r}]"

    def called(self, network: nn.Module) -> Any:
        """Return what a network answers."""
        if self.names:
            return network(**dict(zip(self.names, self.tensors, strict=True)), **self.forward_kwargs)
        return network(*self.tensors, **self.forward_kwargs)

    def answered(self, network: nn.Module, given: "Inputs | None" = None) -> Any:
        """Return what a network answers to copies, which it may write over.

        Args:
            network: that is run.
            given: what the user gave, if these were made of it; for the error.

        Raises:
            InputError: it does not accept them.
        """
        try:
            return self.each(Tensor.clone).called(network)
        except (InputError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # whatever the user's code raises
            if is_of_a_signal(error):
                raise
            raise (self if given is None else given).not_accepted(error) from error

    def each(self, change: Callable[[Tensor], Tensor]) -> "Inputs":
        """Return the same with every tensor changed."""
        return replace(self, tensors=tuple(change(tensor) for tensor in self.tensors))

    def repeated(self, times: int) -> "Inputs":
        """Return the same several times one after the other, along the batch.

        Of ``forward_kwargs``, tensors with an entry for each sample along their first dimension are repeated, too.
        """

        def again(value: Any) -> Any:
            if not isinstance(value, Tensor) or not value.dim() or len(value) != len(self):
                return value
            return torch.cat([value] * times)

        further = {name: again(value) for name, value in self.forward_kwargs.items()}
        return replace(self.each(again), forward_kwargs=further)

    def arranged(self, values: "list[Tensor]") -> "Tensor | tuple[Tensor, ...] | dict[str, Tensor]":
        """Return one value for each tensor as the tensors were given: alone, as a tuple, or as a dictionary."""
        if self.is_single:
            return values[0]
        return dict(zip(self.names, values, strict=True)) if self.names else tuple(values)

    def check_values(self) -> None:
        """Check what is floating point, for which an accelerator has to be waited for.

        Raises:
            InputError: NaN or infinite values.
        """
        for place, tensor in enumerate(self.tensors):
            checked_batch(tensor, self.name(place))

    def images(self, what: str) -> Tensor:
        """Return the one batch of images (N, C, H, W) that is given.

        Args:
            what: needs it, for the message.

        Raises:
            InputError: it is something else.
        """
        if not self.is_single or self.tensors[0].dim() != 4 or not self.tensors[0].is_floating_point():
            raise InputError(f"{what} is of images, one floating point tensor (N, C, H, W); given are {self}")
        return self.tensors[0]

    def not_accepted(self, error: Exception) -> InputError:
        """Return the error that the network does not accept what it is given, for which it raised another.

        It says what most likely was meant, where the shape or the type says so.
        """
        advice = ""
        first = self.tensors[0]
        shape = tuple(first.shape)
        if self.is_single and not first.is_floating_point():
            advice = " (integers are tokens; normalised images and signals are floating point)"
        elif self.is_single and first.dim() == 3:
            advice = f" (the first dimension is the batch: a single input of shape {shape} is inputs[None])"
        text = " ".join(str(error).split())[:300]
        return InputError(f"inputs: the model does not accept {self}: {text}{advice}")

    def padding(self, tensor: Tensor) -> Tensor | None:
        """Return which tokens of ``tensor`` (N, T) are no padding, by a mask of their shape; None: no mask says."""
        mask = self.forward_kwargs.get(_MASK)
        if isinstance(mask, Tensor) and not tensor.is_floating_point() and mask.shape == tensor.shape:
            return mask != 0
        return None


def as_inputs(given: "Tensor | Inputs") -> Inputs:
    """Return what is given as :class:`Inputs`; a tensor has been checked."""
    return given if isinstance(given, Inputs) else Inputs((given,), is_single=True)


def checked_inputs(given: object, forward_kwargs: "Mapping[str, Any] | None" = None, in_graph: bool = False) -> Inputs:
    """Return what a network is given, if it can be explained.

    What lies on an accelerator is not looked at: it would have to be waited for.

    Args:
        given: a tensor (N, ...), a tuple of such, or a mapping of such by the names of the network's arguments.
        forward_kwargs: further arguments of the network, by name.
        in_graph: whether it stays part of autograd's graph; else it is detached.

    Raises:
        InputError: no tensors, of different batch sizes, neither floating point nor integers, empty, of rank 1 (images
            of rank other than 4 are no error here), or with NaN or infinite values; arguments that are given twice; an
            attention mask of another shape than the tokens.
    """
    if forward_kwargs is not None and not isinstance(forward_kwargs, Mapping):
        raise InputError(
            f"forward_kwargs: expected the network's further arguments by name, not {type(forward_kwargs).__name__}"
        )
    names: tuple[str, ...] = ()
    if isinstance(given, Tensor):
        values: tuple[Any, ...] = (given,)
    elif isinstance(given, Mapping):
        names, values = tuple(map(str, given)), tuple(given.values())
    elif isinstance(given, tuple):
        values = given
    else:
        raise InputError(
            f"inputs: expected a tensor with the batch first, a tuple or a dictionary of such, not "
            f"{type(given).__name__}"
        )
    if not values:
        raise InputError(f"inputs: the {type(given).__name__} is empty")
    inputs = Inputs(values, names, isinstance(given, Tensor), dict(forward_kwargs or {}))
    checked = [
        checked_batch(value, inputs.name(place), look_at_values=getattr(value, "device", _CPU) == _CPU)
        for place, value in enumerate(values)
    ]
    if not in_graph:
        inputs = replace(inputs, tensors=tuple(checked))
    counts = [len(tensor) for tensor in checked]
    if len(set(counts)) > 1:
        found = ", ".join(f"{inputs.name(place)} has {count}" for place, count in enumerate(counts))
        raise InputError(f"inputs: the first dimension of all is the batch, but {found}")
    for name in names:
        if name in inputs.forward_kwargs:
            raise InputError(f"forward_kwargs: {name!r} is one of the inputs already")
    _check_mask(inputs)
    return inputs


def _check_mask(inputs: Inputs) -> None:
    mask = inputs.forward_kwargs.get(_MASK)
    tokens = [tensor for tensor in inputs.tensors if not tensor.is_floating_point()]
    if not isinstance(mask, Tensor) or mask.dim() != 2 or len(tokens) != 1 or tokens[0].dim() != 2:
        return
    if mask.shape != tokens[0].shape:
        raise InputError(
            f"forward_kwargs: {_MASK} has shape {tuple(mask.shape)}, but the tokens {tuple(tokens[0].shape)}"
        )
