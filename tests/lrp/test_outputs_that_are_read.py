"""Rules that divide by what a layer made: it is kept as it was, and not computed again."""

from typing import Any

import pytest
import torch
from dense_oracle import propagate
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from relsplit import LRP
from relsplit.lrp.rules.choice import rule_choice
from relsplit.lrp.rules.epsilon import Epsilon
from relsplit.lrp.rules.mixture import Mixture
from relsplit.lrp.rules.rule import Place, Rule, reads_output
from relsplit.lrp.rules.z_plus import ZPlus

EPSILON: dict[str, Any] = {"rule": "epsilon", "input_rule": "epsilon", "start": "logit", "stabilizer": 1e-6}


class Products(TorchDispatchMode):
    """Counts products of matrices."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        self.count += func._schema.name in ("aten::mm", "aten::addmm", "aten::bmm", "aten::linear")
        return func(*args, **(kwargs or {}))


class WrittenOver(nn.Module):
    """What its layers make is written over at once."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        hidden: Tensor = self.first(x)
        hidden.sub_(0.1).clamp_(min=0)
        return self.second(hidden)  # type: ignore[no-any-return]


def seeded(make: Any) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make().double().eval()  # type: ignore[no-any-return]


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_epsilon_takes_one_product_a_layer_back() -> None:
    network = seeded(lambda: nn.Sequential(nn.Linear(6, 8), nn.ReLU(inplace=True), nn.Linear(8, 8), nn.Linear(8, 3)))
    with Products() as forward, torch.no_grad():
        network(drawn(2, 6))
    with Products() as both:
        LRP(network, **EPSILON).attribute(drawn(2, 6))
    assert (forward.count, both.count) == (3, 6)


def test_what_a_layer_made_is_read_as_it_was_before_it_was_written_over() -> None:
    network, x = seeded(WrittenOver), drawn(2, 6)
    found = LRP(network, **EPSILON).attribute(x)
    first, second = network.first, network.second
    with torch.no_grad():
        z = first(x)
        hidden = (z - 0.1).clamp(min=0)
        scores = second(hidden)
        start = scores * torch.nn.functional.one_hot(scores.argmax(1), 3)
        middle = hidden * (start / (scores + 1e-6 * scores.sign()) @ second.weight)
        expected = x * (middle / (z + 1e-6 * z.sign()) @ first.weight)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_a_maximum_is_no_mean_that_a_rule_could_read() -> None:
    network, x = seeded(lambda: nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 3))), drawn(2, 2, 4, 4).abs()
    found = LRP(network, **EPSILON).attribute(x)
    head = LRP(network[1:], **EPSILON).attribute(nn.functional.max_pool2d(x, 2))
    expected = propagate(lambda h: nn.functional.avg_pool2d(h, 2), x, head, "epsilon")
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize(
    ("given", "path", "kind", "expected"),
    [
        ("epsilon", "a", "dense", (True, True)),
        ("z_plus", "a", "dense", (True, False)),
        ("alpha2_beta1", "a", "dense", (False, False)),
        ("epsilon_plus", "a", "dense", (True, True)),
        ("epsilon_plus", "a", "convolution", (True, False)),
        (Mixture(ZPlus(), Epsilon(), depth=0.5), "a", "dense", (True, True)),
        (Mixture(ZPlus(), Epsilon(), 3), "a", "dense", (True, False)),
        ({"a": "epsilon", "*": "z_plus"}, "a.b", "dense", (True, True)),
        ({"a": "epsilon", "*": "z_plus"}, "b", "dense", (True, False)),
        ({"a": "epsilon"}, "b", "dense", (False, False)),
    ],
)
def test_only_what_a_rule_may_read_is_kept(
    given: "str | Rule", path: str, kind: Any, expected: tuple[bool, bool]
) -> None:
    """Of inputs of both signs, and of those that are not negative."""
    choice = rule_choice(given, 0.0)
    places = [Place(path, 0, float("nan"), kind, nonnegative, inputs=64) for nonnegative in (False, True)]
    assert tuple(reads_output(choice, place) for place in places) == expected


def test_on_an_accelerator_z_plus_asks_nothing_and_keeps_nothing() -> None:
    assert not reads_output(ZPlus(), Place("a", 0, 0.0, "dense", False, "cuda", 768))


def test_nothing_is_kept_of_units_of_few_inputs() -> None:
    """As of a convolution of each channel by itself: z+ goes by the signs there."""
    assert not reads_output(ZPlus(), Place("a", 0, 0.0, "convolution", inputs=49))
    assert reads_output(Epsilon(), Place("a", 0, 0.0, "convolution", inputs=49))
