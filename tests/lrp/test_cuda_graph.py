"""A recorded pass is the pass; what cannot be recorded is said."""

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import resnet18

from relsplit import LRP
from relsplit.errors import InputError
from relsplit.lrp.cuda_graph import PREDICTED, RecordedLRP, pass_without_questions


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return resnet18(num_classes=7).eval()


@pytest.fixture
def images() -> Tensor:
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("start", ["probability", "logit", "one"])
def test_what_is_recorded_is_the_pass_of_lrp(network: nn.Module, images: Tensor, start: str) -> None:
    explainer = LRP(network, start=start)
    target = torch.tensor([PREDICTED, 3])
    relevance, scores = pass_without_questions(explainer, images, target, "logits")
    predicted = network(images).argmax(1)
    assert torch.equal(scores.argmax(1), predicted)
    expected = explainer.attribute(images, torch.tensor([int(predicted[0]), 3]))
    assert torch.equal(relevance, expected)


def test_a_cpu_has_no_graphs(network: nn.Module, images: Tensor) -> None:
    with pytest.raises(InputError, match="needs a GPU, they are on cpu"):
        RecordedLRP(network, images)
    with pytest.raises(InputError, match="begins with"):
        RecordedLRP(network, images, start=torch.relu)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_replays_what_lrp_computes(network: nn.Module, images: Tensor) -> None:
    network, images = network.cuda(), images.cuda()
    recorded, explainer = RecordedLRP(network, images), LRP(network)
    for batch, target in ((images, None), (-images, 3), (images.flip(0), torch.tensor([1, 2]))):
        expected = explainer.attribute(batch, target)
        assert (recorded.attribute(batch, target) - expected).abs().amax() <= 1e-5 * expected.abs().amax()
    with pytest.raises(InputError, match="recorded for"):
        recorded.attribute(images[:1])
