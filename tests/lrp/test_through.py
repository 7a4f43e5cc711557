"""Relevance through one channel of a module alone: all channels together are what passes the module."""

from typing import Any

import pytest
import torch
from residual_networks import images
from torch import Tensor, nn

from relsplit import LRP
from relsplit.errors import InputError
from relsplit.targets import Value


def test_a_channel_by_hand() -> None:
    """What lies before the module, with the relevance that by-hand z+ puts at one of its channels."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        features = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 4, 3), nn.ReLU())
        head = nn.Linear(4, 3)
    model = nn.Sequential(features, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head).double()
    x = images(2, 12).double()
    values = features(x).detach()
    pooled, p = values.mean((2, 3)), model(x).softmax(1)[:, 1].detach()
    contributions = (head.weight[1] * pooled).clamp(min=0).detach()
    of_channels = contributions / contributions.sum(1, keepdim=True) * p[:, None]
    within = values / values.sum((2, 3), keepdim=True).clamp(min=1e-300) * of_channels[:, :, None, None]
    for channel in range(4):
        mask = (torch.arange(4) == channel)[None, :, None, None]
        found, sums = LRP(model).attribute(x, 1, return_sums=True, through={"0": channel})
        expected = LRP(features).attribute(x, lambda out: within * mask)  # noqa: B023
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-14)
        torch.testing.assert_close(sums["output"], of_channels[:, channel])
        torch.testing.assert_close(found.sum((1, 2, 3)), sums["output"], rtol=1e-9, atol=1e-14)
        assert torch.equal(found, LRP(model).attribute(x, 1, through={"0": mask}))


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return (x + self.conv(x)).relu()


def small() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.ReLU(), Block(), Block(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
        ).double()


@pytest.mark.parametrize("options", [{}, {"rule": "epsilon"}, {"rule": "gamma", "split": "symmetric"}])
def test_channels_together_are_the_map(options: dict[str, Any]) -> None:
    lrp, x = LRP(small(), **options), images(2, 10).double()
    whole = lrp.attribute(x, 1)
    parts = [lrp.attribute(x, 1, through={"3": channel}) for channel in range(4)]
    torch.testing.assert_close(torch.stack(parts).sum(0), whole, rtol=1e-7, atol=1e-12)
    # Two modules one after another: through a channel of each.
    both = lrp.attribute(x, 1, through={"2": 0, "3": 2})
    others = [lrp.attribute(x, 1, through={"3": 2, "2": channel}) for channel in range(4)]
    assert torch.equal(both, others[0])
    torch.testing.assert_close(torch.stack(others).sum(0), parts[2], rtol=1e-7, atol=1e-12)


def test_what_goes_around_a_module_is_left_out() -> None:
    lrp, x = LRP(small()), images(2, 10).double()
    through = lrp.attribute(x, 1, through={"3.conv": torch.ones(1).double()})
    inside = lrp.attribute(x, 1, at="3.conv")
    torch.testing.assert_close(through.sum((1, 2, 3)), inside.sum((1, 2, 3)), rtol=1e-9, atol=1e-14)
    assert (through.sum((1, 2, 3)) < lrp.attribute(x, 1).sum((1, 2, 3))).all()


def test_features_of_tokens() -> None:
    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.encoder = nn.Embedding(20, 8), nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
            self.head = nn.Linear(8, 1)

        def forward(self, ids: Tensor) -> Tensor:
            return self.head(self.encoder(self.words(ids)).mean(1))

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, ids = Reader().double().eval(), torch.randint(20, (2, 5))
    whole = LRP(model).attribute(ids, Value())
    parts = [LRP(model).attribute(ids, Value(), through={"encoder": torch.eye(8)[k]}) for k in range(8)]
    torch.testing.assert_close(torch.stack(parts).sum(0), whole, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize(
    ("through", "words"),
    [
        ({}, "expected channels by the paths of modules"),
        ("layer2", "expected channels by the paths of modules"),
        ({"layer9": 0}, "no module is called 'layer9': the network has 0, 1, 2"),
        ({"2": 4}, r"module '2' hands on \(2, \d+, \d+, \d+\), so a channel is one of 0 to 3"),
        ({"2": torch.ones(7, 7)}, r"a mask \(7, 7\) does not fit what module '2' hands on"),
    ],
)
def test_channels_that_are_not_there(through: Any, words: str) -> None:
    with pytest.raises(InputError, match=words) as error:
        LRP(small()).attribute(images(2, 10).double(), through=through)
    assert "\n" not in str(error.value)


def test_a_module_without_relevance() -> None:
    class Unused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = nn.Linear(3, 3), nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            self.unused(x)
            return self.used(x)

    with pytest.raises(InputError, match="no relevance passes module 'unused'"):
        LRP(Unused()).attribute(torch.rand(2, 3), through={"unused": 0})
