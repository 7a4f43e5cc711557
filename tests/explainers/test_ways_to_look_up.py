"""Bags and one-hot vectors have the attributions of the embedding that they are the same as."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relsplit import LRP
from relsplit.errors import InputError
from relsplit.explainers import RISE, DeepLift, GuidedBackprop, InputXGradient, IntegratedGradients, SmoothGrad

VOCABULARY, PAD = 20, 0
TOKENS = torch.randint(1, VOCABULARY, (2, 9), generator=torch.Generator().manual_seed(0))
CLASSES = torch.tensor([2, 0])


class Text(nn.Module):
    """A head on one vector, which ``made`` makes of the tokens."""

    def __init__(self, made: "Callable[[Text, Tensor], Tensor]") -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.table = nn.Embedding(VOCABULARY, 6, padding_idx=PAD)
            self.hidden, self.act, self.head = nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 3)
        self.made = made
        self.double().eval()

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.act(self.hidden(self.made(self, tokens))))


def bag(mode: str, **options: Any) -> Callable[[Text, Tensor], Tensor]:
    return lambda text, ids: F.embedding_bag(ids, text.table.weight, mode=mode, **options)  # type: ignore[arg-type]


def flat_bag(text: Text, ids: Tensor) -> Tensor:
    return F.embedding_bag(ids.flatten(), text.table.weight, torch.arange(0, ids.numel(), ids.shape[1]), mode="mean")


def module(text: Text, ids: Tensor) -> Tensor:
    found: Tensor = nn.EmbeddingBag.from_pretrained(text.table.weight, mode="mean")(ids)
    return found


def weighted(text: Text, ids: Tensor) -> Tensor:
    weights = torch.linspace(0.5, 2, ids.shape[1]).double().expand(ids.shape)
    return F.embedding_bag(ids, text.table.weight, mode="sum", per_sample_weights=weights)


def plainly_weighted(text: Text, ids: Tensor) -> Tensor:
    weights = torch.linspace(0.5, 2, ids.shape[1]).double().expand(ids.shape)
    return (text.table(ids) * weights[..., None]).sum(1)


def of_present(text: Text, ids: Tensor) -> Tensor:
    present = (ids != PAD)[..., None]
    return (text.table(ids) * present).sum(1) / present.sum(1).clamp(min=1)


def mean(text: Text, ids: Tensor) -> Tensor:
    return text.table(ids).mean(1)


def one_hot(text: Text, ids: Tensor) -> Tensor:
    return (F.one_hot(ids, VOCABULARY).double() @ text.table.weight).mean(1)


def channels_first(text: Text, ids: Tensor) -> Tensor:
    """As networks of sequences have it: a convolution over (N, vocabulary, T)."""
    vectors = F.one_hot(ids, num_classes=VOCABULARY).permute(0, 2, 1).to(text.table.weight.dtype)
    return F.conv1d(vectors, text.table.weight.T[..., None]).mean(2)


BAGS = {
    "a bag of means": (bag("mean"), mean),
    "a bag of sums": (bag("sum"), lambda text, ids: text.table(ids).sum(1)),
    "a bag of the greatest": (bag("max"), lambda text, ids: text.table(ids).amax(1)),
    "a module": (module, mean),
    "bags one after another": (flat_bag, mean),
    "weighted": (weighted, plainly_weighted),
    "padded": (bag("mean", padding_idx=PAD), of_present),
}
ONE_HOT = {"a product": (one_hot, mean), "a convolution": (channels_first, mean)}
METHODS: dict[str, Callable[[nn.Module], Any]] = {
    "Input x Gradient": InputXGradient,
    "Guided BackProp": GuidedBackprop,
    "SmoothGrad": lambda text: SmoothGrad(text, samples=4, noise=0.1),
    "DeepLIFT": DeepLift,
    "RISE": lambda text: RISE(text, samples=20, cells=9),
    **{
        f"Integrated Gradients of {baseline}": lambda text, baseline=baseline: IntegratedGradients(
            text, steps=4, baseline=baseline
        )
        for baseline in ("zero", "mean", "blur", 7)
    },
}


OF_VECTORS = ("SmoothGrad", "Guided BackProp", "RISE")
"""Other vectors have other noise, other gradients without their values, and a seed of their own."""


def tokens_of(name: str) -> Tensor:
    return F.pad(TOKENS, (0, 2), value=PAD) if name == "padded" else TOKENS


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", BAGS)
def test_a_bag_is_an_embedding_and_what_it_makes_of_it(name: str, method: str) -> None:
    if (name, method) == ("a bag of the greatest", "DeepLIFT"):
        pytest.skip("neither network passes it: a maximum over tokens is no step of DeepLIFT's")
    made, plain = BAGS[name]
    given = tokens_of(name)
    torch.testing.assert_close(Text(made)(given), Text(plain)(given))
    found, expected = (METHODS[method](Text(each)).attribute(given, CLASSES) for each in (made, plain))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-13)
    if name == "padded" and method != "RISE":  # which counts what was not hidden
        assert not found[:, -2:].any()


@pytest.mark.parametrize("method", [name for name in METHODS if name not in OF_VECTORS])
@pytest.mark.parametrize("name", ONE_HOT)
def test_one_hot_vectors_are_looked_up(name: str, method: str) -> None:
    made, plain = ONE_HOT[name]
    torch.testing.assert_close(Text(made)(TOKENS), Text(plain)(TOKENS))
    found, expected = (METHODS[method](Text(each)).attribute(TOKENS, CLASSES) for each in (made, plain))
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6 * float(expected.abs().max()))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", [*BAGS, *ONE_HOT])
def test_the_network_is_seen_as_it_is(name: str, method: str) -> None:
    """All tokens of a sample have an attribution, and a method says nothing of another network."""
    if (name, method) == ("a bag of the greatest", "DeepLIFT"):
        pytest.skip("a maximum over tokens is no step of DeepLIFT's")
    found = METHODS[method](Text((BAGS | ONE_HOT)[name][0])).attribute(tokens_of(name), CLASSES)
    assert found.shape == tokens_of(name).shape
    assert found.isfinite().all()
    assert found.abs().sum() > 0


def test_a_sample_that_is_padding_alone() -> None:
    given = F.pad(TOKENS, (0, 1), value=PAD)
    given[1] = PAD
    for mode in ("mean", "max", "sum"):
        text = Text(bag(mode, padding_idx=PAD))
        found = InputXGradient(text).attribute(given, CLASSES)
        assert not found[1].any()
        assert found[0].any()
        assert LRP(text, input_rule="activation").attribute(given, CLASSES)[0].isfinite().all()


def test_bags_of_other_sizes_are_one_line() -> None:
    def ragged(text: Text, ids: Tensor) -> Tensor:
        return F.embedding_bag(ids.flatten(), text.table.weight, torch.tensor([0, 4]), mode="mean")

    for method in METHODS.values():
        with pytest.raises(InputError, match="bags of different numbers of tokens") as caught:
            method(Text(ragged)).attribute(TOKENS, CLASSES)
        assert "\n" not in str(caught.value)
