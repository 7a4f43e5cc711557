"""Sees every operation that a network carries out, and asks each one's file in ``operations/`` for the way back."""

import importlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode, _pop_mode, _push_mode

from relsplit.errors import UnsupportedModelError
from relsplit.lrp.recording.holders import Geometry, Holders
from relsplit.lrp.recording.modules import running_module, users_line
from relsplit.lrp.recording.residual_blocks import Ancestry, Residual
from relsplit.lrp.recording.step import Backward, Saved, Step
from relsplit.lrp.recording.storages import overwrite, restride
from relsplit.lrp.walk import Watch

Handle = Callable[["Call"], Any]
"""Carries out one operation with ``call.run()``, notes its steps, and returns what it returned."""

_COMPLEX = "relevance of complex numbers is not defined"


@dataclass(frozen=True)
class Kind:
    """What is known of an operation before it runs.

    Attributes:
        name: of the operation, "add" for ``add_`` and ``add.out``, too.
        handle: of its file, None where no file knows it.
        written: places of the arguments that it writes over, and their names where they are given by name.
        outs: names of those that it only writes.
        decomposes: whether PyTorch can carry it out by simpler ones.
    """

    name: str
    handle: Handle | None
    written: tuple[tuple[int, str], ...]
    outs: tuple[str, ...]
    decomposes: bool


class Kinds:
    """What a method knows of PyTorch's operations.

    Args:
        find: returns the handler of an operation by its name, None where the method has none. The names are those of
            PyTorch's ``aten`` operations, without the underscore of those in place; others are "library::name".
        remedy: what its user can do where there is none, for the message.
        module: whose constant ``KINDS`` it is; a copy of an explainer refers to that.
    """

    def __init__(self, find: Callable[[str], Handle | None], remedy: str, module: str) -> None:
        self.remedy = remedy
        self._find = find
        self._module = module
        self._found: dict[Any, Kind] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return _kinds_of, (self._module,)

    def of(self, func: Any) -> Kind:
        """Return what is known of an operation, by the overload that is called."""
        kind = self._found.get(func)
        if kind is None:
            kind = self._found[func] = self._kind(func)
        return kind

    def _kind(self, func: Any) -> Kind:
        schema = func._schema
        library, _, name = schema.name.partition("::")
        written = tuple(
            (place, argument.name)
            for place, argument in enumerate(schema.arguments)
            if argument.alias_info is not None and argument.alias_info.is_write
        )
        outs = tuple(argument.name for argument in schema.arguments if argument.is_out)
        if written and name.endswith("_") and not name.startswith("__"):
            name = name[:-1]
        if library != "aten":
            name = f"{library}::{name}"
        return Kind(name, self._find(name), written, outs, func._can_decompose())


def _kinds_of(module: str) -> Kinds:
    found: Kinds = importlib.import_module(module).KINDS
    return found


@dataclass(frozen=True)
class Attended:
    """What an attention computed.

    Attributes:
        weights: returns the weights, (N, heads, L, S), or with the first two dimensions as one.
        value: what they weigh, (..., S, E).
        output: the weighted sums, (..., L, E), part of the network's own autograd graph.
    """

    weights: Callable[[], Tensor]
    value: Tensor
    output: Tensor


@dataclass
class Facts:
    """What was counted so far.

    Attributes:
        layers: convolutions and fully connected layers.
        residuals: additions of two values that depend on the input.
        residuals_inside: those of operations that the network carried out at once.
        outer: of the network, for the inside of one of its operations.
    """

    layers: int = 0
    residuals: list[Residual] = field(default_factory=list)
    residuals_inside: int = 0
    outer: "Facts | None" = None

    @property
    def all_layers(self) -> int:
        """The layers of the whole network, known at its end."""
        return self.layers if self.outer is None else self.outer.all_layers


class Recorder(TorchDispatchMode):
    """Records the operations of the code that runs within, in this thread, on values that depend on the inputs.

    What the code calls is seen as it calls it (a linear layer, an attention), because PyTorch's autograd, which would
    take some of it apart, is left out; its gradient mode stays what it is.

    Args:
        options: of the method, for its handlers; of LRP, :class:`relsplit.lrp.options.Options`.
        kinds: what the method knows of operations; see :mod:`relsplit.lrp.operations`.
        modules: the network whose modules give the steps their paths.
    """

    def __init__(self, options: Any, kinds: Kinds, modules: nn.Module | None = None) -> None:
        super().__init__()
        self.options = options
        self.facts = Facts()
        self.watch = Watch()
        self.ancestry = Ancestry()
        self.holders = Holders(self._restrided, self._overwritten)
        self.attentions: list[Attended] | None = None  # a list, where they are asked for
        self._kinds = kinds
        self._paths = {} if modules is None else {id(module): name for name, module in modules.named_modules()}
        self.is_paused = False
        self.written_in_pause: set[int] = set()  # storages
        self.reads_strides = False  # whether an operation took entries by their places in memory
        self._guards: list[Any] = []
        self._path = ""
        self._is_inside = False

    def inside(self, path: str, begin: "Facts") -> "Recorder":
        """Return a recorder for the inside of an operation.

        Args:
            path: of the module that called it.
            begin: what had been counted then.
        """
        recorder = Recorder(self.options, self._kinds)
        recorder.facts, recorder.watch = begin, self.watch
        recorder._path, recorder._is_inside = path, True
        return recorder

    def follow(self, tensor: Tensor, like: Step | None = None, layers_before: int = 0) -> Step:
        """Take ``tensor`` as an input.

        Args:
            tensor: whose relevance is asked for.
            like: the step outside that made it, whose facts hold for it.
            layers_before: of that step.
        """
        step = Step(self.ancestry.add((), False, layers_before), "input", "", tuple(tensor.shape))
        step.is_inside, step.is_input = self._is_inside, True
        if like is not None:
            step.nonnegative, step.support = like.nonnegative, like.support
            step.is_gate, step.is_attention = like.is_gate, like.is_attention
        self.holders.put(tensor, step)
        return step

    def module_paths(self) -> list[str]:
        """Return the paths of the network's modules."""
        return list(self._paths.values())

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # PyTorch would load its compiler, seconds of work, to keep it away from this class

    def __enter__(self) -> "Recorder":
        # As the base class does, but for flags that PyTorch keeps for the whole process, where threads mix them up.
        if self.attentions is None:
            guard = torch._C._AutoDispatchBelowAutograd()
            guard.__enter__()
            self._guards.append(guard)
        _push_mode(self)
        return self

    def __exit__(self, *error: object) -> None:
        _pop_mode()
        if self.attentions is None:
            self._guards.pop().__exit__(*error)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Within, operations are not recorded."""
        self.is_paused = True
        try:
            yield
        finally:
            self.is_paused = False

    def path(self) -> str:
        """Return the path of the innermost running module."""
        return running_module(self._paths) or self._path

    def add(
        self, operation: str, path: str, shape: Sequence[int], reads: Sequence[Step], is_layer: bool = False
    ) -> Step:
        """Note a new step that has no way back yet."""
        index = self.ancestry.add(tuple(step.index for step in reads), is_layer)
        return Step(index, operation, path, tuple(shape), is_inside=self._is_inside)

    def refusal(self, step: Step, why: str) -> str:
        """Return the message that no relevance can pass ``step``, which is being carried out."""
        line = users_line()
        called = f", called at {line}," if line else ""
        return f"{step}{called} has no relevance rule{why and f' ({why})'}: {self._kinds.remedy}"

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Carry out one operation, as PyTorch hands it to a mode."""
        kwargs = kwargs or {}
        kind = self._kinds.of(func)
        of = self.holders.of
        read = {name: value for name, value in kwargs.items() if name not in kind.outs} if kind.outs else kwargs
        found = [(tensor, of(tensor)) for tensor in _tensors(args, read)]
        sources = [(tensor, step) for tensor, step in found if step is not None]
        if kind.written:
            for tensor in _written(kind, args, kwargs):
                self.holders.protect(tensor)
                if self.is_paused:
                    self.written_in_pause.add(tensor.untyped_storage()._cdata)
                elif not sources:
                    self.holders.write(tensor, None)
        if not sources or self.is_paused:
            return func(*args, **kwargs)
        return Call(self, kind, func, args, kwargs, sources).carry_out()

    def _restrided(self, whole: Step, stored: Geometry, read: Geometry, numel: int) -> Step:
        step = self.add("as_strided", whole.path, read[0], [whole])
        return restride(step, whole, stored, read, numel)

    def _overwritten(
        self, before: Step | None, part: Step | None, flat: Geometry, written: Geometry, device: torch.device
    ) -> Step:
        sources = [step for step in (before, part) if step is not None]
        step = self.add("overwrite", sources[-1].path, flat[0], sources)
        return overwrite(step, before, part, flat, written, device)


class Call:
    """One operation on its way.

    Attributes:
        recorder: that records it.
        name: see :class:`Kind`.
        func: the overload that is called.
        args: its arguments.
        kwargs: its arguments that are given by name.
        sources: its arguments that depend on the input, with the steps that made them.
    """

    def __init__(
        self,
        recorder: Recorder,
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
        if any(tensor.is_complex() for tensor in _tensors(self.args, self.kwargs)):
            return self.refuse(_COMPLEX)
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

    def run(self) -> Any:
        """Run the operation, as the network called it; what was saved of what it writes over stays as it was."""
        for tensor in _written(self._kind, self.args, self.kwargs):
            self.recorder.holders.protect(tensor)
        return self.func(*self.args, **self.kwargs)

    def _refusal_before(self) -> str:
        """Return what was said where numbers became complex: there a rule can help."""
        complexes = [source for tensor, source in self.sources if tensor.is_complex()]
        return next((source.refusal for source in complexes if source.operation != "_to_copy"), "")

    def given(self) -> dict[str, Any]:
        """Return all arguments by name, defaults included."""
        arguments = self.func._schema.arguments
        given = {argument.name: argument.default_value for argument in arguments[len(self.args) :]}
        given |= {argument.name: value for argument, value in zip(arguments, self.args, strict=False)}
        return given | self.kwargs

    def step(self, tensor: Any) -> Step | None:
        """Return the step that made an argument, None for what does not depend on the input."""
        return next((step for source, step in self.sources if source is tensor), None)

    def save(self, tensor: Tensor) -> Saved:
        """Return a tensor as it is now, for the way back."""
        return self.recorder.holders.save(tensor)

    def kept(self, arguments: Sequence[Any]) -> Callable[[], list[Any]]:
        """Return what gives ``arguments`` back as they are now: indices and weights may be written over, too."""
        saved = [self.save(each.detach()) if isinstance(each, Tensor) else each for each in arguments]
        return lambda: [each.tensor if isinstance(each, Saved) else each for each in saved]

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
        **facts: Any,
    ) -> Step:
        """Note that the operation made ``output``, and the way back from it.

        Args:
            output: a tensor that the operation returned or wrote over.
            sources: where relevance goes.
            backward: see :class:`relsplit.lrp.recording.step.Step`.
            is_layer: whether it counts as a layer of residual branches.
            facts: other attributes of the step.
        """
        recorder = self.recorder
        step = recorder.add(self.name, recorder.path(), output.shape, [step for _, step in self.sources], is_layer)
        step.sources, step.backward = tuple(sources), backward
        for name, value in facts.items():
            setattr(step, name, value)
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

    def refuse(self, why: str) -> Any:
        """Run an operation that no relevance can pass; where some arrives after all, it is said then."""
        return self.refused(self.run(), why)

    def refused(self, output: Any, why: str) -> Any:
        """Note that no relevance can pass an operation that returned ``output``; return that."""
        for tensor in _tensors(tuple(output) if isinstance(output, (tuple, list)) else (output,), {}):
            if tensor.is_nested:
                raise UnsupportedModelError(
                    "nested tensors have no relevance rule: build nn.TransformerEncoder with "
                    "enable_nested_tensor=False, or explain it with gradients switched on"
                )
            if tensor.is_floating_point() or tensor.is_complex():
                step = self.record(tensor, [], None)
                step.refusal = self._refusal_before() or self.recorder.refusal(step, why)
        return output


def _tensors(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[Tensor]:
    """Yield the tensors among arguments, those in lists, too."""
    for value in (*args, *kwargs.values()) if kwargs else args:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            for each in value:
                if isinstance(each, Tensor):
                    yield each


def _written(kind: Kind, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[Tensor]:
    """Yield the tensors that an operation writes over."""
    for place, name in kind.written:
        value = args[place] if place < len(args) else kwargs.get(name)
        if isinstance(value, Tensor):
            yield value
