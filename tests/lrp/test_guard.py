"""Whoever says that relevance is conserved is held to it, whatever the other rules of the network say."""

import warnings
from collections import OrderedDict

import pytest
import torch
from plain_networks import images, plain
from torch import Tensor, nn

from relsplit import LRP


class Spread:
    """Relevance evenly, times a factor; says of itself what it is told to."""

    def __init__(self, factor: float, conserves: bool | None) -> None:
        self.factor = factor
        if conserves is not None:
            self.conserves = conserves

    def propagate(self, layer, h: Tensor, relevance: Tensor, *, nonnegative: bool, support: Tensor | None) -> Tensor:
        """Return it spread evenly, times the factor."""
        return layer.spread(relevance, support, h) * self.factor


class Share:
    """A splitting of which both parts are the whole less ``lost``."""

    def __init__(self, share: float, conserves: bool | None) -> None:
        self.fraction = share
        if conserves is not None:
            self.conserves = conserves

    def share(self, skip: Tensor, branch: Tensor) -> Tensor:
        """Return the skip connection's share."""
        return torch.full_like(skip, self.fraction)


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.stem, self.branch, self.fc = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, padding=1), nn.Linear(4, 3)
        self.double().eval()

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x).relu()
        return self.fc((h + self.branch(h).relu()).mean((2, 3)))


def plain_with_names() -> nn.Module:
    names = ("lower", "relu1", "upper", "relu2", "pool", "flatten", "head")
    return nn.Sequential(OrderedDict(zip(names, plain(), strict=True))).eval()


def warned(lrp: LRP) -> list[str]:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        lrp.attribute(images(), 1)
    return [str(each.message) for each in told if "not conserved" in str(each.message)]


def test_one_rule_that_promises_nothing_does_not_switch_the_guard_off() -> None:
    honest, liar = Spread(0.9, conserves=False), Spread(0.5, conserves=True)
    told = warned(LRP(plain_with_names(), rule={"upper": honest, "head": liar, "*": "z_plus"}))
    assert len(told) == 1
    assert "head" in told[0]  # the step that broke its promise is named, not the one that gave none
    assert "\n" not in told[0]
    told = warned(LRP(plain_with_names(), rule={"head": honest, "upper": liar, "*": "z_plus"}))
    assert len(told) == 1
    assert "upper" in told[0]


def test_epsilon_with_its_biases_does_not_hide_the_others() -> None:
    told = warned(LRP(Residual(), rule={"fc": "epsilon", "branch": Spread(0.5, conserves=True), "*": "z_plus"}))
    assert len(told) == 1
    assert "branch" in told[0]


def test_what_nobody_promised_is_no_breach() -> None:
    assert warned(LRP(plain_with_names(), rule={"upper": Spread(0.5, conserves=False), "*": "z_plus"})) == []
    assert warned(LRP(Residual(), rule="epsilon")) == []
    assert warned(LRP(plain(), rule="z_plus", stabilizer=1e-2)) == []
    assert warned(LRP(plain())) == []


def test_a_splitting_that_promises_nothing_does_not_switch_the_guard_off() -> None:
    rule = {"branch": Spread(0.5, conserves=True), "*": "z_plus"}
    told = warned(LRP(Residual(), Share(0.3, conserves=False), rule=rule))
    assert len(told) == 1
    assert "branch" in told[0]
    assert warned(LRP(Residual(), Share(0.3, conserves=False))) == []


def test_what_does_not_say_whether_it_conserves_is_refused_in_one_line() -> None:
    for options in ({"rule": Spread(1.0, None)}, {"rule": {"*": Spread(1.0, None)}}, {"input_rule": Spread(1.0, None)}):
        with pytest.raises(ValueError, match="conserves") as caught:
            LRP(plain(), **options)
        assert "\n" not in str(caught.value)
        assert "Spread" in str(caught.value)
    with pytest.raises(ValueError, match="conserves") as caught:
        LRP(Residual(), Share(0.5, None))
    assert "\n" not in str(caught.value)


def test_losses_that_cancel_each_other_are_two_breaches() -> None:
    """Half and twice: the map's sum is right, and two steps are not."""
    rule = {"upper": Spread(0.5, conserves=True), "head": Spread(2.0, conserves=True), "*": "z_plus"}
    lrp = LRP(plain_with_names(), rule=rule)
    where = [leak.where for leak in lrp.check(images(), 1).leaks]
    assert any("upper" in each for each in where)
    assert any("head" in each for each in where)


@pytest.mark.parametrize("max_pool", ["average", "winner"])
def test_a_number_that_all_images_share_has_no_images(max_pool: str) -> None:
    class Shifted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            h = self.first(x).relu()
            return self.last((h + h.max()).mean((2, 3)))

    torch.manual_seed(0)
    lrp = LRP(Shifted().eval(), max_pool=max_pool)  # type: ignore[arg-type]
    x = torch.rand(1, 3, 8, 8)
    relevance, sums = lrp.attribute(x, 0, return_sums=True)
    torch.testing.assert_close(relevance.sum((1, 2, 3)), sums["output"])
    assert lrp.check(x, 0).gap < 1e-5
