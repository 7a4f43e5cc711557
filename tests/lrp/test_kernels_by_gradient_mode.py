"""PyTorch's transformers have two ways, chosen by gradient mode and by what requires gradients."""

from typing import Any

import pytest
import torch
from plain_networks import alike, images
from torch import Tensor, nn

from relsplit import LRP
from relsplit.errors import UnsupportedModelError
from relsplit.lrp import Epsilon, Mixture, ZPlus


class _Encoder(nn.Module):
    """Nine patches, of which a mask says what they may attend to."""

    def __init__(self, **masks: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.patches = nn.Conv2d(3, 16, 3, 3)
        layer = nn.TransformerEncoderLayer(16, 2, 32, 0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(16, 4)
        self.masks = masks

    def forward(self, x: Tensor) -> Tensor:
        encoded = self.encoder(self.patches(x).flatten(2).mT, **self.masks)
        return self.head(encoded.mean(1))


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize(
    "masks",
    [
        {"mask": torch.linspace(-2, 2, 81, dtype=torch.float64).reshape(9, 9)},  # the kernel takes any number as closed
        {"src_key_padding_mask": torch.arange(9) > torch.tensor([[5], [6]])},  # the kernel packs, and pads by zeros
    ],
    ids=["added", "padding"],
)
def test_the_way_that_the_network_takes_is_explained(masks: dict[str, Tensor]) -> None:
    network = _Encoder(**masks).double().eval()
    expected = network(images()).softmax(1)[:, 1].detach()
    relevance, sums = LRP(network).attribute(images(), 1, return_sums=True)
    torch.testing.assert_close(sums["output"], expected)
    torch.testing.assert_close(relevance.flatten(1).sum(1), expected)


class _Attention(nn.Module):
    """A residual attention by ``nn.MultiheadAttention`` between two layers."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.patches = nn.Conv2d(3, 16, 3, 3)
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
        self.head = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).mT
        mixed, _ = self.attention(tokens, tokens, tokens, need_weights=False)
        return self.head((tokens + mixed).mean(1))


@pytest.mark.parametrize("network", [_Attention, _Encoder])
@pytest.mark.parametrize(
    "options",
    [{}, {"include_identity": False}, {"rule": Mixture(ZPlus(), Epsilon(), blocks=2)}, {"rule": "gamma_top"}],
    ids=["default", "without identity", "by block", "by depth"],
)
def test_both_ways_have_the_same_layers_and_skip_connections(network: type[nn.Module], options: dict[str, Any]) -> None:
    lrp = LRP(network().double().eval(), **options)
    one_by_one = lrp.attribute(images(), 1)
    with torch.no_grad():
        alike(lrp.attribute(images(), 1), one_by_one)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_packed_tokens_are_refused_with_what_helps() -> None:
    network = _Encoder(src_key_padding_mask=torch.arange(9) > torch.tensor([[5], [6]])).double().eval()
    with torch.no_grad(), pytest.raises(UnsupportedModelError, match="enable_nested_tensor=False"):
        LRP(network).attribute(images(), 1)
    network.encoder.use_nested_tensor = False
    with torch.no_grad():
        assert LRP(network).attribute(images(), 1).isfinite().all()
