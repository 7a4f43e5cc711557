"""A network that returns one part of what another returns."""

from typing import Any

from torch import nn

from relsplit.networks.outputs import OutputChoice, chosen_output


class PartOf(nn.Module):
    """Runs a network as it is now, and hands on one part of its output, see :class:`relsplit.LRP`."""

    def __init__(self, model: nn.Module, output: OutputChoice) -> None:
        super().__init__()
        self.model = model
        self.training = False
        self._output = output

    def forward(self, *inputs: Any, **further: Any) -> Any:
        """Return the part."""
        return chosen_output(self.model(*inputs, **further), self._output)
