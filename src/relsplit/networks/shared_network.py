"""The network that an explainer works on: not the user's own, but a copy that shares its tensors."""

from collections.abc import Callable
from itertools import chain

import torch
from torch import Tensor, nn

from relsplit.checks import checked_images, checked_target
from relsplit.errors import InputError
from relsplit.networks.views import shared_copy


class SharedNetwork:
    """Hands out the copy of a network together with checked images and targets.

    Args:
        model: the user's network, (N, C, H, W) to logits (N, classes).
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

    def prepare(self, images: Tensor, target: "Tensor | int | None") -> tuple[nn.Module, Tensor, Tensor]:
        """Return the network, a detached copy of ``images``, and the class of every image, (N,) int64.

        The copy of the images can be used with autograd wherever the caller is.

        Raises:
            InputError: images are not floating point (N, C, H, W) on the network's device in its precision, or not
                finite; ``target`` is not one existing class per image; or the copy does not compute what the network
                does.
        """
        network = self.network
        images = checked_images(images)
        with torch.inference_mode(False):
            images = images.clone()
        for parameter in network.parameters():
            if (parameter.device, parameter.dtype) != (images.device, images.dtype):
                raise InputError(
                    f"images are {images.dtype} on {images.device}, the network is {parameter.dtype} on "
                    f"{parameter.device}; bring both to the same"
                )
        if self._num_classes is None:
            self._num_classes = self._check_copy(network, images[:1])
        if target is None:
            with torch.no_grad():
                return network, images, network(images).argmax(dim=1)
        return network, images, checked_target(target, len(images), self._num_classes, images.device).clone()

    def _check_copy(self, network: nn.Module, image: Tensor) -> int:
        with torch.no_grad():
            expected, logits = shared_copy(self._model, keep_in_place=True)(image.clone()), network(image)
        if not isinstance(expected, Tensor) or expected.ndim != 2:
            raise InputError(f"{type(self._model).__name__} must return logits (N, classes)")
        if not torch.isfinite(expected).all():
            raise InputError(f"{type(self._model).__name__} answers with NaN or infinite scores: check its weights")
        if not torch.allclose(logits, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max())):
            raise InputError(
                f"{type(self._model).__name__} gives another result without in-place activations: a feature is used "
                "after an in-place step changed it; set inplace=False where that was not meant"
            )
        return int(expected.shape[1])
