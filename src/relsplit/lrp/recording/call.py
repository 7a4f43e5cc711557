"""One operation that the network carries out, as its file in ``operations/`` sees it."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from relsplit.errors import UnsupportedModelError
from relsplit.lrp.recording.kinds import Kind
from relsplit.lrp.recording.step import Backward, Saved, Step

if TYPE_CHECKING:
    from relsplit.lrp.recording.recorder import Recorder

_COMPLEX = "relevance of complex numbers is not defined"


class Call:
    """One operation on its way.

    Attributes:
        recorder: that records it.
        name: see :class:`relsplit.lrp.recording.kinds.Kind`.
        func: the overload that is called.
        args: its arguments.
        kwargs: its arguments that are given by name.
        sources: its arguments that depend on the input, with the steps that made them.
    """

    def __init__(
        self,
        recorder: "Recorder",
        kind: Kind,
        func: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        sources: list[tuple[Tensor, Step]],
    ) -> None:
        self.recorder = recorder
        self.options = recorder.options
        self.name = kind.name
        self.func, self.args, self.kwargs = func, args, kwargs
        self.sources = sources
        self._kind = kind

    def carry_out(self) -> Any:
        """Run the operation with its steps noted; return what it returned."""
        if self._kind.outs:
            return self._into_outs()
        if any(tensor.is_complex() for tensor in tensors_in(self.args, self.kwargs)):
            return self.refuse(_COMPLEX)
        if self._is_of_quantised and self._kind.handle is not None and self.name != "dequantize":
            return self._kind.handle(self) if self.name.startswith("quantized") else self.in_numbers(self._again)
        if self._kind.handle is not None:
            output = self._kind.handle(self)
            is_complex = isinstance(output, Tensor) and output.is_complex()
            return self.refused(output, _COMPLEX) if is_complex else output
        return self.decompose() if self._kind.decomposes else self.refuse("")

    def _into_outs(self) -> Any:
        """Run what writes into ``out=`` as the same operation that returns something new, and a copy of that."""
        outs = [self.kwargs[name] for name in self._kind.outs]
        read = {name: value for name, value in self.kwargs.items() if name not in self._kind.outs}
        with self.recorder:
            results = self.func.overloadpacket(*self.args, **read)
        for out, result in zip(outs, [results] if len(outs) == 1 else results, strict=True):
            if out.shape != result.shape:
                out.resize_(result.shape)
            with self.recorder:
                out.copy_(result)
        return outs[0] if len(outs) == 1 else tuple(outs)

    def decompose(self) -> Any:
        """Run the operation by simpler ones, each recorded."""
        with self.recorder:
            return self.func.decompose(*self.args, **self.kwargs)

    def in_numbers(self, function: Callable[..., Any]) -> Any:
        """Run an operation on quantised values, noted as ``function`` of the numbers that its arguments stand for.

        Args:
            function: of the operation's arguments; what it returns has the shapes of what the operation returns.
        """
        with self.recorder:
            made = function(*(numbers(each) for each in self.args))
        output = self.run()
        holders = self.recorder.holders
        for value, plain in zip(_each(output), _each(made), strict=True):
            step = holders.of(plain)
            if step is not None:
                (holders.write if self.is_in_place else holders.put)(value, step)
        return output

    def _again(self, *args: Any) -> Any:
        return self.func(*args, **self.kwargs)

    @property
    def _is_of_quantised(self) -> bool:
        return any(tensor.is_quantized for tensor, _ in self.sources)

    def run(self) -> Any:
        """Run the operation, as the network called it; what was saved of what it writes over stays as it was."""
        for tensor in self._kind.overwritten(self.args, self.kwargs):
            self.recorder.holders.protect(tensor)
        return self.func(*self.args, **self.kwargs)

    def _refusal_before(self) -> str:
        """Return what was said where numbers became complex: there a rule can help."""
        complexes = [source for tensor, source in self.sources if tensor.is_complex()]
        return next((source.refusal for source in complexes if source.operation != "_to_copy"), "")

    def given(self) -> dict[str, Any]:
        """Return all arguments by name, defaults included."""
        given = dict(self._kind.arguments)
        given.update(zip(tuple(given), self.args, strict=False))
        given.update(self.kwargs)
        return given

    def step(self, tensor: Any) -> Step | None:
        """Return the step that made an argument, None for what does not depend on the input."""
        return next((step for source, step in self.sources if source is tensor), None)

    def save(self, tensor: Tensor) -> Saved:
        """Return a tensor as it is now, for the way back; detached, unless it is to stay part of a graph."""
        return self.recorder.holders.save(tensor)

    def kept(self, arguments: Sequence[Any]) -> Callable[[], list[Any]]:
        """Return what gives ``arguments`` back as they are now: indices and weights may be written over, too."""
        saved = [self.save(each) if isinstance(each, Tensor) else each for each in arguments]
        return lambda: [each.tensor if isinstance(each, Saved) else each for each in saved]

    def carries(self, tensor: Tensor) -> bool:
        """Say whether relevance can be of ``tensor``: of numbers, quantised or not, and of integers made of tokens."""
        if tensor.is_floating_point() or tensor.is_quantized:
            return True
        return self.is_of_tokens and tensor.dtype != torch.bool

    @property
    def is_of_tokens(self) -> bool:
        """Whether what depends on the input among the arguments are tokens."""
        return self.sources[0][1].is_tokens

    @property
    def is_in_place(self) -> bool:
        """Whether the operation writes over an argument."""
        return bool(self._kind.written)

    @property
    def has_support(self) -> bool:
        """Whether a source does not depend on the input everywhere."""
        return any(step.support is not None for _, step in self.sources)

    def record(
        self,
        output: Tensor,
        sources: Sequence[Step],
        backward: Backward | None,
        *,
        is_layer: bool = False,
        looks_up: bool = False,
        **facts: Any,
    ) -> Step:
        """Note that the operation made ``output``, and the way back from it.

        Args:
            output: a tensor that the operation returned or wrote over.
            sources: where relevance goes.
            backward: see :class:`relsplit.lrp.recording.step.Step`.
            is_layer: whether it counts as a layer of residual branches.
            looks_up: whether it makes vectors of tokens.
            facts: other attributes of the step.
        """
        recorder = self.recorder
        step = recorder.add(self.name, recorder.path(), output.shape, [step for _, step in self.sources], is_layer)
        step.sources, step.backward = tuple(sources), backward
        for name, value in facts.items():
            setattr(step, name, value)
        if recorder.in_graph and not torch.is_grad_enabled() and self._has_gradient():
            step.sources, step.backward = (), None
            step.refusal = (
                f"{step} runs without gradients (in torch.no_grad or a torch.autograd.Function): relevance that passes "
                "it cannot be differentiated, leave out create_graph"
            )
        if sources and self.is_of_tokens:
            self._note_tokens(step, output, looks_up)
        if step.nonnegative and self.has_support:
            # A constant that the sources' facts say nothing of may have gone into a sum or a mean. An accelerator is
            # not waited for: the way for values of both signs is right for all.
            known = output if step.support is None else output.masked_fill(step.support == 0, 0)
            step.nonnegative = output.device.type == "cpu" and not bool((known < 0).any())
        if self._kind.written:
            recorder.holders.write(output, step)
        else:
            recorder.holders.put(output, step)
        return step

    def _has_gradient(self) -> bool:
        return any(tensor.requires_grad for tensor in tensors_in(self.args, self.kwargs))

    def _note_tokens(self, step: Step, output: Tensor, looks_up: bool) -> None:
        if looks_up:
            self.recorder.note_embedded([source for _, source in self.sources])
        elif output.is_floating_point():
            step.sources, step.backward = (), None
            step.refusal = self.recorder.refusal(step, "tokens are taken for numbers, without an nn.Embedding")
        else:
            step.is_tokens = True

    def refuse(self, why: str) -> Any:
        """Run an operation that no relevance can pass; where some arrives after all, it is said then."""
        return self.refused(self.run(), why)

    def refused(self, output: Any, why: str) -> Any:
        """Note that no relevance can pass an operation that returned ``output``; return that."""
        for tensor in tensors_in(tuple(output) if isinstance(output, (tuple, list)) else (output,), {}):
            if tensor.is_nested:
                raise UnsupportedModelError(
                    "nested tensors have no relevance rule: build nn.TransformerEncoder with "
                    "enable_nested_tensor=False, or explain it with gradients switched on"
                )
            if self.carries(tensor) or tensor.is_complex():
                step = self.record(tensor, [], None)
                step.is_tokens = not (tensor.is_floating_point() or tensor.is_complex() or tensor.is_quantized)
                step.refusal = self._refusal_before() or self.recorder.refusal(step, why)
        return output


def numbers(value: Any) -> Any:
    """Return the numbers that a quantised tensor stands for, also those in a list; anything else as it is."""
    if isinstance(value, Tensor):
        return value.dequantize() if value.is_quantized else value
    return [numbers(each) for each in value] if isinstance(value, (list, tuple)) else value


def _each(output: Any) -> Sequence[Tensor]:
    return (output,) if isinstance(output, Tensor) else output


def tensors_in(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[Tensor]:
    """Yield the tensors among arguments, those in lists, too."""
    for value in (*args, *kwargs.values()) if kwargs else args:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            for each in value:
                if isinstance(each, Tensor):
                    yield each
