"""Signals, volumes, tables and tokens laid out as images: what takes pixels away takes their places away, too."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from relsplit.baseline import BaselineImage
from relsplit.checks import real_maps
from relsplit.errors import InputError
from relsplit.networks.inputs import checked_inputs
from relsplit.networks.looked_up import LookUp, LookUps

_DIGIT = 256
"""Up to here every floating point type tells whole numbers apart."""


@dataclass(frozen=True)
class Laid:
    """A network, inputs and maps as of images.

    Attributes:
        model: takes images.
        images: (N, C, H, W).
        maps: (N, H, W) each.
        baseline: the baseline of the images, (1, C, 1, 1) or (N, C, H, W).
        content: of the images, (N, ...): what tells one sample from another, wherever in the batch it is.
    """

    model: nn.Module
    images: Tensor
    maps: list[Tensor]
    baseline: Callable[[BaselineImage], Tensor]
    content: Tensor


def laid_out(
    model: nn.Module,
    inputs: Tensor,
    maps: Sequence[Tensor],
    forward_kwargs: "Mapping[str, Any] | None" = None,
    in_patches: bool = False,
) -> Laid:
    """Return a network, inputs and maps as of images; those of images are left as they are.

    A signal (N, C, L), a table (N, F) and tokens (N, T) are a row, a volume (N, C, D, H, W) has its slices below each
    other.

    Args:
        model: of the inputs.
        inputs: that are taken away place by place.
        maps: (N, ...) with the places alone. A sequence (N, T, D), whose maps are (N, T), is told by them.
        forward_kwargs: what the network gets besides. Tensors with an entry for each sample belong to these; anything
            else is handed on as it is.
        in_patches: whether blocks of neighbours are taken at once, which is of images alone.

    Raises:
        InputError: several inputs, maps of another shape, patches of anything but images, or as many channels as
            places.
    """
    if isinstance(inputs, Tensor) and inputs.dim() == 4 and not forward_kwargs:
        return Laid(model, inputs, list(maps), lambda baseline: baseline.of(inputs), inputs)
    given = checked_inputs(inputs, forward_kwargs)
    given.check_values()
    if not given.is_single:
        raise InputError(f"a metric takes places of one input away; given are {given}: hand others on, forward_kwargs=")
    if in_patches and inputs.dim() != 4:
        raise InputError(f"patches are of images (N, C, H, W), not of inputs {tuple(inputs.shape)}: set patch=1")
    (tensor,) = given.tensors
    found = [real_maps(each) for each in maps]
    further = _Further(given.forward_kwargs, len(tensor))
    if not tensor.is_floating_point():
        _check_maps(found, tensor, tensor.shape)
        return _tokens(model, tensor, found, further)
    in_rows = tensor.dim() == 3 and all(tuple(each.shape) == tuple(tensor.shape[:2]) for each in found)
    if in_rows and tensor.shape[1] == tensor.shape[2] > 1:
        raise InputError(
            f"inputs {tuple(tensor.shape)} may be signals (N, C, L) or sequences (N, T, D), whose maps have one shape: "
            "hand them in as images (N, C, 1, L) with maps (N, 1, L), and a network that takes these"
        )
    in_rows = in_rows and tensor.shape[1] != tensor.shape[2]
    values = tensor.transpose(1, 2) if in_rows else tensor.unsqueeze(1) if tensor.dim() == 2 else tensor
    _check_maps(found, tensor, torch.Size((len(values), *values.shape[2:])))
    return _values(_Arrangement(tensor, values, in_rows), model, found, further)


def _check_maps(maps: Sequence[Tensor], inputs: Tensor, expected: torch.Size) -> None:
    for each in maps:
        if each.shape != expected:
            raise InputError(
                f"maps have shape {tuple(each.shape)} but the inputs {tuple(inputs.shape)} need {tuple(expected)}"
            )


class _Further:
    """Further arguments of a network. Beside the inputs lie channels with the number of the sample that they are of."""

    def __init__(self, forward_kwargs: Mapping[str, Any], count: int) -> None:
        self.of_samples = {
            name: value
            for name, value in forward_kwargs.items()
            if isinstance(value, Tensor) and value.dim() and len(value) == count
        }
        self.shared = {name: value for name, value in forward_kwargs.items() if name not in self.of_samples}

    def channels(self, like: Tensor) -> list[Tensor]:
        """Return the channels (N, 1, H, W) beside the channels ``like`` them; none where nothing is of samples."""
        number = torch.arange(len(like), device=like.device)
        digits = (number // _DIGIT, number % _DIGIT) if self.of_samples else ()
        return [each.to(like).view(-1, 1, 1, 1).expand(-1, 1, *like.shape[2:]) for each in digits]

    def of_items(self, channels: Tensor) -> dict[str, Any]:
        """Return the arguments of masked images, whose last channels are these."""
        if not self.of_samples:
            return dict(self.shared)
        high, low = channels[:, :, 0, 0].round().long().unbind(1)
        number = high * _DIGIT + low
        return {**self.shared, **{name: value[number.to(value.device)] for name, value in self.of_samples.items()}}


@dataclass(frozen=True)
class _Arrangement:
    """How values lie in an image.

    Attributes:
        given: the input of the network.
        values: the same with the channels second.
        in_rows: whether the network has them last, (N, T, D).
    """

    given: Tensor
    values: Tensor
    in_rows: bool

    def image(self, values: Tensor) -> Tensor:
        """Return values (N, C, ...) as images (N, C, H, W); one colour (1, C, 1, ...) as (1, C, 1, 1)."""
        if values[0, 0].numel() == 1 and self.values[0, 0].numel() > 1:
            return values.reshape(*values.shape[:2], 1, 1)
        return values.reshape(*values.shape[:2], -1, values.shape[-1])

    def back(self, images: Tensor) -> Tensor:
        """Return images as the network takes them."""
        values = images.reshape(len(images), *self.values.shape[1:])
        return values.transpose(1, 2) if self.in_rows else values.reshape(len(images), *self.given.shape[1:])


def _values(arrangement: _Arrangement, model: nn.Module, maps: list[Tensor], further: _Further) -> Laid:
    images = arrangement.image(arrangement.values)
    beside = further.channels(images)

    def baseline(of: BaselineImage) -> Tensor:
        found = arrangement.image(of.of(arrangement.values))
        return torch.cat([found.expand_as(images), *beside], 1) if beside else found

    network = _LaidOut(model, arrangement, further, images.shape[1])
    rows = [each.reshape(len(images), *images.shape[2:]) for each in maps]
    return Laid(network, torch.cat([images, *beside], 1), rows, baseline, images)


class _LaidOut(nn.Module):
    """A network of signals, volumes or tables that takes them as images."""

    def __init__(self, model: nn.Module, arrangement: _Arrangement, further: _Further, channels: int) -> None:
        super().__init__()
        self.model = model
        self.training = False
        self._arrangement = arrangement
        self._further = further
        self._channels = channels

    def forward(self, images: Tensor) -> Any:
        """Return what the network answers."""
        values, beside = images[:, : self._channels], images[:, self._channels :]
        return self.model(self._arrangement.back(values), **self._further.of_items(beside))


def _tokens(model: nn.Module, tokens: Tensor, maps: list[Tensor], further: _Further) -> Laid:
    """Tokens are images of one row: the first channel holds a token, the second which baseline takes its place, or 0.

    So a network gets the tokens as they are even where they are taken away, and finds padding and ends by them.
    """
    codes = tokens.double()[:, None, None]
    beside = further.channels(codes)
    baselines: list[BaselineImage] = []

    def baseline(of: BaselineImage) -> Tensor:
        baselines.append(of)
        return torch.cat([codes, torch.full_like(codes, len(baselines)), *beside], 1)

    network = _OfTokens(model, baselines, further)
    content = torch.cat([codes, torch.zeros_like(codes)], 1)
    return Laid(network, torch.cat([content, *beside], 1), [each[:, None] for each in maps], baseline, content)


class _OfTokens(nn.Module):
    """A network of tokens that takes images as :func:`_tokens` makes them."""

    def __init__(self, model: nn.Module, baselines: list[BaselineImage], further: _Further) -> None:
        super().__init__()
        self.model = model
        self.training = False
        self._baselines = baselines
        self._further = further

    def forward(self, images: Tensor) -> Any:
        """Return what the network answers."""
        tokens, which = images[:, 0, 0].round().long(), images[:, 1, 0].round().long()
        hidden = [(which == number + 1, each) for number, each in enumerate(self._baselines)]
        for places, each in hidden:
            if each.token is not None:
                tokens = torch.where(places, each.token, tokens)
        by_vector = [(places, each) for places, each in hidden if each.token is None and bool(places.any())]

        def replaced(seen: LookUp) -> Tensor:
            vectors = seen.vectors
            for places, each in by_vector:
                instead = each.of_vectors(seen.vectors, seen.table)
                vectors = torch.where(places[:, :, None], instead, vectors)
            return vectors

        try:
            with LookUps([tokens], replaced) as seen:
                output = self.model(tokens, **self._further.of_items(images[:, 2:]))
        except IndexError as error:
            ids = [each.token for each in self._baselines if each.token is not None]
            raise InputError(
                f"inputs: the network does not know a token of {tuple(tokens.shape)} or the baseline {ids}: {error}"
            ) from error
        if by_vector and not seen.found:
            raise InputError(
                f"inputs: integers {tuple(tokens.shape)} pass no nn.Embedding on their way: choose a token as baseline "
                "to take their place, or hand in floating point values"
            )
        return output
