"""Every explainer takes ``output=``, and finds a part of several outputs by ``Key``."""

import inspect
from typing import Any

import pytest
import torch
from small_networks import seeded_images, small_network
from torch import Tensor, nn

import relsplit.explainers
from folders import classes_with
from relsplit.errors import InputError
from relsplit.targets import Key, Value

EXPLAINERS = {
    name: kind
    for name, kind in classes_with("attribute", relsplit.explainers).items()
    if "output" in inspect.signature(kind).parameters
}
CONTROLS = ("Center", "Edges", "OnePixel", "RandomMap")
OF_CLASSES = ("ClassCompetition", "ContrastiveLRP", "GradientPyramid", "MeasuredPyramid", "SoftmaxGradientLRP")
QUICK = {"samples": 3, "steps": 3, "levels": 3, "rivals": 1}
NETWORKS = {"ABN": "abn", "AttentionRollout": "attention_rollout", "TransformerAttribution": "attention_rollout"}


class Named(nn.Module):
    """A network that returns its scores under a name beside something else."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Any:
        scores = self.network(images)
        return {"scores": scores, "further": 2 * scores}

    def attention_map(self, images: Tensor) -> Tensor:
        return self.network.attention_map(images)  # type: ignore[operator]


def test_all_but_controls_have_the_option() -> None:
    assert set(classes_with("attribute", relsplit.explainers)) - set(EXPLAINERS) == set(CONTROLS)


@pytest.mark.parametrize("name", EXPLAINERS)
def test_a_part_by_name_is_what_the_network_without_others_answers(name: str) -> None:
    kind = EXPLAINERS[name]
    options = {key: value for key, value in QUICK.items() if key in inspect.signature(kind).parameters}
    network = small_network(NETWORKS.get(name, ""))
    images, target = seeded_images(1, 64 if name in NETWORKS else 32), 1
    expected = kind(network, **options).attribute(images, target)
    found = kind(Named(network), output="scores", **options).attribute(images, target)
    # A copy for many passes is made of a network without hooks alone: its sums have another order.
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)
    if name not in NETWORKS:
        by_key = kind(Named(network), **options).attribute(images, Key("scores", target))
        torch.testing.assert_close(by_key, expected, rtol=1e-6, atol=1e-9)
    with pytest.raises(InputError, match=r"scores, further"):
        kind(Named(network), output="other", **options).attribute(images, target)


@pytest.mark.parametrize("name", OF_CLASSES)
def test_what_sets_classes_against_each_other_asks_for_a_class(name: str) -> None:
    with pytest.raises(InputError, match=r"is of classes: name one, .* targets like Value\(index=1\)") as error:
        EXPLAINERS[name](small_network("")).attribute(seeded_images(1, 32), Value(1))
    assert "\n" not in str(error.value)
