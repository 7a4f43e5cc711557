"""The network that an explainer works on: in every call a copy of the user's own as it is then."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from relsplit.checks import checked_images
from relsplit.errors import InputError
from relsplit.networks.answer import Answer, AnswerReader, Score, Scores, is_same, reader_of
from relsplit.networks.described import described
from relsplit.networks.ending import ends_in_probabilities
from relsplit.networks.outputs import OutputChoice, obvious_part
from relsplit.networks.views import shared_copy
from relsplit.targets.target import taken_apart


class SharedNetwork:
    """Hands out, for each call, a copy of a network together with checked images.

    Nothing is kept from call to call but the network itself and the options: an explainer can be shared by threads,
    pickled and copied, and whatever has changed meanwhile is part of the next map.

    Args:
        model: the user's network, (N, C, H, W) to scores of classes (see :mod:`relsplit.networks.answer`).
        scores: what its output holds, or what reads it.
        output: which part of what it returns is explained; None: the obvious one, or the target's.
    """

    def __init__(
        self, model: nn.Module, scores: Scores | AnswerReader = "auto", output: OutputChoice | None = None
    ) -> None:
        self._model = model
        self._output = output
        self.reader = reader_of(scores)

    def call(self, images: Tensor, target: Any = None) -> "Call":
        """Return the network as it is now, and a detached copy of ``images``, for one call.

        The copy of the images can be used with autograd wherever the caller is.

        Args:
            images: (N, C, H, W).
            target: what is explained: a class, one for each image, None for the predicted one, or a target of
                :mod:`relsplit.targets`.

        Raises:
            InputError: images are not floating point (N, C, H, W) on the network's device in its precision, or not
                finite.
        """
        network = shared_copy(self._model, keep_in_place=True)
        images = checked_images(images)
        with torch.inference_mode(False):
            images = images.clone()
        for parameter in network.parameters():
            if (parameter.device, parameter.dtype) != (images.device, images.dtype):
                raise InputError(
                    f"images are {images.dtype} on {images.device}, the network is {parameter.dtype} on "
                    f"{parameter.device}; bring both to the same"
                )
        part, explained = taken_apart(target, self._output)
        if self._output is not None or explained is not target or hasattr(target, "part"):
            network.register_forward_hook(lambda module, given, output: part(output))
        return Call(network, images, self.reader, explained)


class Call:
    """One call of an explainer.

    Attributes:
        network: a copy of the user's network as it is, in-place activations included, in eval mode; it is this call's
            own, and its parameters require no gradients.
        images: (N, C, H, W), a copy.
        explained: a class, one for each image, None, or a function of the output to the relevance of its entries.
    """

    def __init__(self, network: nn.Module, images: Tensor, reader: AnswerReader, explained: Any = None) -> None:
        self.network = network
        self.images = images
        self.explained = explained
        self._reader = reader
        self._pinned: Callable[[Tensor], Tensor] | None = None

    def answer(self) -> Answer:
        """Run the network without gradients, and read what it answers.

        Raises:
            InputError: it does not return scores of classes, or such that are not finite.
        """
        with torch.no_grad():
            return self.read(self.network(self.images.clone()))

    def checked(self, output: object, network: nn.Module | None = None) -> Answer:
        """Read what the network, or another one made of it, has returned for the images under other conditions.

        Args:
            output: what it returned with gradients being recorded, with other hooks, or rewritten.
            network: the network that returned it; None: this call's own.

        Raises:
            InputError: it is not what the network itself answers (to the first image, and if it was rewritten, to all),
                or cannot be read.
        """
        answer = self.read(output)
        self._check_same(answer.output, network)
        return answer

    def _check_same(self, output: Tensor, network: nn.Module | None = None) -> None:
        count = 1 if network is None else len(self.images)
        with torch.no_grad():
            own = obvious_part(self.network(self.images[:count].clone()))
        if not is_same(output[:count], own):
            reason = (
                "when gradients are recorded: its forward pass asks for the gradient mode"
                if network is None
                else "when it is rewritten for this explainer (not in-place, one module for each step): its forward "
                "pass relies on what in-place steps overwrite, on hooks, or on values and types"
            )
            raise InputError(
                f"{type(self.network).__name__} answers something else {reason}; make it answer the same, or use an "
                "explainer that runs it as it is (rise, score_cam)"
            )

    def differentiable(self, images: Tensor) -> Answer:
        """Run the network with gradients being recorded, and read what it answers.

        Args:
            images: this call's, requiring gradients.

        Raises:
            InputError: as :meth:`checked`; or the answer has no gradient.
        """
        with torch.enable_grad():
            answer = self.checked(self.network(images.clone()))  # a clone: the first step may be in place
        check_differentiable(answer.output)
        return answer

    def value(self, output: object, score: Score) -> Tensor:
        """Return what is explained, of all images together, differentiable.

        Args:
            output: what the network has returned for the images, with gradients being recorded from some layer on.
            score: what is read of a class; without effect on a target that is a function.

        Raises:
            InputError: as :meth:`checked`; a class that does not exist; or a target for another kind of output.
        """
        if not callable(self.explained):
            answer = self.checked(output)
            return answer.score(answer.classes(self.explained), score).sum()
        part = obvious_part(output)
        if not isinstance(part, Tensor) or not part.dim() or len(part) != len(self.images):
            raise InputError(f"model: its output must have {len(self.images)} rows, not {described(part)}")
        self._check_same(part)
        return summed(self.explained, part)

    def gradient(self, score: Score, watch: "Callable[[Tensor], None] | None" = None) -> Tensor:
        """Return the gradient (N, C, H, W) of what is explained with respect to the images.

        Args:
            score: what is differentiated of a class.
            watch: is shown what is explained with its graph, before the gradient is taken.

        Raises:
            InputError: as :meth:`value`; or a network without gradients.
        """
        with torch.enable_grad():
            variable = self.images.detach().requires_grad_()
            value = self.value(self.network(variable.clone()), score)  # a clone: the first step may be in place
            check_differentiable(value)
            if watch is not None:
                watch(value)
            (gradient,) = differentiated(value, [variable])
        return gradient

    def gradients(self, images: Tensor) -> Tensor:
        """Return the gradient of a target that is a function with respect to other images in place of this call's.

        What the target chooses by the output (a region, a token) it chooses for this call's images.

        Args:
            images: of the shape of this call's.

        Raises:
            InputError: as :meth:`gradient`.
        """
        with torch.enable_grad():
            variable = images.detach().requires_grad_()
            value = summed(self.pinned(), obvious_part(self.network(variable.clone())))
            (gradient,) = differentiated(value, [variable])
        return gradient

    def pinned(self) -> Callable[[Tensor], Tensor]:
        """Return the target with all that it chooses by the output chosen for this call's images."""
        if self._pinned is None:
            with torch.no_grad():
                part = obvious_part(self.network(self.images.clone()))
            pin = getattr(self.explained, "pinned", None)
            self._pinned = self.explained if pin is None else pin(part)
        found: Callable[[Tensor], Tensor] = self._pinned
        return found

    def scores(self, answer: Answer, score: Score) -> Callable[[Tensor], Tensor]:
        """Return the function from images (M, C, H, W) to the scores (M, classes) of all classes.

        Args:
            answer: an answer of the network, which says what its output holds.
            score: ``"logit"`` or ``"probability"``.
        """

        def scores(images: Tensor) -> Tensor:
            found = answer.like(self.network(images.clone()))
            return found.probabilities if score == "probability" else found.logits

        return scores

    def read(self, output: object) -> Answer:
        """Read what this call's network has returned for the images.

        Raises:
            InputError: it does not return scores of classes, or such that are not finite.
        """
        ends = partial(ends_in_probabilities, self.network, self.images[:1])
        answer = self._reader.read(output, len(self.images), ends)
        answer.check_finite()
        return answer


def summed(function: Callable[[Tensor], Tensor], output: Tensor) -> Tensor:
    """Return the sum of what a target says of an output.

    Raises:
        InputError: it returns no relevance of the output's shape.
    """
    relevance = function(output)
    if not isinstance(relevance, Tensor) or relevance.shape != output.shape:
        raise InputError(
            f"target: the function must return relevance of shape {tuple(output.shape)}, not {described(relevance)}"
        )
    return relevance.sum()


def differentiated(score: Tensor, inputs: list[Tensor]) -> tuple[Tensor, ...]:
    """Return the gradients of ``score`` with respect to ``inputs``; zeros where it does not depend on one.

    Raises:
        InputError: the score has no gradients at all.
    """
    check_differentiable(score)
    return torch.autograd.grad(score, inputs, materialize_grads=True)


def check_differentiable(score: Tensor) -> None:
    """Check that gradients have been recorded on the way to ``score``.

    Raises:
        InputError: they have not.
    """
    if not score.requires_grad:
        raise InputError(
            "model: its answer has no gradient with respect to the images (a no_grad, detach or rounding in its "
            "forward pass): use an explainer that needs none (rise, score_cam)"
        )
