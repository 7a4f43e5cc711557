"""The network that an explainer works on: in every call a copy of the user's own as it is then."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, NoReturn

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from relsplit.baseline import BaselineImage
from relsplit.checks import checked_images
from relsplit.errors import InputError
from relsplit.networks.answer import Answer, AnswerReader, Score, Scores, is_same, reader_of
from relsplit.networks.described import described
from relsplit.networks.ending import ends_in_probabilities
from relsplit.networks.inputs import Given, Inputs, checked_inputs
from relsplit.networks.looked_up import LookUp, LookUps
from relsplit.networks.outputs import OutputChoice, Part, obvious_part
from relsplit.networks.views import shared_copy
from relsplit.targets.detection import Detection
from relsplit.targets.target import TargetFunction, opened, own_part


class SharedNetwork:
    """Hands out, for each call, a copy of a network together with checked inputs.

    Nothing is kept from call to call but the network itself and the options: an explainer can be shared by threads,
    pickled and copied, and whatever has changed meanwhile is part of the next map.

    Args:
        model: the user's network, of any inputs with the batch first.
        scores: what its output holds, or what reads it (see :mod:`relsplit.networks.answer`).
        output: which part of what it returns is explained; None: the obvious one, or the target's.
    """

    def __init__(
        self, model: nn.Module, scores: Scores | AnswerReader = "auto", output: OutputChoice | None = None
    ) -> None:
        self._model = model
        self._output = output
        self.reader = reader_of(scores)

    def call(self, given: Given, target: Any = None, forward_kwargs: "Mapping[str, Any] | None" = None) -> "Call":
        """Return the network as it is now, and a detached copy of what is given, for one call.

        The copy can be used with autograd wherever the caller is.

        Args:
            given: what is explained, see :meth:`relsplit.LRP.attribute`.
            target: what is explained of it: a class, one for each sample, None for the predicted one, or a target of
                :mod:`relsplit.targets`.
            forward_kwargs: what the network gets besides, by name.

        Raises:
            InputError: it cannot be explained, is not on the network's device or in its precision, or not finite.
        """
        network = shared_copy(self._model, keep_in_place=True)
        inputs = checked_inputs(given, forward_kwargs)
        inputs.check_values()
        with torch.inference_mode(False):
            inputs = inputs.each(Tensor.clone)
        for place, tensor in enumerate(inputs.tensors):
            _check_alike(network, tensor, inputs.name(place))
        whole, explained = opened(target, self._output)
        is_chosen = self._output is not None or explained is not target or hasattr(target, "part")
        return Call(network, inputs, self.reader, explained, whole if is_chosen else None)


class Call:
    """One call of an explainer.

    What a network is given is explained as values: a floating point input is one; of tokens, the vectors (N, T, D) that
    the network looks up by them are.

    Attributes:
        network: a copy of the user's network as it is, in-place activations included, in eval mode; it is this call's
            own, and its parameters require no gradients.
        inputs: what it is given, copies.
        explained: a class, one for each sample, None, or a function of the output to the relevance of its entries.
    """

    def __init__(
        self, network: nn.Module, inputs: Inputs, reader: AnswerReader, explained: Any, whole: "Part | None"
    ) -> None:
        self.network = network
        self.inputs = inputs
        self.explained = explained
        self._reader = reader
        self._whole = whole
        self._chosen = self.choose(network)

    def choose(self, network: nn.Module) -> "RemovableHandle | None":
        """Have a network, made of this call's, return the part of its output that is explained, if one was named."""
        whole, own = self._whole, own_part(self.explained)
        return None if whole is None else _returning(network, lambda output: own(whole(output)))

    @cached_property
    def images(self) -> Tensor:
        """The images (N, C, H, W), where that is what the network is given.

        Raises:
            InputError: it is something else.
        """
        alone = self.inputs.is_single and self.inputs.tensors[0].is_floating_point()
        return checked_images(self.inputs.tensors[0]) if alone else self.inputs.images("this explainer")

    @property
    def is_of_images(self) -> bool:
        """Whether the network is given one batch of images and nothing else."""
        inputs = self.inputs
        first = inputs.tensors[0]
        return inputs.is_single and first.dim() == 4 and first.is_floating_point() and not inputs.forward_kwargs

    @cached_property
    def values(self) -> tuple[Tensor, ...]:
        """What gradients are taken with respect to, and what is changed: see above.

        Raises:
            InputError: tokens pass no embedding.
        """
        found: list[Tensor] = []
        for place, tensor in enumerate(self.inputs.tensors):
            found += [tensor] if tensor.is_floating_point() else [each.vectors for each in self._of(place)]
        return tuple(found)

    @cached_property
    def tables(self) -> "tuple[Tensor | None, ...]":
        """For each of the values the table (vocabulary, D) that it was looked up in; None: it is an input itself."""
        found: list[Tensor | None] = []
        for place, tensor in enumerate(self.inputs.tensors):
            found += [None] if tensor.is_floating_point() else [each.table for each in self._of(place)]
        return tuple(found)

    @cached_property
    def _look_ups(self) -> list[LookUp]:
        tokens = [each for each in self.inputs.tensors if not each.is_floating_point()]
        if not tokens:
            return []
        with torch.no_grad(), LookUps(tokens) as seen:
            self.called(self.inputs)
        found: list[LookUp] = seen.found
        return found

    def _of(self, place: int) -> list[LookUp]:
        """What was looked up by the tokens at ``place`` of the inputs."""
        number = sum(not each.is_floating_point() for each in self.inputs.tensors[:place])
        found = [each for each in self._look_ups if each.place == number]
        if not found:
            shape = tuple(self.inputs.tensors[place].shape)
            raise InputError(
                f"{self.inputs.name(place)}: integers {shape} pass no nn.Embedding on their way: hand in floating "
                "point values, or what is no input (a mask, lengths) with forward_kwargs="
            )
        return found

    def baselines(self, baseline: BaselineImage) -> list[Tensor]:
        """Return the baseline of each of the values, of its shape.

        Raises:
            InputError: it is not one of theirs.
        """
        found = []
        for value, table in zip(self.values, self.tables, strict=True):
            each = baseline.of(value) if table is None else baseline.of_vectors(value, table)
            found.append(each.expand_as(value))
        return found

    def arranged(self, values: Sequence[Tensor], by: "Callable[[Tensor], Tensor] | None" = None) -> Any:
        """Return what was found for each of the values as the inputs were given: alone, as a tuple, or as a dictionary.

        Tokens that an attention mask calls padding have 0.

        Args:
            values: of the values' shapes.
            by: makes (N, T) of the vectors (N, T, D) of tokens; None: their sum.
        """
        waiting = iter(values)
        found: list[Tensor] = []
        for place, tensor in enumerate(self.inputs.tensors):
            if tensor.is_floating_point():
                found.append(next(waiting))
                continue
            of_tokens = [next(waiting) for _ in self._of(place)]
            of_place = torch.stack([each.sum(-1) if by is None else by(each) for each in of_tokens]).sum(0)
            present = self.inputs.padding(tensor)
            found.append(of_place if present is None else of_place.masked_fill(~present.to(of_place.device), 0))
        return self.inputs.arranged(found)

    def run(self, values: Sequence[Tensor], times: int = 1) -> Any:
        """Run the network on other values.

        Args:
            values: in the place of this call's :attr:`values`, each ``times`` as long.
            times: how often the samples are repeated.

        Returns:
            What the network returned.

        Raises:
            InputError: it does not accept them.
        """
        inputs = self.inputs if times == 1 else self.inputs.repeated(times)
        waiting = iter(values)
        if all(tensor.is_floating_point() for tensor in inputs.tensors):
            return self.called(replace(inputs, tensors=tuple(values)))
        tensors, tokens, of_place = [], [], []
        for place, tensor in enumerate(inputs.tensors):
            if tensor.is_floating_point():
                tensors.append(next(waiting))
                continue
            tensors.append(tensor)
            tokens.append(tensor)
            of_place.append([next(waiting) for _ in self._of(place)])
        with LookUps(tokens, lambda seen: of_place[seen.place].pop(0)):
            return self.called(replace(inputs, tensors=tuple(tensors)))

    def called(self, inputs: Inputs) -> Any:
        """Return what the network returns for ``inputs``, which it may write over.

        Raises:
            InputError: it does not accept them.
        """
        return inputs.answered(self.network, self.inputs)

    def answer(self) -> Answer:
        """Run the network without gradients, and read what it answers.

        Raises:
            InputError: it does not return scores of classes, or such that are not finite.
        """
        with torch.no_grad():
            return self.read(self.called(self.inputs))

    def checked(self, output: object, network: nn.Module | None = None) -> Answer:
        """Read what the network, or another one made of it, has returned for the inputs under other conditions.

        Args:
            output: what it returned with gradients being recorded, with other hooks, or rewritten.
            network: the network that returned it; None: this call's own.

        Raises:
            InputError: it is not what the network itself answers (to the first image, and if it was rewritten or what
                it was given is no image, to all), or cannot be read.
        """
        answer = self.read(output)
        self.check_same(answer.output, network)
        return answer

    def check_same(self, output: Tensor, network: nn.Module | None = None) -> None:
        """Check that an output is what the network itself answers, see :meth:`checked`.

        Raises:
            InputError: it is not.
        """
        count = 1 if network is None and self.is_of_images else len(self.inputs)
        given = self.inputs if count > 1 else self.first
        with torch.no_grad():
            own = obvious_part(self.called(given))
            if not is_same(output[:count], own):
                self._say_why(own, obvious_part(self.called(given)), network)

    def _say_why(self, own: Any, again: Any, network: nn.Module | None) -> NoReturn:
        """Say why an output is not what the network itself answers, to which it was asked twice.

        Raises:
            InputError: always.
        """
        name = type(self.network).__name__
        if not is_same(again, own):
            raise InputError(
                f"{name} answers something else from one call to the next: its forward pass draws random numbers, or "
                "counts its calls; make it answer the same"
            )
        reason = (
            "when gradients are recorded: its forward pass asks for the gradient mode"
            if network is None
            else "when it is rewritten for this explainer (not in-place, one module for each step): its forward "
            "pass relies on what in-place steps overwrite, on hooks, or on values and types"
        )
        raise InputError(
            f"{name} answers something else {reason}; make it answer the same, or use an "
            "explainer that runs it as it is (rise, score_cam)"
        )

    @property
    def first(self) -> Inputs:
        """The first image alone; of anything else, whose further arguments may be of all samples, all of them."""
        return self.inputs.each(lambda tensor: tensor[:1]) if self.is_of_images else self.inputs

    def differentiable(self, images: Tensor) -> Answer:
        """Run the network with gradients being recorded, and read what it answers.

        Args:
            images: this call's, requiring gradients.

        Raises:
            InputError: as :meth:`checked`; or the answer has no gradient.
        """
        with torch.enable_grad():
            answer = self.checked(self.run([images]))
        check_differentiable(answer.output)
        return answer

    def value(self, output: object, score: Score) -> Tensor:
        """Return what is explained, of all samples together, differentiable.

        Args:
            output: what the network has returned for the inputs, with gradients being recorded from some layer on.
            score: what is read of a class; without effect on a target that is a function.

        Raises:
            InputError: as :meth:`checked`; a class that does not exist; or a target for another kind of output.
        """
        if not callable(self.explained):
            answer = self.checked(output)
            return answer.score(answer.classes(self.explained), score).sum()
        part = self.part(output)
        self.check_same(part)
        return summed_by_sample(self.explained, part).sum()

    def part(self, output: object) -> Tensor:
        """Return the tensor that a target which is a function is of.

        Raises:
            InputError: the network has returned none with a row for each sample.
        """
        return with_rows(obvious_part(output), len(self.inputs))

    def gradient(self, score: Score, watch: "Callable[[Tensor], None] | None" = None) -> tuple[Tensor, ...]:
        """Return the gradient of what is explained with respect to each of the values.

        Args:
            score: what is differentiated of a class.
            watch: is shown what is explained with its graph, before the gradient is taken.

        Raises:
            InputError: as :meth:`value`; or a network without gradients.
        """
        with torch.enable_grad():
            variables = [each.detach().requires_grad_() for each in self.values]
            value = self.value(self.run(variables), score)
            check_differentiable(value)
            if watch is not None:
                watch(value)
            return differentiated(value, variables)

    def by_sample(self, score: Score) -> "ValueOfSamples":
        """Return the function from other values to what is explained of each sample (N,), differentiable.

        What a target chooses by the output (a region, a token, a box), and which class is explained, is chosen for the
        inputs themselves.

        Args:
            score: what is read of a class; without effect on a target that is a function.

        Raises:
            InputError: as :meth:`value`.
        """
        if isinstance(self.explained, Detection):
            return self._of_boxes(self.explained)
        with torch.no_grad():
            output = self.called(self.inputs)
        if not callable(self.explained):
            answer = self.read(output)
            classes = answer.classes(self.explained)
            return lambda values: answer.like(self.run(values)).score(classes, score)
        value = self.pinned(output)
        return lambda values: value(self.run(values))

    def _of_boxes(self, target: Detection) -> "ValueOfSamples":
        """Follow each sample's box; from here on the network returns all that it found."""
        if self._chosen is not None and self._whole is not None:
            self._chosen.remove()
            _returning(self.network, self._whole)
        with torch.no_grad():
            boxes = target.followed(self.called(self.inputs))

        def scores(values: Sequence[Tensor]) -> Tensor:
            return torch.stack([boxes.score(found, sample) for sample, found in enumerate(self.run(values))])

        return scores

    def checked_value(self, output: object) -> Callable[[object], Tensor]:
        """Return :meth:`pinned`, of an output that is checked to be what the network itself answers.

        Raises:
            InputError: as :meth:`value`.
        """
        self.check_same(self.part(output))
        return self.pinned(output)

    def pinned(self, output: object) -> Callable[[object], Tensor]:
        """Return the function from outputs to what a target which is a function says of each sample, (N,).

        Args:
            output: by which the target chooses what it chooses: a region, a token.

        Raises:
            InputError: the target is for another kind of output.
        """
        function = pinned(self.explained, self.part(output).detach())
        return lambda other: summed_by_sample(function, self.part(other))

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
        """Read what this call's network has returned for the inputs.

        Raises:
            InputError: it does not return scores of classes, or such that are not finite.
        """

        def ends() -> bool:
            first = self.first
            by_name = dict(zip(first.names, first.tensors, strict=True)) if first.names else {}
            by_position = () if first.names else first.tensors
            return ends_in_probabilities(self.network, *by_position, **by_name, **first.forward_kwargs)

        answer = self._reader.read(output, len(self.inputs), ends)
        answer.check_finite()
        return answer


def _returning(network: nn.Module, part: Part) -> RemovableHandle:
    return network.register_forward_hook(lambda module, given, output: part(output))


ValueOfSamples = Callable[[Sequence[Tensor]], Tensor]
"""From the values of :class:`Call` to what is explained of each sample, (N,)."""


def gradients(function: ValueOfSamples, values: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return the gradient with respect to each of ``values`` of what is explained.

    Raises:
        InputError: the network has no gradients.
    """
    with torch.enable_grad():
        variables = [each.detach().requires_grad_() for each in values]
        return differentiated(function(variables).sum(), variables)


def with_rows(part: object, count: int) -> Tensor:
    """Return the part of an output that a target which is a function is of, checked to have ``count`` rows.

    Raises:
        InputError: it has not.
    """
    if not isinstance(part, Tensor) or not part.dim() or len(part) != count:
        raise InputError(f"model: its output must have {count} rows, not {described(part)}")
    return part


def pinned(function: TargetFunction, output: Tensor) -> TargetFunction:
    """Return a target with what it chooses by the output as it is in this one: a region, a token.

    Args:
        function: the target.
        output: (N, ...).

    Raises:
        InputError: the target is for another kind of output.
    """
    summed_by_sample(function, output)  # what the target does not allow is said here
    pin = getattr(function, "pinned", None)
    return function if pin is None else pin(output)


def summed_by_sample(function: Callable[[Tensor], Tensor], output: Tensor) -> Tensor:
    """Return the sum (N,) over each sample of what a target says of an output (N, ...).

    Raises:
        InputError: it returns no relevance of the output's shape.
    """
    relevance = function(output)
    if not isinstance(relevance, Tensor) or relevance.shape != output.shape:
        raise InputError(
            f"target: the function must return relevance of shape {tuple(output.shape)}, not {described(relevance)}"
        )
    return relevance.reshape(len(output), -1).sum(1)


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
            "model: its answer has no gradient with respect to its inputs (a no_grad, detach or rounding in its "
            "forward pass): use an explainer that needs none (rise, score_cam)"
        )


def _check_alike(network: nn.Module, tensor: Tensor, name: str) -> None:
    for parameter in network.parameters():
        same = parameter.dtype == tensor.dtype or not tensor.is_floating_point()
        if parameter.device != tensor.device or not same:
            raise InputError(
                f"{name} are {tensor.dtype} on {tensor.device}, the network is {parameter.dtype} on "
                f"{parameter.device}; bring both to the same"
            )
