"""The network that an explainer works on: not the user's own, but a copy that shares its tensors."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import chain

import torch
from torch import Tensor, nn

from reslrp.errors import InputError


def shared_copy(model: nn.Module, keep_in_place: bool = False) -> nn.Module:
    """Copy of the module tree, in eval mode, on the tensors of ``model``; activations are not in place by default.

    Hooks, attributes and modes set on the copy do not reach ``model``, and neither do gradients: the copy's parameters
    are aliases that require none. No weight is copied, and weights changed in place are seen.
    """
    # .data instead of detach(): autograd's version counters stay apart, too.
    memo: dict[int, object] = {id(p): nn.Parameter(p.data, requires_grad=False) for p in model.parameters()}
    memo |= {id(b): b.data for b in model.buffers()}
    network = copy.deepcopy(model, memo).eval()
    for module in network.modules():
        if getattr(module, "inplace", False) is True and not keep_in_place:
            setattr(module, "inplace", False)  # noqa: B010 (the attribute is not nn.Module's)
    return network


class SharedNetwork:
    """Hands out the copy of a network together with checked images and targets.

    Args:
        model: the user's network, (N, 3, H, W) to logits (N, classes).
        rewrite: what else the explainer needs to have changed in the copy.

    Raises:
        InputError: ``rewrite`` cannot deal with the network.
    """

    def __init__(self, model: nn.Module, rewrite: Callable[[nn.Module], nn.Module] | None = None) -> None:
        self._model = model
        self._rewrite = rewrite
        self._renew()

    def _renew(self) -> None:
        network = shared_copy(self._model)
        self._network = self._rewrite(network).eval() if self._rewrite is not None else network
        self._built_for = self._tensors()
        self._num_classes: int | None = None

    def _tensors(self) -> list[tuple[object, ...]]:
        tensors = chain(self._model.parameters(), self._model.buffers())
        # The version counts changes in place: a rewrite may have computed something from the weights.
        return [(t.data_ptr(), t.dtype, t.device, 0 if t.is_inference() else t._version) for t in tensors]

    @property
    def network(self) -> nn.Module:
        """The copy; a new one when the model's tensors have changed meanwhile (trained, moved, converted)."""
        if self._tensors() != self._built_for:
            self._renew()
        return self._network

    def prepare(self, images: Tensor, target: Tensor | int | None) -> tuple[nn.Module, Tensor, Tensor]:
        """The network, a detached copy of ``images``, and the class of every image, (N,) int64.

        Raises:
            InputError: images are not floating point (N, 3, H, W) on the network's device in its precision, or not
                finite; ``target`` is not one existing class per image; or the copy does not compute what the network
                does.
        """
        network = self.network
        images = checked_images(images)
        for parameter in network.parameters():
            if (parameter.device, parameter.dtype) != (images.device, images.dtype):
                raise InputError(
                    f"images are {images.dtype} on {images.device}, the network is {parameter.dtype} on "
                    f"{parameter.device}; bring both to the same"
                )
        if self._num_classes is None:
            self._num_classes = self._check_copy(network, images[:1])
        return network, images, _checked_target(network, images, target, self._num_classes)

    def _check_copy(self, network: nn.Module, image: Tensor) -> int:
        with torch.no_grad():
            expected, logits = shared_copy(self._model, keep_in_place=True)(image.clone()), network(image)
        if not isinstance(expected, Tensor) or expected.ndim != 2:
            raise InputError(f"{type(self._model).__name__} must return logits (N, classes)")
        if not torch.allclose(logits, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max())):
            raise InputError(
                f"{type(self._model).__name__} gives another result without in-place activations: a feature is used "
                "after an in-place step changed it; set inplace=False where that was not meant"
            )
        return int(expected.shape[1])


def _checked_target(network: nn.Module, images: Tensor, target: Tensor | int | None, num_classes: int) -> Tensor:
    if target is None:
        with torch.no_grad():
            predicted: Tensor = network(images).argmax(dim=1)
        return predicted
    classes = torch.as_tensor(target, device=images.device)
    if classes.is_floating_point() or classes.dtype == torch.bool or classes.ndim > 1:
        raise InputError(f"target must be whole numbers, one per image, not {classes.dtype} {tuple(classes.shape)}")
    if classes.ndim == 1 and len(classes) != len(images):
        raise InputError(f"target has {len(classes)} classes for {len(images)} images")
    if ((classes < 0) | (classes >= num_classes)).any():
        raise InputError(
            f"target must lie in 0..{num_classes - 1}, the classes of the network, and goes from "
            f"{int(classes.min())} to {int(classes.max())}"
        )
    return classes.long().expand(len(images)).clone()


def checked_images(images: Tensor) -> Tensor:
    """A detached copy of ``images`` (N, 3, H, W) that can be used with autograd wherever the caller is.

    Raises:
        InputError: not floating point (N, 3, H, W), empty, or with NaN or infinite values.
    """
    if images.ndim != 4 or images.shape[1] != 3 or not images.numel() or not images.is_floating_point():
        raise InputError(
            f"images must be floating point (N, 3, H, W), none of them 0, not {images.dtype} {tuple(images.shape)}"
        )
    if not torch.isfinite(images).all():
        raise InputError("images hold NaN or infinite values; check the files and the normalisation")
    with torch.inference_mode(False):
        copied: Tensor = images.detach().clone()
    return copied
