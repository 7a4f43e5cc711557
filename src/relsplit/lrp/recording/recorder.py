"""Sees every operation that a network carries out, and asks each one's file in ``operations/`` for the way back."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode, _pop_mode, _push_mode

from relsplit.lrp.arithmetic import supported
from relsplit.lrp.recording.call import Call, tensors_in
from relsplit.lrp.recording.graph import left_out, let_in
from relsplit.lrp.recording.holders import Geometry, Holders
from relsplit.lrp.recording.kinds import Kinds
from relsplit.lrp.recording.modules import running_module, users_line
from relsplit.lrp.recording.remade import note_origin
from relsplit.lrp.recording.residual_blocks import Ancestry, Residual
from relsplit.lrp.recording.step import Step
from relsplit.lrp.recording.storages import overwrite, restride
from relsplit.lrp.walk import Watch


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
        in_graph: whether what is recorded is part of autograd's graph; see :mod:`relsplit.lrp.recording.graph`.
    """

    def __init__(self, options: Any, kinds: Kinds, modules: nn.Module | None = None, in_graph: bool = False) -> None:
        super().__init__()
        self.options = options
        self.facts = Facts()
        self.watch = Watch()
        self.ancestry = Ancestry()
        self.holders = Holders(self._restrided, self._overwritten, in_graph)
        self.in_graph = in_graph
        self.attentions: list[Attended] | None = None  # a list, where they are asked for
        self._kinds = kinds
        self._paths = {} if modules is None else {id(module): name for name, module in modules.named_modules()}
        self.is_paused = False
        self.written_in_pause: set[int] = set()  # storages
        self.reads_strides = False  # whether an operation took entries by their places in memory
        self._modules = modules
        self._weights: set[int] | None = None  # storages, where they are asked for
        self._guards: list[Any] = []
        self._tokens: list[Step] = []  # inputs
        self._choices: dict[int, StorageWeakRef] = {}
        self._path = ""
        self._is_inside = False

    def inside(self, path: str, begin: "Facts") -> "Recorder":
        """Return a recorder for the inside of an operation.

        Args:
            path: of the module that called it.
            begin: what had been counted then.
        """
        recorder = Recorder(self.options, self._kinds, in_graph=self.in_graph)
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

    def follow_given(self, tensor: Tensor, present: Tensor | None) -> Step:
        """Take ``tensor``, which the network is given, as an input.

        Args:
            tensor: whose relevance is asked for; integers are tokens.
            present: where it is no padding, booleans of its shape; None: everywhere.
        """
        step = self.follow(tensor)
        step.support = None if present is None else supported(present)
        if not tensor.is_floating_point():
            step.is_tokens = True
            self._tokens.append(step)
        return step

    def note_embedded(self, sources: Sequence[Step]) -> None:
        """Note that an embedding looked up ``sources``: the tokens that they are made of were not given in vain."""
        for tokens in self._tokens:
            tokens.is_embedded |= any(self.ancestry.comes_from(source.index, tokens.index) for source in sources)

    def note_choice(self, tensor: Tensor) -> None:
        """Note that ``tensor``, a constant to all that follows, says where activations are large, or the like."""
        storage = tensor.untyped_storage()
        self._choices[storage._cdata] = StorageWeakRef(storage)

    def is_choice(self, tensor: Tensor) -> bool:
        """Say whether ``tensor`` was made of comparisons of activations."""
        return tensor.untyped_storage()._cdata in self._choices

    def is_weight(self, tensor: Tensor) -> bool:
        """Say whether ``tensor`` is a parameter of the network, or a view of one."""
        if self._weights is None:
            parameters = () if self._modules is None else self._modules.parameters()
            self._weights = {parameter.untyped_storage()._cdata for parameter in parameters}
        return tensor.untyped_storage()._cdata in self._weights

    @property
    def is_differentiated(self) -> bool:
        """Whether the network runs in autograd's sight, which keeps what it needs itself."""
        return self.in_graph or self.attentions is not None

    @property
    def network(self) -> nn.Module:
        """The network whose modules give the steps their paths."""
        assert self._modules is not None, "the inside of an operation has no modules of its own"
        return self._modules

    def module_paths(self) -> list[str]:
        """Return the paths of the network's modules."""
        return list(self._paths.values())

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # PyTorch would load its compiler, seconds of work, to keep it away from this class

    def __enter__(self) -> "Recorder":
        # As the base class does, but for flags that PyTorch keeps for the whole process, where threads mix them up.
        if self.attentions is None:
            guard = left_out() if self.in_graph else torch._C._AutoDispatchBelowAutograd()
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
        with let_in() if self.in_graph else nullcontext():
            return self._carried_out(func, args, kwargs or {})

    def _carried_out(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        kind = self._kinds.of(func)
        of = self.holders.of
        read = {name: value for name, value in kwargs.items() if name not in kind.outs} if kind.outs else kwargs
        found = [(tensor, of(tensor)) for tensor in tensors_in(args, read)]
        sources = [(tensor, step) for tensor, step in found if step is not None]
        if self._tokens and not all(step.is_tokens for _, step in sources):
            # Beside activations, tokens are indices and numbers like any other.
            sources = [(tensor, step) for tensor, step in sources if not step.is_tokens]
        if kind.written:
            for tensor in kind.overwritten(args, kwargs):
                self.holders.protect(tensor)
                if self.is_paused:
                    self.written_in_pause.add(tensor.untyped_storage()._cdata)
                elif not sources:
                    self.holders.write(tensor, None)
        if not sources or self.is_paused:
            output = func(*args, **kwargs)
            if self._choices and any(self.is_choice(tensor) for tensor in tensors_in(args, read)):
                for made in tensors_in((output,), {}):
                    self.note_choice(made)
            return output
        call = Call(self, kind, func, args, kwargs, sources)
        output = call.carry_out()
        note_origin(call, output)
        return output

    def _restrided(self, whole: Step, stored: Geometry, read: Geometry, numel: int) -> Step:
        step = self.add("as_strided", whole.path, read[0], [whole])
        step.is_tokens = whole.is_tokens
        return restride(step, whole, stored, read, numel)

    def _overwritten(
        self, before: Step | None, part: Step | None, flat: Geometry, written: Geometry, device: torch.device
    ) -> Step:
        sources = [step for step in (before, part) if step is not None]
        step = self.add("overwrite", sources[-1].path, flat[0], sources)
        step.is_tokens = sources[-1].is_tokens
        return overwrite(step, before, part, flat, written, device)
