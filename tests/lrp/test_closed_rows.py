"""Attention that a mask closes for a whole query (padding): the layer answers 0 there, and the map has no NaN."""

import warnings
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relsplit import LRP
from relsplit.errors import InputError

TOKENS = 5


def closed_rows(*rows: int) -> Tensor:
    """(TOKENS, TOKENS) bool, True where attention is open; the last key is closed for all, these rows wholly."""
    mask = torch.ones(TOKENS, TOKENS, dtype=torch.bool)
    mask[:, TOKENS - 1] = False
    mask[list(rows)] = False
    return mask


class Attention(nn.Module):
    """One block over tokens (N, 1, TOKENS, 8), read out by ``read``."""

    def __init__(self, mask: Tensor, read: Callable[[Tensor], Tensor], fused: bool = True) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.q, self.k, self.v, self.o = (nn.Linear(8, 8) for _ in range(4))
            self.f = nn.Linear(8, 3)
        self.register_buffer("mask", mask)
        self.read, self.fused = read, fused
        self.double().eval()

    def forward(self, x: Tensor) -> Tensor:
        h = x[:, 0]
        q, k, v = self.q(h)[:, None], self.k(h)[:, None], self.v(h)[:, None]
        mask = self.mask
        if self.fused:
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)[:, 0]
        else:  # what it does, in steps that only meet open rows
            closed = mask.isneginf().all(-1) if mask.is_floating_point() else ~mask.any(-1)
            bias = (
                mask if mask.is_floating_point() else torch.zeros_like(mask, dtype=h.dtype).masked_fill(~mask, -1e300)
            )
            weights = (q @ k.transpose(-2, -1) * 8**-0.5 + bias.clamp(min=-1e300)).softmax(-1)
            mixed = ((weights * ~closed[:, None]) @ v)[:, 0]
        return self.f(self.read(h + self.o(mixed)))


def first_token(h: Tensor) -> Tensor:
    return h[:, 0]


def mean_of_tokens(h: Tensor) -> Tensor:
    return h.mean(1)


def floating(mask: Tensor) -> Tensor:
    return torch.zeros(mask.shape, dtype=torch.float64).masked_fill(~mask, float("-inf"))


def tokens() -> Tensor:
    return torch.randn(2, 1, TOKENS, 8, generator=torch.Generator().manual_seed(4)).double()


@pytest.mark.parametrize("rows", [(), (4,), (0,), (1, 4)], ids=str)
@pytest.mark.parametrize("kind", [lambda mask: mask, floating], ids=["bool", "float"])
@pytest.mark.parametrize("read", [first_token, mean_of_tokens])
def test_a_closed_row_neither_gives_nor_takes(
    rows: tuple[int, ...], kind: Callable[[Tensor], Tensor], read: Callable[[Tensor], Tensor]
) -> None:
    mask = kind(closed_rows(*rows))
    network, x = Attention(mask, read), tokens()
    expected = network(x).softmax(1)[:, 1].detach()
    assert expected.isfinite().all()
    relevance, sums = LRP(network).attribute(x, 1, return_sums=True)
    assert relevance.isfinite().all()
    torch.testing.assert_close(sums["output"], expected)
    torch.testing.assert_close(relevance.flatten(1).sum(1), expected, rtol=1e-6, atol=0)
    assert LRP(network).check(x, 1).gap <= 1e-6


@pytest.mark.parametrize("rows", [(), (4,), (1, 4)], ids=str)
@pytest.mark.parametrize("kind", [lambda mask: mask, floating], ids=["bool", "float"])
def test_open_rows_are_explained_as_if_none_were_closed(
    rows: tuple[int, ...], kind: Callable[[Tensor], Tensor]
) -> None:
    network, written_out, x = (
        Attention(kind(closed_rows(*rows)), first_token),
        Attention(closed_rows(*rows), first_token, fused=False),
        tokens(),
    )
    torch.testing.assert_close(written_out(x), network(x))
    torch.testing.assert_close(LRP(network).attribute(x, 1), LRP(written_out).attribute(x, 1), rtol=1e-6, atol=1e-9)


def test_what_a_closed_row_would_get_goes_down_the_skip_connection() -> None:
    """The answer depends on the first token alone, by its skip connection; so no other token gets anything."""
    network, x = Attention(closed_rows(0), first_token), tokens()
    relevance = LRP(network).attribute(x, 1)
    assert relevance[:, :, 1:].abs().max() == 0
    torch.testing.assert_close(relevance[:, 0, 0].sum(1), network(x).softmax(1)[:, 1].detach())


@pytest.mark.parametrize("row", [0, 4])
def test_padding_in_multi_head_attention(row: int) -> None:
    """``key_padding_mask`` closes the keys, ``attn_mask`` what is left of a row."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                self.attention, self.f = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, 3)
            self.register_buffer("closed", ~closed_rows(row))
            self.double().eval()

        def forward(self, x: Tensor) -> Tensor:
            h = x[:, 0]
            mixed = self.attention(h, h, h, attn_mask=self.closed, need_weights=False)[0]
            return self.f((h + mixed)[:, 1 + row // 2])

    network, x = Net(), tokens()
    expected = network(x).softmax(1)[:, 1].detach()
    if not expected.isfinite().all():
        pytest.skip("this version of PyTorch answers NaN itself")
    relevance, sums = LRP(network).attribute(x, 1, return_sums=True)
    assert relevance.isfinite().all()
    torch.testing.assert_close(sums["output"], expected)
    torch.testing.assert_close(relevance.flatten(1).sum(1), expected, rtol=1e-6, atol=0)


class NaNRule:
    """A rule with a fault: it answers NaN."""

    conserves = True

    def propagate(self, layer: object, h: Tensor, relevance: Tensor, *, nonnegative: bool, support: Tensor | None):
        """Return no number."""
        return torch.full_like(h, float("nan"))


def test_nan_is_never_passed_over() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3)).eval()
    lrp, x = LRP(network, rule={"0": "z_plus", "*": NaNRule()}), torch.rand(1, 3, 4, 4)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            lrp.attribute(x, 1)
        except InputError as error:
            said = [str(error)]
        else:
            said = [str(each.message) for each in told]
    assert len(said) == 1
    assert "nan" in said[0].lower()
    assert "\n" not in said[0]
