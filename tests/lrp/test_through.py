"""Relevance through one channel of a module alone: all channels together are what passes the module."""

from typing import Any

import numpy as np
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
        ({"2": -5}, r"module '2' hands on \(2, 4, \d+, \d+\), so a channel is one of 0 to 3, not -5"),
        ({"2": [0, 4]}, r"a channel is one of 0 to 3, not \[0, 4\]"),
        ({"2": []}, r"a channel is one of 0 to 3, not \[\]"),
        ({"2": True}, r"a channel is one of 0 to 3, not True"),
        ({"2": "1"}, r"a channel is one of 0 to 3, not '1'"),
        ({"2": [0.5]}, r"a channel is one of 0 to 3, not \[0.5\]"),
        ({"2": torch.tensor([1, 7])}, r"a channel is one of 0 to 3, not \[1, 7\]"),
        ({"2": torch.tensor([1, 2, 3])}, r"expected \(2,\) or \(2, K\) of them, not \(3,\)"),
        ({"2": torch.zeros(2, 0, dtype=torch.long)}, r"expected \(2,\) or \(2, K\) of them, not \(2, 0\)"),
        ({"2": torch.full((4, 1, 1), torch.nan)}, "the mask of module '2' holds NaN or infinity"),
        ({"layer9": 0}, "no module is called 'layer9': the network has 0, 1, 2"),
        ({"2": 4}, r"module '2' hands on \(2, \d+, \d+, \d+\), so a channel is one of 0 to 3"),
        ({"2": torch.ones(7, 7)}, r"a mask \(7, 7\) does not fit what module '2' hands on"),
    ],
)
def test_channels_that_are_not_there(through: Any, words: str) -> None:
    with pytest.raises(InputError, match=words) as error:
        LRP(small()).attribute(images(2, 10).double(), through=through)
    assert "\n" not in str(error.value)


def test_several_channels_are_the_sum_of_each() -> None:
    lrp, x = LRP(small()), images(2, 10).double()
    each = [lrp.attribute(x, 1, through={"2": channel}) for channel in range(4)]
    some = lrp.attribute(x, 1, through={"2": [3, 0, -1]})
    torch.testing.assert_close(some, each[0] + each[3], rtol=1e-9, atol=1e-15)
    torch.testing.assert_close(lrp.attribute(x, 1, through={"2": np.array(2)}), each[2])


def test_every_sample_its_own_channels() -> None:
    """The channels that are most relevant, as ``topk`` has them."""
    lrp, x = LRP(small()), images(2, 10).double()
    each = torch.stack([lrp.attribute(x, 1, through={"2": channel}) for channel in range(4)], 1)
    of_channels = lrp.attribute(x, 1, at="2").sum((2, 3))
    torch.testing.assert_close(each.flatten(2).sum(2), of_channels, rtol=1e-9, atol=1e-15)
    best = of_channels.topk(2).indices
    found = lrp.attribute(x, 1, through={"2": best})
    torch.testing.assert_close(found, torch.stack([each[n, best[n]].sum(0) for n in range(2)]))
    torch.testing.assert_close(found.sum((1, 2, 3)), of_channels.topk(2).values.sum(1))
    own = lrp.attribute(x, 1, through={"2": torch.tensor([3, 1])})
    torch.testing.assert_close(own, torch.stack([each[0, 3], each[1, 1]]))


def test_modules_side_by_side() -> None:
    """What passes one of two branches has not passed the other: nothing is left, which no map should say in silence."""

    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right, self.head = nn.Linear(3, 4), nn.Linear(3, 4), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head((self.left(x) + self.right(x)).relu())

    lrp = LRP(Branches())
    with pytest.raises(InputError, match="no relevance passes module 'left'"):
        lrp.attribute(torch.rand(2, 3), through={"left": 0, "right": 1})


@pytest.mark.parametrize("frozen", [True, False])
def test_modules_of_a_layer_in_one_kernel(frozen: bool) -> None:
    """Without gradients PyTorch has one kernel for an encoder layer: the modules inside are found all the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        model = nn.Sequential(nn.Linear(6, 8), layer, nn.Flatten(), nn.Linear(40, 3)).double().eval()
        x = torch.rand(3, 5, 6).double()
    model.requires_grad_(not frozen)
    lrp = LRP(model)
    with torch.no_grad():
        inside = lrp.attribute(x, 1, at=["1.linear1", "1.self_attn"])
        parts = [lrp.attribute(x, 1, through={"1.linear1": torch.eye(16)[k].double()}) for k in range(16)]
    assert inside["1.linear1"].shape == (3, 5, 16)
    expected = LRP(model.requires_grad_()).attribute(x, 1, at=["1.linear1", "1.self_attn"])
    for name, values in expected.items():
        torch.testing.assert_close(inside[name], values)
    torch.testing.assert_close(
        torch.stack(parts).flatten(2).sum(2), inside["1.linear1"].sum(1).T, rtol=1e-9, atol=1e-15
    )


def test_a_module_that_is_called_twice_is_read_at_its_last_call() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.head, self.relu = nn.Linear(4, 4), nn.Linear(4, 3), nn.ReLU(inplace=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.relu(self.layer(self.relu(self.layer(x)))))

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        lrp, x = LRP(Shared().double()), torch.rand(3, 4).double()
    for name in ("layer", "relu"):
        of_channels = lrp.attribute(x, 1, at=name)
        parts = torch.stack([lrp.attribute(x, 1, through={name: channel}).sum(1) for channel in range(4)], 1)
        torch.testing.assert_close(parts, of_channels)
    torch.testing.assert_close(parts.sum(1), lrp.attribute(x, 1).sum(1))


def test_a_module_that_does_nothing_is_said() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(), nn.Linear(4, 3))
    for option in ({"at": "1"}, {"through": {"1": 0}}):
        with pytest.raises(InputError, match="no relevance passes module '1': it is off its way, or does nothing"):
            LRP(model).attribute(torch.rand(2, 4), 1, **option)


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
