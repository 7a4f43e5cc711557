"""What is computed from weights is kept until they change, however many of them are looked at together."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from relsplit import LRP
from relsplit.lrp.layers.kept import Kept, samples_read_together


class Operators(TorchDispatchMode):
    """Notes every operator that PyTorch carries out."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(func.name())
        return func(*args, **(kwargs or {}))


def doubled(tensors: list[Tensor]) -> Callable[[Kept[Tensor]], Tensor]:
    return lambda kept: kept.get("double", tensors, lambda: 2 * tensors[0])


CHANGES: dict[str, Callable[[Tensor], object]] = {
    "in place": lambda tensor: tensor.add_(1),
    "through data": lambda tensor: tensor.data.add_(1),
    "new memory": lambda tensor: tensor.set_((tensor + 1).contiguous()),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_change_between_two_looks_is_seen(change: Callable[[Tensor], object], layout: torch.memory_format) -> None:
    weight, other = torch.rand(40, 3, 3, 3).contiguous(memory_format=layout), torch.rand(5, dtype=torch.float64)
    kept, of = Kept[Tensor](), doubled([weight, other])
    with samples_read_together([weight, other, torch.tensor(3)]):
        first = of(kept)
        assert of(kept) is first
    change(weight)
    with samples_read_together([weight, other]):
        assert torch.equal(of(kept), 2 * weight)


def test_nobody_looks_at_the_tensors_again_within() -> None:
    weights = [torch.rand(300, 7), torch.rand(11)]
    kept, of = Kept[Tensor](), doubled(weights)
    of(kept)
    with samples_read_together(weights), Operators() as operators:
        of(kept)
    # Two numbers a tensor are compared, both of them outside the network's memory.
    assert {name for name in operators.names if name not in ("aten::detach", "aten::equal")} == set()
    with Operators() as operators:
        of(kept)
    assert "aten::slice.Tensor" in operators.names


def test_what_has_no_plain_memory_is_left_out() -> None:
    odd = [torch.eye(3).to_sparse(), torch.empty(2, device="meta"), nn.LazyLinear(3).weight]
    with samples_read_together(odd):
        pass


def test_relevance_follows_weights_that_change_between_two_passes() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 4)).eval()
    images = torch.rand(4, 3, 8, 8).contiguous(memory_format=torch.channels_last)
    explainer = LRP(network)
    for _ in range(3):
        with explainer._weights_looked_at(torch.device("cuda")):
            relevance = explainer.attribute(images)
        assert torch.equal(relevance, LRP(network).attribute(images))
        network[0].weight.data.mul_(torch.linspace(-1, 1, 3).reshape(1, 3, 1, 1))
        network[1].running_mean.add_(0.1)
