"""Weights written past PyTorch's version counter are seen, wherever in the tensor, by old and by new explainers."""

import copy
import warnings
from collections.abc import Callable

import pytest
import torch
from plain_networks import alike, assert_explains_what_answers, images, plain
from torch import Tensor, nn

from relsplit import LRP

WEIGHT = 2
"""The module whose weight (12, 8, 3, 3) is written to: 864 entries."""


def exposed(seed: int = 0) -> nn.Sequential:
    """A network in which every entry of that weight matters to the map of class 1."""
    network = plain(seed)
    with torch.no_grad():
        network[6].weight[1].abs_()
    return network


def one_entry(weight: Tensor) -> None:
    weight.data[5, 3, 1, 2] += 4


def last_entry(weight: Tensor) -> None:
    weight.data.view(-1)[-1] += 4


def two_rows_swapped(weight: Tensor) -> None:
    """Same sum, same sum of squares, same set of values."""
    weight.data[[3, 7]] = weight.data[[7, 3]]


def two_entries_swapped(weight: Tensor) -> None:
    flat = weight.data.view(-1)
    flat[[101, 102]] = flat[[102, 101]].clone()


def one_up_one_down(weight: Tensor) -> None:
    """Same sum."""
    weight.data.view(-1)[201] += 4
    weight.data.view(-1)[202] -= 4


def sign_of_one(weight: Tensor) -> None:
    """Same magnitudes."""
    weight.data.view(-1)[303] *= -1


def through_numpy(weight: Tensor) -> None:
    weight.detach().numpy()[4, 4, 1, 1] += 4


def under_inference_mode(weight: Tensor) -> None:
    with torch.inference_mode():
        weight[5, 3, 1, 2] += 4


def data_exchanged(weight: Tensor) -> None:
    weight.data = (weight.data + torch.linspace(-1, 1, weight.numel()).reshape(weight.shape).double()).clone()


def through_an_alias(weight: Tensor) -> None:
    nn.Parameter(weight.data)[5, 3, 1, 2].data.add_(4)


def exchanged_and_back_in_place(weight: Tensor) -> None:
    """The same storage, whole, by copy_ through .data."""
    weight.data.copy_(weight.data.flip(0))


WRITES: list[Callable[[Tensor], None]] = [
    one_entry,
    last_entry,
    two_rows_swapped,
    two_entries_swapped,
    one_up_one_down,
    sign_of_one,
    through_numpy,
    under_inference_mode,
    data_exchanged,
    through_an_alias,
    exchanged_and_back_in_place,
]


@pytest.mark.parametrize("rule", ["z_plus", "alpha2_beta1", "ratio"])
@pytest.mark.parametrize("write", WRITES, ids=lambda write: write.__name__)
def test_a_write_is_seen_by_who_holds_an_explainer(write: Callable[[Tensor], None], rule: str) -> None:
    network = exposed()
    lrp = LRP(network, rule=rule)
    lrp.attribute(images(), 1)
    write(network[WEIGHT].weight)
    untouched_by_any_explainer = copy.deepcopy(network)
    alike(lrp.attribute(images(), 1), LRP(untouched_by_any_explainer, rule=rule).attribute(images(), 1))


@pytest.mark.parametrize("write", WRITES, ids=lambda write: write.__name__)
def test_a_write_is_seen_by_a_new_explainer_while_the_old_one_lives(write: Callable[[Tensor], None]) -> None:
    network = exposed()
    old = LRP(network)
    old.attribute(images(), 1)
    write(network[WEIGHT].weight)
    assert_explains_what_answers(LRP(network), network, copy.deepcopy(network))


def test_a_write_between_two_calls_of_one_explainer_each_time() -> None:
    network = exposed()
    lrp = LRP(network)
    for step in range(6):
        network[WEIGHT].weight.data.view(-1)[17 * step] += 1
        assert_explains_what_answers(lrp, network, copy.deepcopy(network))


def test_a_network_made_under_inference_mode_may_be_written_to() -> None:
    with torch.inference_mode():
        network = exposed()
    lrp = LRP(network)
    lrp.attribute(images(), 1)
    with torch.inference_mode():
        network[WEIGHT].weight[5, 3, 1, 2] += 4
        twin = exposed()
        twin[WEIGHT].weight[5, 3, 1, 2] += 4
    with torch.no_grad():
        assert_explains_what_answers(lrp, network, twin)


def test_two_networks_on_one_weight_do_not_share_what_is_kept_of_it() -> None:
    one, other = exposed(), exposed(seed=1)
    other[WEIGHT].weight.data = one[WEIGHT].weight.data  # two parameters, one memory
    explainers = LRP(one), LRP(other)
    for lrp in explainers:
        lrp.attribute(images(), 1)
    one[WEIGHT].weight.data[5, 3, 1, 2] += 4
    for lrp, network in zip(explainers, (one, other), strict=True):
        assert_explains_what_answers(lrp, network, copy.deepcopy(network))


def test_first_layers_of_few_channels_are_looked_at_as_well() -> None:
    def network() -> nn.Sequential:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            first = nn.Conv2d(3, 8, 7, stride=2, padding=3)
        return nn.Sequential(first, *list(exposed())[1:]).double().eval()

    model = network()
    lrp = LRP(model, input_rule="activation")
    x = torch.rand(1, 3, 21, 21).double()
    lrp.attribute(x, 1)
    model[0].weight.data[3, 1, 4, 3] += 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = lrp.attribute(x, 1)
    alike(found, LRP(copy.deepcopy(model), input_rule="activation").attribute(x, 1))
