"""One call of the user's own network, recorded."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from relsplit.errors import InputError, UnsupportedModelError, is_of_a_signal
from relsplit.lrp.outputs import OutputChoice, chosen_output
from relsplit.lrp.recording.kinds import Kinds
from relsplit.lrp.recording.recorder import Attended, Recorder
from relsplit.lrp.recording.step import PROBABILITIES, RESHAPES, Step
from relsplit.networks.views import shared_copy

Units = Callable[[nn.Module, Recorder], AbstractContextManager[None]]
"""Within, some modules or functions of a view of the network, made for one call, act as one operation each."""


@dataclass(frozen=True)
class Recording:
    """What one call of a network did.

    Attributes:
        recorder: that saw it.
        image: the step of the input.
        output: the tensor that is explained.
        result: the step that made it.
    """

    recorder: Recorder
    image: Step
    output: Tensor
    result: Step

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
        for index, name in [(self.image.index, "input"), *blocks, (self.result.index, "output")]:
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
        output: which part of its output is explained; see :func:`relsplit.lrp.outputs.chosen_output`.
        units: what is taken as one operation although it is several; None: nothing is.
    """

    def __init__(
        self,
        model: nn.Module,
        options: Any,
        kinds: Kinds,
        output: OutputChoice | None = None,
        units: Units | None = None,
    ) -> None:
        self.model = model
        self._options = options
        self._kinds = kinds
        self._output = output
        self._units = units
        self._channels_last = True

    def attend(self, images: Tensor) -> Recording:
        """Run the network once with gradients; the recording has what its attentions computed.

        Args:
            images: (N, C, H, W), checked.

        Returns:
            What it did; its output and attentions are part of one autograd graph.

        Raises:
            InputError: see :meth:`record`.
            UnsupportedModelError: see :meth:`record`.
        """
        try:
            with torch.inference_mode(False), torch.enable_grad():
                return self._run(images.detach().clone().requires_grad_(), attentions=[])
        except _RefusedError as refused:
            raise self._reason(refused.error, images) from refused.error

    def record(self, images: Tensor) -> Recording:
        """Run the network once in the caller's gradient mode, and record it.

        Args:
            images: (N, C, H, W), checked.

        Returns:
            What it did; the output has no gradient.

        Raises:
            InputError: the network does not accept the images, or its output has no such part.
            UnsupportedModelError: the output does not depend on the images.
        """
        if self._channels_last and _is_faster_channels_last(images):
            try:
                recording = self._record(images.detach().clone(memory_format=torch.channels_last))
                if not recording.recorder.reads_strides:
                    return recording
            except _RefusedError:
                pass
            # It reads memory in an order of its own, as in a view: it gets the images as it would from its user.
            self._channels_last = False
        try:
            return self._record(images.detach().clone())
        except _RefusedError as refused:
            raise self._reason(refused.error, images) from refused.error

    def _record(self, images: Tensor) -> Recording:
        grad = torch.is_grad_enabled()
        with torch.inference_mode(False), torch.set_grad_enabled(grad):
            recording = self._run(images, attentions=None)
        return replace(recording, output=recording.output.detach())

    def _run(self, images: Tensor, attentions: list[Attended] | None) -> Recording:
        network = shared_copy(self.model, keep_in_place=True, trainable=attentions is None)
        recorder = Recorder(self._options, self._kinds, network)
        recorder.attentions = attentions
        image = recorder.follow(images)
        units = nullcontext() if self._units is None else self._units(network, recorder)
        with _refusals(), recorder, units:
            chosen = chosen_output(network(images), self._output)
        if not isinstance(chosen, Tensor):
            raise UnsupportedModelError(
                f"output: the part that is explained is a {type(chosen).__name__}, not a tensor"
            )
        result = recorder.holders.of(chosen)
        if result is None:
            raise UnsupportedModelError(
                f"the output of {type(self.model).__name__} does not depend on its images: they left PyTorch on the "
                "way, or a constant is returned"
            )
        recorder.holders.forget()
        return Recording(recorder, image, chosen, result)

    def _reason(self, error: Exception, images: Tensor) -> Exception:
        """Say whether it is the images that the network does not accept, or the recording that failed."""
        text = " ".join(str(error).split())[:300]
        try:
            with torch.inference_mode(False), torch.set_grad_enabled(torch.is_grad_enabled()):
                shared_copy(self.model, keep_in_place=True, trainable=True)(images.detach().clone())
        except Exception as again:  # whatever the user's code raises
            if is_of_a_signal(again):
                raise
            return InputError(
                f"images: the model does not accept shape {tuple(images.shape)}, {images.dtype} on {images.device} "
                f"alone: {text}"
            )
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


def _is_faster_channels_last(images: Tensor) -> bool:
    """On a CPU, from three images on, channels last in memory was measured a tenth faster."""
    return images.device.type == "cpu" and images.dim() == 4 and len(images) >= 3
