"""What every class of the folder of explainers has to hold, configured or not: new ones are found here."""

import inspect
from typing import Any

import pytest
import torch
from explainer_configs import NAMES, configuration
from hydra.utils import get_class
from small_networks import seeded_images, small_network
from torch import Tensor, nn

import relsplit.explainers
from folders import classes_with
from relsplit.errors import InputError

EXPLAINERS = classes_with("attribute", relsplit.explainers)
NETWORKS = ("", "abn", "attention_rollout")
"""A ResNet, one with an attention branch, a transformer."""
QUICK = {"samples": 3, "steps": 4, "levels": 3}


def built(kind: type[Any]) -> tuple[Any, nn.Module, Tensor]:
    """An explainer with its own defaults and little work, for the first network that it takes."""
    options = {name: value for name, value in QUICK.items() if name in inspect.signature(kind).parameters}
    refused = []
    for name in NETWORKS:
        network, images = small_network(name), seeded_images(3, 64)
        try:
            explainer = kind(network, **options)
            explainer.attribute(images[:1])
        except InputError as error:
            refused.append(str(error))
            continue
        return explainer, network, images
    raise AssertionError(f"{kind.__name__} takes none of the networks: {refused}")


def test_every_class_has_a_configuration() -> None:
    configured = {get_class(configuration(name)["_target_"]) for name in NAMES}
    assert set(EXPLAINERS.values()) <= configured


@pytest.mark.parametrize("name", EXPLAINERS)
def test_an_explainer(name: str) -> None:
    """A map of each image for itself, detached, the same every time; nothing of anybody else's is changed."""
    explainer, network, images = built(EXPLAINERS[name])
    weights, generator = {k: v.clone() for k, v in network.state_dict().items()}, torch.random.get_rng_state()
    given, target = images.clone(), torch.tensor([0, 1, 2])
    maps = explainer.attribute(given, target)
    assert maps.shape == images.shape or (maps.dim() == 3 and len(maps) == len(images))
    assert maps.dtype == images.dtype
    assert not maps.requires_grad
    assert maps.isfinite().all()
    assert torch.equal(given, images)
    assert torch.equal(torch.random.get_rng_state(), generator)
    assert all(torch.equal(value, weights[key]) for key, value in network.state_dict().items())
    assert explainer.forward_equivalents >= 0
    tolerance = {"rtol": 1e-6, "atol": 1e-8 * float(maps.abs().max())}
    torch.testing.assert_close(explainer.attribute(images, target), maps, rtol=0, atol=0)
    torch.testing.assert_close(explainer.attribute(images[1:2], target[1:2]), maps[1:2], **tolerance)
    torch.testing.assert_close(explainer.attribute(images.flip(0), target.flip(0)), maps.flip(0), **tolerance)
    # What looks at the network sees that it takes no image alone; to a control that could be a signal.
    alone = images[0] if explainer.forward_equivalents else images[0, 0, 0]
    with pytest.raises(InputError, match=r"images|inputs"):
        explainer.attribute(alone)
