"""Token ids that pass an embedding: relevance of each token, and none of padding."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relsplit import LRP
from relsplit.errors import InputError, UnsupportedModelError

VOCABULARY, WIDTH, PAD = 20, 16, 0


pytestmark = pytest.mark.usefixtures("seed")


class Reader(nn.Module):
    """A transformer of tokens, positions and token types, that looks away from padding."""

    def __init__(self, padding_idx: int | None = PAD) -> None:
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, WIDTH, padding_idx=padding_idx)
        self.positions, self.types = nn.Embedding(12, WIDTH), nn.Embedding(2, WIDTH)
        layer = nn.TransformerEncoderLayer(WIDTH, 2, 32, batch_first=True, dropout=0.0)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(WIDTH, 3)

    def forward(self, ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        mask = ids != PAD if attention_mask is None else attention_mask != 0
        return self.of_vectors(self.tokens(ids), mask)

    def of_vectors(self, vectors: Tensor, mask: Tensor) -> Tensor:
        x = vectors + self.positions(torch.arange(vectors.shape[1])) + self.types(torch.zeros(1, dtype=torch.long))
        x = self.encoder(x, src_key_padding_mask=~mask)
        return self.head((x * mask[..., None]).sum(1) / mask.sum(1, keepdim=True))


def ids() -> Tensor:
    return torch.randint(1, VOCABULARY, (3, 7))


class OfVectors(nn.Module):
    """The same network, which is given the vectors."""

    def __init__(self, reader: Reader) -> None:
        super().__init__()
        self.reader = reader

    def forward(self, vectors: Tensor) -> Tensor:
        return self.reader.of_vectors(vectors, torch.ones(vectors.shape[:2], dtype=torch.bool))


@pytest.mark.parametrize("options", [{}, {"rule": "epsilon"}, {"attention": "attn_lrp"}, {"split": "symmetric"}])
def test_a_tokens_relevance_is_that_of_its_vector(options: dict[str, Any]) -> None:
    reader, given = Reader().double().eval(), ids()
    found, sums = LRP(reader, **options).attribute(given, return_sums=True)
    assert found.shape == given.shape
    vectors = LRP(OfVectors(reader).eval(), input_rule="activation", **options).attribute(reader.tokens(given).detach())
    torch.testing.assert_close(found, vectors.sum(2), rtol=1e-9, atol=1e-13)
    if set(options) <= {"split"}:
        torch.testing.assert_close(found.sum(1), sums["output"], rtol=1e-10, atol=0)


def test_padding_gets_nothing_and_changes_nothing() -> None:
    reader, given = Reader().double().eval(), ids()
    longer = F.pad(given, (0, 3), value=PAD)
    expected = LRP(reader).attribute(given)
    by_index = LRP(reader).attribute(longer)
    assert not by_index[:, 7:].any()
    torch.testing.assert_close(by_index[:, :7], expected, rtol=1e-9, atol=1e-13)
    unmarked = Reader(padding_idx=None).double().eval()
    unmarked.load_state_dict(reader.state_dict())
    longer[:, 7:] = 5  # any token, closed by the mask
    mask = F.pad(torch.ones(3, 7), (0, 3))
    by_mask = LRP(unmarked).attribute(longer, forward_kwargs={"attention_mask": mask})
    assert not by_mask[:, 7:].any()
    torch.testing.assert_close(by_mask[:, :7], expected, rtol=1e-9, atol=1e-13)


class Mean(nn.Module):
    """A head on vectors that it makes in some way of tokens."""

    def __init__(self, made: Any) -> None:
        super().__init__()
        self.table, self.head = nn.Embedding(VOCABULARY, 8, padding_idx=PAD), nn.Linear(8, 3)
        self.made = made

    def forward(self, ids: Tensor) -> Tensor:
        vectors = self.made(self, ids)
        return self.head(vectors if vectors.dim() == 2 else vectors.mean(1))


def shifted(model: Mean, ids: Tensor) -> Tensor:
    """As T5 makes a decoder's input: written into a new tensor, with another token first."""
    moved = ids.new_zeros(ids.shape)
    moved[..., 1:] = ids[..., :-1].clone()
    return model.table(moved.masked_fill_(moved == 3, 4))


def bag(model: Mean, ids: Tensor, mode: str) -> Tensor:
    return F.embedding_bag(ids, model.table.weight, mode=mode, padding_idx=PAD)  # type: ignore[arg-type]


EQUAL = {
    "one-hot": (lambda model, ids: F.one_hot(ids, VOCABULARY).double() @ model.table.weight, None),
    "by index": (lambda model, ids: model.table.weight[ids], None),
    "selected rows": (
        lambda model, ids: model.table.weight.index_select(0, ids.flatten()).unflatten(0, ids.shape),
        None,
    ),
    "another type": (lambda model, ids: model.table(ids.int().contiguous()), None),
    "reshaped": (lambda model, ids: model.table(ids.view(-1)).view(*ids.shape, -1), None),
    "in two parts": (lambda model, ids: model.table(torch.cat([ids[:, :3], ids[:, 3:]], 1)), None),
    "bag of means": (lambda model, ids: bag(model, ids, "mean"), None),
    "bag of sums": (lambda model, ids: bag(model, ids, "sum") / 7, None),
}


@pytest.mark.parametrize("name", EQUAL)
def test_other_ways_to_look_up(name: str) -> None:
    model, given = Mean(EQUAL[name][0]).double().eval(), ids()
    plain = Mean(lambda model, ids: model.table(ids)).double().eval()
    plain.load_state_dict(model.state_dict())
    torch.testing.assert_close(model(given), plain(given))
    torch.testing.assert_close(LRP(model).attribute(given), LRP(plain).attribute(given), rtol=1e-9, atol=1e-13)


def test_tokens_that_are_moved_keep_their_relevance() -> None:
    model, given = Mean(shifted).double().eval(), ids()
    found, sums = LRP(model).attribute(given, return_sums=True)
    assert not found[:, -1].any()
    torch.testing.assert_close(found.sum(1), sums["output"], rtol=1e-10, atol=0)
    winner, of_bag = Mean(lambda model, ids: model.table(ids).amax(1)), Mean(lambda m, ids: bag(m, ids, "max"))
    of_bag.load_state_dict(winner.state_dict())
    torch.testing.assert_close(LRP(of_bag.double()).attribute(given), LRP(winner.double()).attribute(given))


def test_a_bag_with_weights_of_its_own() -> None:
    def weights(ids: Tensor) -> Tensor:
        return torch.linspace(0.5, 2, ids.numel()).reshape(ids.shape).double()

    def weighted(model: Mean, ids: Tensor) -> Tensor:
        return F.embedding_bag(ids, model.table.weight, mode="sum", per_sample_weights=weights(ids), padding_idx=PAD)

    written_out = Mean(lambda model, ids: (model.table(ids) * weights(ids)[..., None]).sum(1)).double().eval()
    model, given = Mean(weighted).double().eval(), ids()
    model.load_state_dict(written_out.state_dict())
    torch.testing.assert_close(model(given), written_out(given))
    torch.testing.assert_close(LRP(model).attribute(given), LRP(written_out).attribute(given))


def test_bags_of_different_sizes_are_refused_by_their_name() -> None:
    def uneven(model: Mean, ids: Tensor) -> Tensor:
        return F.embedding_bag(ids.flatten(), model.table.weight, torch.arange(len(ids)), mode="mean")

    with pytest.raises(UnsupportedModelError, match="bags hold different numbers of tokens"):
        LRP(Mean(uneven)).attribute(ids())


def test_two_token_inputs_share() -> None:
    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.tags, self.head = nn.Embedding(20, 8), nn.Embedding(20, 8), nn.Linear(8, 3)

        def forward(self, words: Tensor, tags: Tensor) -> Tensor:
            return self.head((self.words(words) + self.tags(tags)).mean(1))

    model, words = Pair().double(), ids()
    found, sums = LRP(model).attribute({"words": words, "tags": words.flip(1)}, return_sums=True)
    total = found["words"].sum(1) + found["tags"].sum(1)
    torch.testing.assert_close(total, sums["output"], rtol=1e-10, atol=0)
    assert all((each != 0).all() for each in found.values())
    alone, sums = LRP(model).attribute(words, return_sums=True, forward_kwargs={"tags": words.flip(1)})
    torch.testing.assert_close(alone.sum(1), sums["output"], rtol=1e-10, atol=0)


class Numbers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.head = nn.Embedding(VOCABULARY, 8), nn.Linear(7, 3)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.table(ids).mean(2) * 0 + ids.float())


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        (nn.Sequential(nn.Linear(7, 3)), {}, r"does not accept .* \(integers are tokens"),
        (Mean(lambda model, ids: ids.float()[..., None] * model.table.weight[1]), {}, "pass no nn.Embedding"),
        (Reader(), {"attention_mask": torch.ones(3, 6)}, r"attention_mask has shape \(3, 6\), but the tokens \(3, 7\)"),
    ],
)
def test_integers_that_are_no_tokens(model: nn.Module, options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words) as error:
        LRP(model).attribute(ids(), forward_kwargs=options)
    assert "\n" not in str(error.value)


def test_a_mask_among_the_inputs_is_told_where_it_belongs() -> None:
    given = ids()
    with pytest.raises(
        InputError, match=r"inputs\['attention_mask'\]: integers \(3, 7\) pass no nn.Embedding .*forward_k"
    ):
        LRP(Reader()).attribute({"ids": given, "attention_mask": torch.ones_like(given)})


def test_tokens_taken_for_numbers_are_refused_where_relevance_comes_by() -> None:
    with pytest.raises(UnsupportedModelError, match="taken for numbers"):
        LRP(Numbers()).attribute(ids(), 1)
