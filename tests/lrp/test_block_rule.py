"""A residual block as one dense layer: against the formula with a dense Jacobian, and what it loses."""

import pytest
import torch
from residual_networks import images, small_resnet
from torch import nn
from torchvision.models.resnet import Bottleneck

from relsplit import LRP
from relsplit.bench.models.narrow_bottleneck import NarrowBottleneck
from relsplit.errors import InputError
from relsplit.lrp.leaf_rules import block


def test_is_the_formula_with_the_blocks_dense_jacobian() -> None:
    layer = small_resnet().layer2[0].double()  # with a projection and a stride
    h = torch.rand(1, 64, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    relevance = torch.rand(layer(h).shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda flat: layer(flat.reshape(h.shape)).flatten(), h.flatten())
    expected = h.flatten() * ((relevance / (layer(h) + 1e-5)).flatten() @ jacobian)
    torch.testing.assert_close(block(layer, h, relevance).flatten(), expected.detach())


def test_does_not_conserve_what_relevance_splitting_does() -> None:
    network, inputs = small_resnet().double(), images().double()
    gaps = []
    for leaves in ({}, {"Bottleneck": "block"}):
        relevance, sums = LRP(network, leaves=leaves).attribute(inputs, return_sums=True)
        gaps.append(float(((relevance.sum((1, 2, 3)) - sums["output"]) / sums["output"]).abs().max()))
    assert gaps[0] < 1e-10
    assert gaps[1] > 0.01


def test_without_batchnorms_shift_it_is_input_times_gradient() -> None:
    network, inputs = small_resnet().double(), images().double()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.zeros_(module.bias)
            module.running_mean.zero_()
    ours, other = (
        LRP(network, leaves={Bottleneck: rule}).attribute(inputs) for rule in ("block", "input_times_gradient")
    )
    torch.testing.assert_close(ours, other, rtol=1e-2, atol=1e-3 * float(other.abs().max()))


def test_a_leafs_class_may_be_given_by_its_name_or_that_of_its_base() -> None:
    network, inputs = small_resnet(), images()
    expected = LRP(network, leaves={NarrowBottleneck: "block"}).attribute(inputs)
    for name in ("NarrowBottleneck", "Bottleneck"):
        assert torch.equal(LRP(network, leaves={name: "block"}).attribute(inputs), expected)
    with pytest.raises(InputError, match=r"no module of the model is a 'BasicBlock': it has .*NarrowBottleneck"):
        LRP(network, leaves={"BasicBlock": "block"})
