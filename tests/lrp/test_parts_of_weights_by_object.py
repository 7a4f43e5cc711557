"""Two rules that call their parts of a weight alike do not get each other's."""

import torch
from plain_networks import alike, images, plain
from torch import Tensor

from relsplit import LRP
from relsplit.lrp.layers.linear_layer import LinearLayer
from relsplit.lrp.layers.weights import WeightPart
from relsplit.lrp.rules.quotient import positive_quotient


class ByWeights:
    """Relevance by a non-negative function of the weights alone."""

    conserves = True

    def __init__(self, part: WeightPart) -> None:
        self.part = part

    def propagate(
        self, layer: LinearLayer, h: Tensor, relevance: Tensor, *, nonnegative: bool, support: Tensor | None
    ) -> Tensor:
        """Return the relevance of ``h``."""
        everywhere = torch.ones_like(h) if support is None else support
        s, lost = positive_quotient(relevance, layer.apply(everywhere, self.part), 0.0)
        result = layer.transpose(s, self.part, h) * everywhere
        return result if lost is None else result + layer.spread(lost, support, h)


def squares() -> ByWeights:
    return ByWeights(WeightPart("square", lambda weight: weight.square()))


def squares_of_the_positive() -> ByWeights:
    return ByWeights(WeightPart("square", lambda weight: weight.clamp(min=0).square()))


def test_two_explainers_with_parts_of_one_name() -> None:
    network, x = plain(), images()
    alone = [LRP(plain(), rule=rule()).attribute(x, 1) for rule in (squares, squares_of_the_positive)]
    assert not torch.allclose(*alone)
    first, second = LRP(network, rule=squares()), LRP(network, rule=squares_of_the_positive())
    for lrp, expected in ((first, alone[0]), (second, alone[1]), (first, alone[0])):
        alike(lrp.attribute(x, 1), expected)


def test_two_rules_with_parts_of_one_name_in_one_network() -> None:
    network, x = plain(), images()
    network[2] = torch.nn.Sequential(network[2], torch.nn.ReLU(), network[2].__class__(12, 12, 1, bias=False).double())
    shared = torch.nn.Sequential(network[0], network[1], network[2], *list(network)[3:])
    mixed = {"0": squares(), "2.0": squares_of_the_positive(), "*": "z_plus"}
    twin_mixed = {
        "0": squares(),
        "2.0": ByWeights(WeightPart("another name", lambda weight: weight.clamp(min=0).square())),
        "*": "z_plus",
    }
    first = LRP(network, rule=mixed).attribute(x, 1)
    alike(first, LRP(shared, rule=twin_mixed).attribute(x, 1))
    # One layer twice, by one rule and by the other.
    pair = LRP(network, rule={"2": squares(), "*": "z_plus"}), LRP(network, rule={"2": mixed["2.0"], "*": "z_plus"})
    again = LRP(network, rule={"2": twin_mixed["2.0"], "*": "z_plus"})
    pair[0].attribute(x, 1)
    alike(pair[1].attribute(x, 1), again.attribute(x, 1))
