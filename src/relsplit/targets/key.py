"""A named part of what a network returns."""

from dataclasses import dataclass
from typing import Any

from relsplit.errors import InputError
from relsplit.networks.outputs import chosen_output
from relsplit.targets.numbers import is_whole


@dataclass(frozen=True, eq=False)
class Key:
    """Of a dictionary, a dataclass (a ``ModelOutput`` of the transformers library), or a tuple: one part.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from relsplit import LRP
        >>> from relsplit.targets import Key
        >>> class Named(nn.Linear):
        ...     def forward(self, table):
        ...         return {"species": super().forward(table), "size": table}
        >>> tuple(LRP(Named(6, 3)).attribute(torch.rand(2, 6), Key("species", 2)).shape)
        (2, 6)

    Args:
        name: of the part, or its place.
        target: what is explained of it: a class, one for each image, None for the predicted one, or a function of it.

    Raises:
        InputError: a name that is neither text nor a whole number.
    """

    name: str | int
    target: Any = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) and not is_whole(self.name):
            raise InputError(f"target: Key takes the name of a part, or its number, not {self.name!r}")

    def part(self, output: Any) -> Any:
        """Return the part.

        Raises:
            InputError: the network returns none of that name.
        """
        return chosen_output(output, self.name)
