"""The network that an explainer works on: in every call a copy of the user's own as it is then."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from relsplit.checks import checked_images
from relsplit.errors import InputError
from relsplit.networks.answer import Answer, AnswerReader, Score, Scores, is_same, reader_of
from relsplit.networks.ending import ends_in_probabilities
from relsplit.networks.views import shared_copy


class SharedNetwork:
    """Hands out, for each call, a copy of a network together with checked images.

    Nothing is kept from call to call but the network itself and the options: an explainer can be shared by threads,
    pickled and copied, and whatever has changed meanwhile is part of the next map.

    Args:
        model: the user's network, (N, C, H, W) to scores of classes (see :mod:`relsplit.networks.answer`).
        scores: what its output holds, or what reads it.
    """

    def __init__(self, model: nn.Module, scores: Scores | AnswerReader = "auto") -> None:
        self._model = model
        self.reader = reader_of(scores)

    def call(self, images: Tensor) -> "Call":
        """Return the network as it is now, and a detached copy of ``images``, for one call.

        The copy of the images can be used with autograd wherever the caller is.

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
        return Call(network, images, self.reader)


class Call:
    """One call of an explainer.

    Attributes:
        network: a copy of the user's network as it is, in-place activations included, in eval mode; it is this call's
            own, and its parameters require no gradients.
        images: (N, C, H, W), a copy.
    """

    def __init__(self, network: nn.Module, images: Tensor, reader: AnswerReader) -> None:
        self.network = network
        self.images = images
        self._reader = reader

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
        count = 1 if network is None else len(self.images)
        with torch.no_grad():
            own = self.network(self.images[:count].clone())
        if not is_same(answer.output[:count], own):
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
        return answer

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

    def gradient(
        self, target: "Tensor | int | None", score: Score, watch: "Callable[[Tensor], None] | None" = None
    ) -> tuple[Tensor, Tensor]:
        """Return the gradient (N, C, H, W) of the score of a class with respect to the images, and the classes (N,).

        Args:
            target: class of every image, (N,), one class, or None for the predicted class.
            score: what is differentiated.
            watch: is shown the output with its graph, before the gradient is taken.

        Raises:
            InputError: as :meth:`checked`; a class that does not exist; or a network without gradients.
        """
        with torch.enable_grad():
            variable = self.images.detach().requires_grad_()
            answer = self.differentiable(variable)
            classes = answer.classes(target)
            if watch is not None:
                watch(answer.output)
            (gradient,) = differentiated(answer.score(classes, score).sum(), [variable])
        return gradient, classes

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
