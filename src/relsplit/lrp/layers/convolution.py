"""Convolutions of any dimension."""

import torch
from torch import Tensor

from relsplit.lrp.layers.linear_layer import spread_evenly
from relsplit.lrp.layers.phases import is_better_by_phases, phases, transpose_by_phases
from relsplit.lrp.layers.weights import WeightPart, WeightParts, in_format, memory_format


class Convolution:
    """A convolution of any dimension, grouped, dilated or transposed."""

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        stride: list[int],
        padding: list[int],
        dilation: list[int],
        transposed: bool,
        output_padding: list[int],
        groups: int,
    ) -> None:
        self.weight = weight
        self.bias = None if bias is None else bias.reshape(-1, *[1] * (weight.dim() - 2))
        self.output: Tensor | None = None
        self.geometry = (stride, padding, dilation, transposed, output_padding)
        self.groups = groups
        self._parts = WeightParts(weight)

    def apply(self, h: Tensor, part: WeightPart) -> Tensor:
        weight = self._parts.get(part, h)
        return torch.convolution(h, weight, None, *self.geometry, self.groups)

    @property
    def side_by_side(self) -> int | None:
        return 1 if self.groups == 1 and not self.geometry[3] else None

    def transpose(self, s: Tensor, part: WeightPart, h: Tensor) -> Tensor:
        stride, padding, dilation, transposed, _ = self.geometry
        if (
            s.device.type == "cpu"
            and not transposed
            and is_better_by_phases(self.weight, stride, dilation, self.groups)
        ):
            return transpose_by_phases(s, self._parts.get(phases(part, stride), s), stride, padding, h)
        weight = self._parts.get(part, s)
        return self._transpose(s, weight, h, self.groups)

    def _transpose(self, s: Tensor, weight: Tensor, h: Tensor, groups: int) -> Tensor:
        # The input half of the convolution's own backward: no graph, and no gradient of the weight.
        result: Tensor = torch.ops.aten.convolution_backward(
            s, h, weight, None, *self.geometry, groups, [True, False, False]
        )[0]
        return result

    def spread(self, relevance: Tensor, support: Tensor | None, h: Tensor) -> Tensor:
        # Every channel of a group receives the same, so one box filter per group does it.
        n, spatial = h.shape[0], h.shape[2:]
        groups = self.groups
        box = in_format(relevance.new_ones(groups, 1, *self.weight.shape[2:]), memory_format(relevance))
        if support is None:  # the same for all groups and images
            available = relevance.new_full((1, 1, *spatial), h.shape[1] / groups)
            count = torch.convolution(available, box[:1], None, *self.geometry, 1)
        else:
            available = support.reshape(n, groups, -1, *spatial).sum(2)
            count = torch.convolution(available, box, None, *self.geometry, groups)
        total = relevance
        if relevance.shape[1] > groups:
            total = relevance.reshape(n, groups, -1, *relevance.shape[2:]).sum(2)
        result = self._transpose(total / count.clamp(min=1), box, h[:, :groups], groups)
        if groups == 1:
            result = result.expand(h.shape)
        elif h.shape[1] > groups:
            result = result.unsqueeze(2).expand(n, groups, h.shape[1] // groups, *spatial).reshape(h.shape)
        if support is not None:
            result = result * support
        return spread_evenly(result, total * (count < 0.5), support)

    def reach(self, support: Tensor) -> Tensor:
        n, groups, spatial = len(support), self.groups, support.shape[2:]
        box = support.new_ones(groups, 1, *self.weight.shape[2:])
        available = support.reshape(n, groups, -1, *spatial).amax(2)
        seen = torch.convolution(available, box, None, *self.geometry, groups).unsqueeze(2) > 0.5
        transposed = self.geometry[3]
        per_group = self.weight.shape[1] if transposed else len(self.weight) // groups
        return seen.expand(n, groups, per_group, *seen.shape[3:]).reshape(n, -1, *seen.shape[3:])
