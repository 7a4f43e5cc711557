"""What does not depend on the image receives no relevance, and nothing is lost to it."""

from collections.abc import Callable

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


@pytest.mark.parametrize(
    "apart",
    [
        lambda h: h.split([1, 4], 1),
        lambda h: h.tensor_split((1,), 1),
        lambda h: (h[:, :1], h[:, 1:]),
        lambda h: (h.unbind(1)[0][:, None], torch.stack(h.unbind(1)[1:], 1)),
    ],
    ids=["split", "tensor_split", "slices", "unbind"],
)
def test_a_class_token_is_taken_off_again(apart: Callable[[Tensor], tuple[Tensor, Tensor]]) -> None:
    """Of the parts one depends on the input everywhere, one nowhere, although the whole is mixed."""

    class Pooled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.token, self.head = nn.Linear(6, 8), nn.Parameter(torch.rand(1, 1, 8)), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            h = torch.cat([self.token.expand(len(x), -1, -1), self.embed(x)], 1)
            token, rest = apart(h)
            return self.head(token[:, 0] + rest.relu().mean(1))

    torch.manual_seed(0)
    model, x = Pooled().double(), torch.rand(2, 4, 6).double()
    found, sums = LRP(model).attribute(x, 1, return_sums=True)
    torch.testing.assert_close(found.sum((1, 2)), sums["output"], rtol=1e-9, atol=0)
