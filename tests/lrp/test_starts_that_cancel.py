"""A start whose parts cancel (one class against another) is judged by its magnitude, not by its sum."""

import math
import re
import warnings
from collections.abc import Callable

import pytest
import torch
from plain_networks import images, plain
from torch import Tensor

from relsplit import LRP


def near_balance(scores: Tensor) -> Tensor:
    """+1 for class 0, -(1 - 1e-5) for class 1: the sum is 1e-5."""
    start = torch.zeros_like(scores)
    start[:, 0], start[:, 1] = 1, -(1 - 1e-5)
    return start


def balance(scores: Tensor) -> Tensor:
    start = torch.zeros_like(scores)
    start[:, 0], start[:, 1] = 1, -1
    return start


def nothing(scores: Tensor) -> Tensor:
    return torch.zeros_like(scores)


def some_images_nothing(scores: Tensor) -> Tensor:
    start = balance(scores)
    start[0] = 0
    return start


STARTS: list[Callable[[Tensor], Tensor]] = [near_balance, balance, nothing, some_images_nothing]


@pytest.mark.parametrize("start", STARTS, ids=lambda start: start.__name__)
def test_no_false_alarm_in_float32(start: Callable[[Tensor], Tensor]) -> None:
    lrp = LRP(plain().float(), start=start)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        relevance = lrp.attribute(images().float())
    assert relevance.isfinite().all()


@pytest.mark.parametrize("start", STARTS, ids=lambda start: start.__name__)
def test_check_speaks_in_numbers(start: Callable[[Tensor], Tensor]) -> None:
    found = LRP(plain().float(), start=start).check(images().float())
    assert math.isfinite(found.gap)
    assert found.gap <= 1e-5
    assert not re.search(r"\b(nan|inf)\b|nan%|inf%", str(found)), str(found)
    assert all(math.isfinite(leak.share) for leak in found.leaks)


class LosesPraise:
    """A rule that says it conserves, and loses half of what is positive."""

    conserves = True

    def propagate(self, layer, h: Tensor, relevance: Tensor, *, nonnegative: bool, support: Tensor | None) -> Tensor:
        """Return the rest, spread evenly."""
        return layer.spread(relevance - relevance.clamp(min=0) / 2, support, h).clone()


def test_a_real_loss_is_still_seen_where_the_start_cancels() -> None:
    lrp = LRP(plain(), start=balance, rule={"2": LosesPraise(), "*": "z_plus"})
    with pytest.warns(UserWarning, match="not conserved"):
        lrp.attribute(images())
    found = lrp.check(images())
    assert 0.01 <= found.gap <= 1
    assert len(found.leaks) == 1


def test_a_class_of_probability_zero_is_no_leak() -> None:
    network = plain().float()
    with torch.no_grad():
        network[6].weight.mul_(1e5)
    x = images(3).float()
    worst = network(x).argmin(1)
    lrp = LRP(network)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (lrp.attribute(x, worst) == 0).all()
    assert not re.search(r"nan|inf%", str(lrp.check(x, worst)))
