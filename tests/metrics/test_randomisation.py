"""Cascading randomisation: what changes, when, and what does not."""

import copy

import pytest
import torch
import torchvision
from scipy.stats import spearmanr
from torch import nn

from relsplit.errors import InputError
from relsplit.metrics import randomisation_correlation, rank_correlation
from relsplit.metrics.randomisation import cascading_randomisation
from relsplit.networks.stages import stages


def tiny_cnn():
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential()
    model.add_module("conv", nn.Conv2d(3, 4, 3, padding=1))
    model.add_module("norm", nn.BatchNorm2d(4))
    model.add_module("relu", nn.ReLU())
    model.add_module("pool", nn.AdaptiveAvgPool2d(2))
    model.add_module("flatten", nn.Flatten())
    model.add_module("fc", nn.Linear(16, 5))
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    return model.eval()


def gradient_explainer(model):
    def explain(images, targets):
        leaf = images.detach().clone().requires_grad_()
        logits = model(leaf).gather(1, targets[:, None]).sum()
        return torch.autograd.grad(logits, leaf)[0].sum(1)

    return explain


def image_explainer(model):
    """A control: the brightness of the image, whatever the network."""
    return lambda images, targets: images.sum(1)


def batch(samples=4):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(samples, 3, 8, 8, generator=generator), torch.arange(samples) % 5


def test_stages_of_a_residual_network_run_from_the_output_to_the_input():
    expected = ["fc", "layer4", "layer3", "layer2", "layer1", "bn1", "conv1"]
    network = torchvision.models.resnet18(num_classes=2)
    assert stages(network) == expected
    assert stages(nn.ModuleDict({"network": network})) == [f"network.{name}" for name in expected]


def test_the_cascade_draws_one_stage_after_the_other_and_spares_the_model():
    model = tiny_cnn()
    before = copy.deepcopy(model.state_dict())
    changed = []
    previous = copy.deepcopy(before)
    for stage, network in cascading_randomisation(model, seed=3):
        state = network.state_dict()
        different = {name.split(".")[0] for name in state if not torch.equal(state[name], previous[name])}
        assert different == {stage}
        changed.append(stage)
        previous = copy.deepcopy(state)
    assert changed == ["fc", "norm", "conv"]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_the_cascade_is_seeded_and_leaves_the_global_generator_alone():
    model = tiny_cnn()

    def weights(seed):
        return [network.state_dict()["fc.weight"].clone() for _, network in cascading_randomisation(model, seed)]

    torch.manual_seed(0)
    state = torch.get_rng_state()
    first = weights(3)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(99)
    assert torch.equal(weights(3)[0], first[0])
    assert not torch.equal(weights(4)[0], first[0])


def test_a_gradient_changes_and_a_control_does_not():
    images, targets = batch()
    gradient = randomisation_correlation(tiny_cnn(), gradient_explainer, images, targets)
    control = randomisation_correlation(tiny_cnn(), image_explainer, images, targets)
    assert list(gradient) == list(control) == ["fc", "norm", "conv"]
    assert all(value.abs().max() < 0.9 for value in gradient.values())
    for value in control.values():
        torch.testing.assert_close(value, torch.ones(4, dtype=torch.float64))


@pytest.mark.parametrize("levels", [None, 3])
def test_rank_correlation_equals_scipy_ties_included(levels):
    generator = torch.Generator().manual_seed(5)
    first, second = torch.randn(2, 3, 6, 7, generator=generator)
    if levels is not None:
        first, second = (first * levels / 2).round(), (second * levels / 2).round()
    found = rank_correlation(first, second)
    for i in range(3):
        assert found[i].item() == pytest.approx(spearmanr(first[i].flatten(), second[i].flatten()).statistic, abs=1e-12)


def test_a_constant_map_correlates_with_nothing():
    assert rank_correlation(torch.ones(1, 3, 3), torch.rand(1, 3, 3)).item() == 0


def test_a_model_without_weights_is_refused():
    with pytest.raises(InputError, match="no part with weights"):
        stages(nn.Sequential(nn.ReLU()))


def test_the_output_alone_may_be_redrawn():
    """The first step of the cascade, and no other network is asked."""
    model, (images, targets), asked = tiny_cnn(), batch(), []

    def explain_with(network):
        asked.append(network)
        return gradient_explainer(network)

    cascade = randomisation_correlation(model, gradient_explainer, images, targets, seed=3)
    alone = randomisation_correlation(model, explain_with, images, targets, seed=3, redrawn="output")
    assert list(alone) == ["fc"]
    torch.testing.assert_close(alone["fc"], cascade["fc"], rtol=0, atol=0)
    assert len(asked) == 2  # the model itself, and with a new classifier
