"""Values that are made again when relevance comes by, instead of kept until then.

The way back needs what went into a layer, and rules that divide by what a layer made need that as well. Between the two
there is often but an activation or a copy: carried out once more, it costs less than the memory that it would take.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from torch import Tensor

from relsplit.lrp.recording.again import Again
from relsplit.lrp.recording.call import Call
from relsplit.lrp.recording.step import Saved

_CHEAP = {
    "gelu", "relu", "silu", "tanh", "sigmoid", "hardtanh", "hardswish", "hardsigmoid", "elu", "leaky_relu", "mish",
    "softplus", "add", "sub", "mul", "div", "neg", "pow", "square", "clone", "contiguous",
}  # fmt: skip
"""Operations that take about as long as to write their result down."""
_MOST_STEPS = 8
"""One after another: an activation that is written out has so many, a residual stream as many as there are blocks."""


class Origin(Protocol):
    """Has the value of a whole storage on the way back.

    Attributes:
        steps: how many operations, one after another, have to be carried out for it.
    """

    @property
    def steps(self) -> int:
        """See above."""

    def expect_reader(self) -> None:
        """Note that one more is going to read it."""

    def read(self) -> Tensor:
        """Return the value, contiguous."""


class Remade(Saved):
    """A tensor that is not kept, but made again when it is asked for: a view of what an origin has.

    Args:
        origin: of the storage.
        like: the tensor, which is a view of that storage.
    """

    __slots__ = ("_geometry", "_origin")

    def __init__(self, origin: Origin, like: Tensor) -> None:
        self._origin = origin
        self._geometry = like.shape, like.stride(), int(like.storage_offset())
        origin.expect_reader()

    @property
    def steps(self) -> int:
        """How many operations, one after another, have to be carried out for it."""
        return self._origin.steps

    @property
    def tensor(self) -> Tensor:
        """The value, made again."""
        return self._origin.read().as_strided(*self._geometry)


class Kept:
    """A value that is kept anyway.

    Args:
        saved: fills its storage.
    """

    steps = 0

    def __init__(self, saved: Saved) -> None:
        self._saved = saved

    def expect_reader(self) -> None:
        """Nothing has to be done for one."""

    def read(self) -> Tensor:
        """Return the value, contiguous."""
        return self._saved.tensor


class MadeAgain:
    """A value as the result of a cheap operation; where several read it, it is kept from the first to the last.

    Args:
        again: the operation.
        sources: what it is carried out on.
    """

    def __init__(self, again: Callable[[Sequence[Tensor]], Tensor], sources: Sequence[Remade]) -> None:
        self._again = again
        self._sources = sources
        self.steps = 1 + max(source.steps for source in sources)
        self._readers = 0
        self._value: Tensor | None = None

    def expect_reader(self) -> None:
        """Note that one more is going to read it."""
        self._readers += 1

    def read(self) -> Tensor:
        """Return the value, contiguous, which fills its storage."""
        value = self._value
        if value is None:
            value = self._again([source.tensor for source in self._sources]).contiguous()
        self._readers -= 1
        self._value = value if self._readers > 0 else None
        return value


def note_origin(call: Call, output: object) -> None:
    """Note how ``output`` came about, if it can be made again of what is kept anyway.

    Args:
        call: that has run.
        output: that it returned.
    """
    if call.name not in _CHEAP or call.is_in_place or call.recorder.is_differentiated:
        return
    if not isinstance(output, Tensor) or not fills_storage(output):
        return
    holders = call.recorder.holders
    sources = []
    for tensor, _ in call.sources:
        kept = holders.had_again(tensor)
        if kept is None or tensor.untyped_storage()._cdata == output.untyped_storage()._cdata:
            return
        sources.append(kept)
    origin = MadeAgain(Again(call, call.sources), sources)
    if origin.steps <= _MOST_STEPS:
        holders.put_origin(output, origin)


def fills_storage(tensor: Tensor) -> bool:
    """Say whether a tensor is all that its storage holds, in order."""
    return tensor.is_contiguous() and tensor.numel() * tensor.element_size() == tensor.untyped_storage().nbytes()
