"""Explainers can be copied, stored, and sent to other processes."""

import copy
import io
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from explainer_classes import image_size, one_for_each_class
from explainer_configs import build
from small_networks import seeded_images, small_network
from torch import Tensor, nn

from relsplit import LRP

METHODS = one_for_each_class()


def through_torch_save(explainer: Any) -> Any:
    buffer = io.BytesIO()
    torch.save(explainer, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=False)


COPIES: dict[str, Callable[[Any], Any]] = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda explainer: pickle.loads(pickle.dumps(explainer)),
    "torch.save": through_torch_save,
}


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("name", METHODS)
def test_a_copy_makes_the_same_maps(name: str, way: str) -> None:
    network, x = small_network(name), seeded_images(1, size=image_size(name))
    explainer = build(name, network)
    fresh = COPIES[way](explainer)
    expected = explainer.attribute(x, 1)
    torch.testing.assert_close(fresh.attribute(x, 1), expected)
    torch.testing.assert_close(COPIES[way](explainer).attribute(x, 1), expected)  # in use


class Explained(torch.utils.data.Dataset[Tensor]):
    """Maps that the workers of a DataLoader compute."""

    def __init__(self, explainer: LRP, images: Tensor) -> None:
        self.explainer, self.images = explainer, images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        return self.explainer.attribute(self.images[index : index + 1], 1)[0]


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_of_a_data_loader_explain(context: str) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)).eval()
    x = seeded_images(2, size=8).float()
    lrp = LRP(network)
    expected = lrp.attribute(x, 1)
    loader = torch.utils.data.DataLoader(
        Explained(lrp, x), batch_size=1, num_workers=1, multiprocessing_context=context, timeout=900
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads
        torch.testing.assert_close(torch.cat(list(loader)), expected)
