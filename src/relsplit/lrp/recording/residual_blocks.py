"""Residual blocks among recorded steps: which summand is the skip connection, and where the block begins."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Residual:
    """One addition of two values that depend on the input.

    Attributes:
        name: of the module that holds it; "layer1.0@2" for a second one there.
        fork: index of the step that both summands come from: the block's input.
        skip_is_first: whether the first summand is the skip connection.
        identity: whether the skip connection has no layers, and the branch has.
    """

    name: str
    fork: int
    skip_is_first: bool
    identity: bool


class Ancestry:
    """What every step was made of, by index. It holds numbers, no tensors and no steps."""

    def __init__(self) -> None:
        self._reads: list[tuple[int, ...]] = []
        self._is_layer: list[bool] = []
        # A step's ancestors, itself among them, as a bit mask: Python's long integers do this well.
        self._ancestors: list[int] = []
        self._used: dict[str, int] = {}
        self.layers_before: list[int] = []
        """The layers with weights on the longest way from the input to each step, itself included."""

    def add(self, reads: tuple[int, ...], is_layer: bool, before: int = 0) -> int:
        """Note a step that reads others, by index; return its own. ``before`` are the layers before an input."""
        index = len(self._reads)
        mask = 1 << index
        for source in reads:
            mask |= self._ancestors[source]
            before = max(before, self.layers_before[source])
        self._reads.append(reads)
        self._is_layer.append(is_layer)
        self._ancestors.append(mask)
        self.layers_before.append(before + is_layer)
        return index

    def comes_from(self, index: int, ancestor: int) -> bool:
        """Say whether a step was made of another, or is that."""
        return bool(self._ancestors[index] >> ancestor & 1)

    def residual(self, first: int, second: int, path: str, operation: str) -> Residual:
        """Describe the addition of two steps.

        The skip connection is the summand with fewer layers on its way from the fork; it is an identity when it has
        none.

        Args:
            first: index of a summand.
            second: index of the other one.
            path: of the module that adds.
            operation: names the block where no module does.
        """
        common = self._ancestors[first] & self._ancestors[second]
        fork = max(common.bit_length() - 1, 0)
        if common:
            counts = self._layers_between(fork, first), self._layers_between(fork, second)
        else:  # they come from different inputs
            counts = self.layers_before[first], self.layers_before[second]
        name = path or operation
        used = self._used[name] = self._used.get(name, 0) + 1
        return Residual(
            name if used == 1 else f"{name}@{used}", fork, counts[0] < counts[1], min(counts) == 0 < max(counts)
        )

    def _layers_between(self, fork: int, end: int) -> int:
        """Count the layers on the longest way from ``fork`` (excluded) to ``end`` (included)."""
        longest = {fork: 0}
        for index in range(fork + 1, end + 1):
            if self._ancestors[index] >> fork & 1:
                before = max(longest.get(source, 0) for source in self._reads[index])
                longest[index] = before + self._is_layer[index]
        return longest[end]
