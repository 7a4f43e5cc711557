"""Tokens are taken away as their vectors are, or by another token; the curves are worked out by hand here."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import transformers as hf
from torch import Tensor, nn

from relsplit.baseline import BaselineImage
from relsplit.errors import InputError
from relsplit.metrics import InsertionDeletion, flipping_area, imputed_survival, subset_correlation

MASK = 4
"""The mask token."""


class SumOfWords(nn.Module):
    """Says of a sentence how much each class's words are in it."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding.from_pretrained(
            torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 1.0], [1.0, 2.0], [-1.0, 0.5]])
        )

    def forward(self, tokens: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        vectors = self.words(tokens)
        return (vectors if attention_mask is None else vectors * attention_mask[:, :, None]).sum(1)


TOKENS = torch.tensor([[1, 2, 3], [3, 3, 2]])
MAPS = torch.tensor([[0.9, 0.1, 0.5], [0.2, 0.3, 0.1]])
TARGETS = torch.tensor([0, 1])
MEAN = (3 / 5, 3.5 / 5)


def probability(logits: "tuple[float, float]", target: int) -> float:
    return float(torch.tensor(logits, dtype=torch.float64).softmax(0)[target])


def test_a_curve_worked_out_by_hand() -> None:
    """Of the first sentence: (3, 0), (0, 1), (1, 2) go in the order first, third, second."""
    metric = InsertionDeletion(SumOfWords(), "levels", baseline="zero")
    metric.update(TOKENS[:1], MAPS[:1], TARGETS[:1])
    deletion = [probability(logits, 0) for logits in ((4, 3), (1, 3), (0, 1), (0, 0))]
    insertion = [probability(logits, 0) for logits in ((0, 0), (3, 0), (4, 2), (4, 3))]
    found = metric.compute()
    assert found["deletion"].item() == pytest.approx(np.trapezoid(deletion, dx=1 / 3), abs=1e-6)
    assert found["insertion"].item() == pytest.approx(np.trapezoid(insertion, dx=1 / 3), abs=1e-6)


@pytest.mark.parametrize("baseline", ["zero", "mean", MASK, "blur"])
def test_what_takes_the_place_of_a_token_is_an_option(baseline: Any) -> None:
    model = SumOfWords()
    metric = InsertionDeletion(model, "levels", baseline=baseline)
    metric.update(TOKENS, MAPS.numpy(), TARGETS.numpy())  # type: ignore[arg-type]
    vectors = model.words.weight[TOKENS]
    kernel = torch.tensor([np.exp(-0.5 * (offset / 5) ** 2) for offset in range(-20, 21)])
    kernel = kernel / kernel.sum()
    folded = torch.stack([kernel[place::11].sum() for place in range(11)]).roll(-(20 % 11) + 5).float()
    instead = {
        "zero": torch.zeros_like(vectors),
        "mean": torch.tensor(MEAN).expand_as(vectors),
        MASK: model.words.weight[MASK].expand_as(vectors),
        "blur": F.conv1d(vectors.transpose(1, 2).reshape(4, 1, 3), folded[None, None], padding=5)
        .reshape(2, 2, 3).transpose(1, 2),
    }[baseline]  # fmt: skip
    areas = []
    for shown, hidden in ((instead, vectors), (vectors, instead)):  # insertion shows the vectors, one after another
        curves = []
        for row, order in enumerate(MAPS.argsort(1, descending=True)):
            now = shown[row].clone()
            points = [now.clone()]
            for place in order:
                now[place] = hidden[row, place]
                points.append(now.clone())
            curve = torch.stack(points).sum(1).softmax(1)[:, TARGETS[row]]
            curves.append(float(torch.trapezoid(curve, dx=1 / 3)))
        areas.append(np.mean(curves))
    found = metric.compute()
    assert found["insertion"].item() == pytest.approx(areas[0], abs=1e-6)
    assert found["deletion"].item() == pytest.approx(areas[1], abs=1e-6)


def test_further_arguments_stay_with_their_samples() -> None:
    """A sentence with padding has the curve of the same words where what is padded is masked."""
    model, mask = SumOfWords(), torch.tensor([[1, 1, 0], [1, 1, 1]])
    both = flipping_area(
        model, TOKENS, MAPS, TARGETS, steps=3, baseline="zero", forward_kwargs={"attention_mask": mask}
    )
    points = [probability(logits, 0) for logits in ((0, 1), (0, 1), (0, 0))]  # (1, 2) never counts
    assert both[0].item() == pytest.approx(np.trapezoid(points, dx=1 / 2), abs=1e-6)
    alone = flipping_area(model, TOKENS[1:], MAPS[1:], TARGETS[1:], steps=3, baseline="zero")
    assert both[1].item() == pytest.approx(alone.item(), abs=1e-6)


def test_relevance_that_is_what_is_lost_correlates_fully() -> None:
    """One logit that is a sum of words: what a word adds to it is what is lost with it, up to the sigmoid's bend."""

    class OneScore(SumOfWords):
        def forward(self, tokens: Tensor, attention_mask: Tensor | None = None) -> Tensor:
            return 1e-3 * super().forward(tokens, attention_mask)[:, :1]

    model = OneScore().double()
    tokens = torch.tensor([[1, 2, 3, 1, 4, 3, 2, 1]])
    maps = model.words.weight[tokens][..., 0]
    found = subset_correlation(model, tokens, maps, torch.tensor([1]), baseline="zero", scores="logits")
    assert found.item() == pytest.approx(1, abs=1e-4)
    reverse = subset_correlation(model, tokens, -maps, torch.tensor([1]), baseline="zero", scores="logits")
    assert reverse.item() == pytest.approx(-1, abs=1e-4)


def test_a_model_of_the_transformers_library() -> None:
    """A mask token put in by hand is the same as one put in by the metric."""
    config = hf.BertConfig(
        vocab_size=20, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, num_labels=3
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = hf.BertForSequenceClassification(config).eval()
    tokens = torch.randint(5, 20, (2, 6), generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]])
    maps = torch.rand(2, 6, generator=torch.Generator().manual_seed(1))
    found = flipping_area(
        model, tokens, maps, torch.tensor([0, 2]), steps=6, baseline=MASK, forward_kwargs={"attention_mask": mask}
    )
    expected = []
    for row, order in enumerate(maps.argsort(1, descending=True)):
        now, curve = tokens[row].clone(), []
        for place in order:
            now[place] = MASK
            with torch.no_grad():
                logits = model(now[None], attention_mask=mask[row][None]).logits
            curve.append(logits.softmax(1)[0, (0, 2)[row]])
        expected.append(torch.trapezoid(torch.stack(curve), dx=1 / 5))
    torch.testing.assert_close(found.float(), torch.stack(expected), rtol=1e-5, atol=1e-6)


class Histogram(nn.Module):
    """Counts tokens, and looks none of them up."""

    def forward(self, tokens: Tensor) -> Tensor:
        return torch.stack([(tokens == word).sum(1).float() for word in range(3)], 1)


def test_what_does_not_fit_is_one_line() -> None:
    model = SumOfWords()
    wrong: list[tuple[Any, Any, Any, dict[str, Any], str]] = [
        (model, TOKENS, MAPS, {"baseline": 7}, r"does not know a token of .* or the baseline \[7\]"),
        (model, TOKENS, MAPS, {"baseline": "black"}, "baseline black needs mean and std"),
        (model, TOKENS, MAPS, {"baseline": (1.0, 2.0, 3.0)}, "of tokens it is zero, mean, blur"),
        (model, TOKENS, MAPS[:, :2], {}, r"maps have shape \(2, 2\) but the inputs \(2, 3\) need \(2, 3\)"),
        (Histogram(), TOKENS, MAPS, {}, r"integers .* pass no nn.Embedding on their way: choose a token"),
        (model, (TOKENS, TOKENS), MAPS, {}, "a metric takes places of one input away"),
        (
            model, TOKENS, MAPS, {"forward_kwargs": {"attention_mask": torch.ones(2, 4)}},
            r"attention_mask has shape \(2, 4\), but the tokens \(2, 3\)",
        ),
    ]  # fmt: skip
    for network, tokens, maps, options, words in wrong:
        with pytest.raises(InputError, match=words) as error:
            flipping_area(network, tokens, maps, TARGETS, steps=3, **options)
        assert "\n" not in str(error.value)
    with pytest.raises(InputError, match=r"road fills in .* not of \(2, 3\), torch.int64"):
        imputed_survival(model, TOKENS, MAPS, TARGETS)
    with pytest.raises(InputError, match=r"a table .* has no places to blur"):
        BaselineImage("blur").of(torch.zeros(2, 3))
