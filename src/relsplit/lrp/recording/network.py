"""One call of the user's own network, recorded."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from relsplit.errors import InputError, UnsupportedModelError, is_of_a_signal
from relsplit.lrp.recording.kinds import Kinds
from relsplit.lrp.recording.recorder import Attended, Recorder
from relsplit.lrp.recording.step import PROBABILITIES, RESHAPES, Step
from relsplit.networks.inputs import Inputs, as_inputs
from relsplit.networks.outputs import Part, only_part
from relsplit.networks.views import shared_copy

Units = Callable[[nn.Module, Recorder], AbstractContextManager[None]]
"""Within, some modules or functions of a view of the network, made for one call, act as one operation each."""


INPUT = "input"
"""Names the inputs, all together, among the places where relevance is summed."""


@dataclass(frozen=True)
class Recording:
    """What one call of a network did.

    Attributes:
        recorder: that saw it.
        inputs: the steps of what was given.
        output: the tensor that is explained.
        result: the step that made it.
    """

    recorder: Recorder
    inputs: tuple[Step, ...]
    output: Tensor
    result: Step

    @property
    def image(self) -> Step:
        """The step of the one input, or of the first of several."""
        return self.inputs[0]

    def end(self) -> Step:
        """Return the last step that does more than to reshape the output."""
        step = self.result
        while step.operation in RESHAPES and len(step.sources) == 1:
            step = step.sources[0]
        return step

    def ends_in_probabilities(self) -> bool:
        """Say whether the output has come out of a sigmoid or softmax, and been reshaped at most."""
        return self.end().operation in PROBABILITIES

    def places(self) -> dict[int, tuple[str, ...]]:
        """Return the names of the places where relevance sums are reported, by the index of their steps."""
        places: dict[int, tuple[str, ...]] = {}
        blocks = [(residual.fork, residual.name) for residual in self.recorder.facts.residuals]
        ends = [(step.index, INPUT) for step in self.inputs]
        for index, name in [*ends, *blocks, (self.result.index, "output")]:
            places[index] = (*places.get(index, ()), name)
        return places


class Network:
    """A user's network, to be recorded anew in every call.

    What runs is a tree of modules made for the call, which shares the network's weights, hooks and code: in evaluation
    mode, and free to keep or count things that the network itself never sees. Nothing is kept between calls.

    Args:
        model: the network, in any mode; what is recorded is what it does in evaluation mode.
        options: of the method; see :class:`relsplit.lrp.recording.recorder.Recorder`.
        kinds: what the method knows of operations.
        units: what is taken as one operation although it is several; None: nothing is.
    """

    def __init__(
        self,
        model: nn.Module,
        options: Any,
        kinds: Kinds,
        units: Units | None = None,
    ) -> None:
        self.model = model
        self._options = options
        self._kinds = kinds
        self._units = units
        self._channels_last = True

    def attend(self, given: "Tensor | Inputs", part: Part = only_part) -> Recording:
        """Run the network once with gradients; the recording has what its attentions computed.

        Args:
            given: what it is given, checked.
            part: see :meth:`record`.

        Returns:
            What it did; its output and attentions are part of one autograd graph.

        Raises:
            InputError: see :meth:`record`.
            UnsupportedModelError: see :meth:`record`.
        """
        inputs = as_inputs(given)
        try:
            with torch.inference_mode(False), torch.enable_grad():
                return self._run(inputs.each(_differentiable), part, attentions=[])
        except _RefusedError as refused:
            raise self._reason(refused.error, inputs) from refused.error

    def record(
        self, given: "Tensor | Inputs", part: Part = only_part, by_module: bool = False, in_graph: bool = False
    ) -> Recording:
        """Run the network once in the caller's gradient mode, and record it.

        Args:
            given: what it is given, checked.
            part: returns the tensor that is explained, of what the network returns.
            by_module: whether every module has to run, also those of which PyTorch has one kernel together
                (``nn.TransformerEncoderLayer`` without gradients).
            in_graph: whether all is part of autograd's graph; see :mod:`relsplit.lrp.recording.graph`.

        Returns:
            What it did; the output has no gradient, unless ``in_graph``.

        Raises:
            InputError: the network does not accept what it is given, its output has no such part, or tokens pass no
                embedding.
            UnsupportedModelError: the output does not depend on what it is given.
        """
        inputs = as_inputs(given)
        if self._channels_last and not in_graph and _are_faster_channels_last(inputs):
            try:
                recording = self._record(inputs, _in_channels_last, part, by_module)
                if not recording.recorder.reads_strides:
                    return recording
            except _RefusedError:
                pass
            # It reads memory in an order of its own, as in a view: it gets the images as it would from its user.
            self._channels_last = False
        try:
            return self._record(inputs, torch.clone if in_graph else _copied, part, by_module, in_graph)
        except _RefusedError as refused:
            raise self._reason(refused.error, inputs) from refused.error

    def _record(
        self, inputs: Inputs, copy: Callable[[Tensor], Tensor], part: Part, by_module: bool, in_graph: bool = False
    ) -> Recording:
        grad = torch.is_grad_enabled() or by_module
        with torch.inference_mode(False), torch.set_grad_enabled(grad):
            given = inputs.each(copy)  # here, or copies would be of inference mode, which gradients cannot pass
            recording = self._run(given, part, attentions=None, by_module=by_module, in_graph=in_graph)
        return recording if in_graph else replace(recording, output=recording.output.detach())

    def _run(
        self,
        inputs: Inputs,
        part: Part,
        attentions: list[Attended] | None,
        by_module: bool = False,
        in_graph: bool = False,
    ) -> Recording:
        network = shared_copy(self.model, keep_in_place=True, trainable=attentions is None, in_graph=in_graph)
        if by_module:  # no kernel of several modules has gradients
            for parameter in network.parameters():
                parameter.requires_grad_(parameter.is_floating_point())
        recorder = Recorder(self._options, self._kinds, network, in_graph)
        recorder.attentions = attentions
        steps = tuple(recorder.follow_given(tensor, inputs.padding(tensor)) for tensor in inputs.tensors)
        units = nullcontext() if self._units is None else self._units(network, recorder)
        with _refusals(), recorder, units:
            chosen = part(inputs.called(network))
        if not isinstance(chosen, Tensor):
            raise UnsupportedModelError(
                f"output: the part that is explained is a {type(chosen).__name__}, not a tensor"
            )
        for place, step in enumerate(steps):
            if step.is_tokens and not step.is_embedded:
                raise InputError(
                    f"{inputs.name(place)}: integers {step.shape} pass no nn.Embedding on their way: hand in floating "
                    "point values, or what is no input (a mask, lengths) with forward_kwargs="
                )
        result = recorder.holders.of(chosen)
        if result is None:
            raise UnsupportedModelError(
                f"the output of {type(self.model).__name__} does not depend on its inputs: they left PyTorch on the "
                "way, or a constant is returned"
            )
        recorder.holders.forget()
        return Recording(recorder, steps, chosen, result)

    def _reason(self, error: Exception, inputs: Inputs) -> Exception:
        """Say whether it is the inputs that the network does not accept, or the recording that failed."""
        try:
            with torch.inference_mode(False), torch.set_grad_enabled(torch.is_grad_enabled()):
                inputs.each(_copied).called(shared_copy(self.model, keep_in_place=True, trainable=True))
        except Exception as again:  # whatever the user's code raises
            if is_of_a_signal(again):
                raise
            return inputs.not_accepted(error)
        text = " ".join(str(error).split())[:300]
        return UnsupportedModelError(
            f"{type(self.model).__name__} could not be recorded ({type(error).__name__}: {text})"
        )


class _RefusedError(Exception):
    """The network's forward raised an error."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except (InputError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        if is_of_a_signal(error):
            raise
        raise _RefusedError(error) from error


def _are_faster_channels_last(inputs: Inputs) -> bool:
    """On a CPU, from three images on, channels last in memory was measured a tenth faster."""
    first = inputs.tensors[0]
    is_image = len(inputs.tensors) == 1 and first.dim() == 4 and first.is_floating_point()
    return is_image and first.device.type == "cpu" and len(first) >= 3


def _copied(tensor: Tensor) -> Tensor:
    return tensor.detach().clone()


def _in_channels_last(tensor: Tensor) -> Tensor:
    return tensor.detach().clone(memory_format=torch.channels_last)


def _differentiable(tensor: Tensor) -> Tensor:
    return _copied(tensor).requires_grad_(tensor.is_floating_point())
