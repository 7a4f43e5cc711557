"""What does not depend on the image receives no relevance, and nothing is lost to it."""

import pytest
import torch
import torch.nn.functional as F
from option_a import option_a_resnet
from residual_networks import images
from torch import Tensor, nn

from relsplit.lrp import LRP
from small_transformer import small_vit


def worst_gap(model: nn.Module, x: Tensor, **options: object) -> float:
    """Over the map and every place, as a share of the start."""
    relevance, sums = LRP(model, **options).attribute(x, return_sums=True)  # type: ignore[arg-type]
    start = sums["output"]
    places = torch.stack([*sums.values(), relevance.flatten(1).sum(1)])
    return float(((places - start) / start).abs().max())


@pytest.mark.parametrize("include_identity", [True, False])
@pytest.mark.parametrize("split", ["ratio", "symmetric"])
def test_padded_channels_of_a_skip_connection(split: str, include_identity: bool) -> None:
    model = option_a_resnet().double()
    x = images(2, 32).double()
    assert worst_gap(model, x, split=split, include_identity=include_identity) <= 1e-9


@pytest.mark.parametrize("split", ["ratio", "symmetric"])
@pytest.mark.parametrize("registers", [0, 3])
def test_class_and_register_tokens(split: str, registers: int) -> None:
    assert worst_gap(small_vit(registers=registers).double(), images(2, 32).double(), split=split) <= 1e-9


class Joined(nn.Module):
    """Constants enter by ``how``, are convolved and normalised, and meet the image at a pooling."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.constant = nn.Parameter(torch.randn(1, 6, 5, 32))
        self.mix = nn.Conv2d(6, 6, 1)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x)
        if self.how == "cat":
            h = torch.cat([self.constant.expand(len(x), -1, -1, -1), h], 2)
        elif self.how == "pad":
            h = F.pad(h, (4, 4, 4, 4), value=1.5)
        elif self.how == "where":
            h = torch.where(self.constant[:, :, :1] > 0, h, self.constant[:, :, :1])
        elif self.how == "masked_fill":
            h = h.masked_fill(h < -0.5, 2.0)
        elif self.how == "max_pool":
            h = F.max_pool2d(F.pad(h, (1, 1, 1, 1), value=float("-inf")), 3, 1)
        h = self.mix(F.relu(self.norm(h)))
        return self.head(F.relu(h).mean((2, 3)))


@pytest.mark.parametrize("max_pool", ["average", "winner"])
@pytest.mark.parametrize("rule", ["z_plus", "gamma", "ratio", "flat"])
@pytest.mark.parametrize("how", ["cat", "pad", "where", "masked_fill", "max_pool"])
def test_constants_however_they_enter(how: str, rule: str, max_pool: str) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = Joined(how).double().eval()
    assert worst_gap(model, images(2, 32).double(), rule=rule, max_pool=max_pool) <= 1e-9
