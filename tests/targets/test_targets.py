"""What each target says of an output, by hand, and in one line where the output is of another kind."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from relsplit import LRP
from relsplit.errors import InputError
from relsplit.targets import Detection, Key, Likeness, NextToken, Pixels, Value, Weighted

SCORES = torch.tensor([[1.0, -2.0, 3.0], [0.5, 4.0, -1.0]])
DENSE = torch.stack(
    [SCORES.T.reshape(3, 2, 1).permute(1, 0, 2).repeat(1, 1, 4), torch.zeros(2, 3, 4)], 2
)  # (2, 3, 2, 4)
TEXT = torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(0))


def test_a_value_is_one_entry_as_it_is() -> None:
    assert Value(1)(SCORES).tolist() == [[0, -2, 0], [0, 4, 0]]
    assert Value(torch.tensor([2, -3]))(SCORES).tolist() == [[0, 0, 3], [0.5, 0, 0]]
    assert torch.equal(Value()(SCORES[:, :1]), SCORES[:, :1])
    assert torch.equal(Value()(SCORES[:, 0]), SCORES[:, 0])
    assert Value((1, 0, 3))(DENSE).sum((1, 2, 3)).tolist() == [-2, 4]


def test_weights_put_classes_together_or_against_each_other() -> None:
    assert Weighted({0: 1, 2: -1})(SCORES).tolist() == [[1, 0, -3], [0.5, 0, 1]]


def test_pixels_of_a_class() -> None:
    p = DENSE.softmax(1)
    found = Pixels(2, mask=torch.ones(2, 4))(DENSE)
    torch.testing.assert_close(found[:, 2], p[:, 2])
    assert not found[:, :2].any()
    at = Pixels(1, at=(0, 3), score="value")(DENSE)
    assert at.nonzero().tolist() == [[0, 1, 0, 3], [1, 1, 0, 3]]
    assert at.sum((1, 2, 3)).tolist() == [-2, 4]
    with pytest.raises(InputError, match=r"Pixels\(2\) has no place in sample 1: give a mask, or at="):
        Pixels(2)(DENSE)
    predicted = Pixels(2)(DENSE[:1])
    assert predicted[0, 2].nonzero()[:, 0].unique().tolist() == [0]  # zeros in the second row tie: the first class wins
    one = Pixels(0)(DENSE[:1, 2:])
    torch.testing.assert_close(one[0, 0, 0], DENSE[0, 2, 0].sigmoid())
    assert not one[0, 0, 1].any()
    frames = Pixels(1, mask=torch.tensor([[True, False], [False, True]]))(torch.zeros(2, 4, 2))
    assert frames.sum((1, 2)).tolist() == [0.25, 0.25]


def test_a_likeness_is_a_cosine_whose_summands_are_the_relevance() -> None:
    vector = torch.tensor([1.0, 1.0, 0.0])
    found = Likeness(vector)(SCORES)
    torch.testing.assert_close(found.sum(1), torch.cosine_similarity(SCORES, vector[None]))
    assert (found[:, 2] == 0).all()
    assert Likeness(SCORES, normalised=False)(SCORES).sum(1).tolist() == [14, 17.25]


def test_the_next_token() -> None:
    found = NextToken()(TEXT)
    best = TEXT[:, -1].max(1)
    assert found.nonzero().tolist() == [[0, 3, int(best.indices[0])], [1, 3, int(best.indices[1])]]
    torch.testing.assert_close(found.sum((1, 2)), best.values)
    torch.testing.assert_close(
        NextToken(2, position=torch.tensor([0, -2]))(TEXT)[[0, 1], [0, 2], 2], TEXT[[0, 1], [0, 2], 2]
    )
    torch.testing.assert_close(NextToken(2, score="probability")(TEXT)[:, 3, 2], TEXT.softmax(2)[:, 3, 2])


class Returning(nn.Module):
    """Makes some kind of output of a linear layer's."""

    def __init__(self, made: Any, width: int = 3) -> None:
        super().__init__()
        self.layer, self.made = nn.Linear(4, width), made

    def forward(self, x: Tensor) -> Any:
        return self.made(self.layer(x))


def boxes(scores: Tensor) -> list[dict[str, Tensor]]:
    return [{"scores": each.sigmoid().sort(descending=True).values, "boxes": torch.zeros(3, 4)} for each in scores]


X = torch.rand(2, 4, generator=torch.Generator().manual_seed(0))


def explained(target: Any, made: Any, width: int = 3, **options: Any) -> tuple[Tensor, Tensor, Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Returning(made, width)
    relevance, sums = LRP(model, **options).attribute(X, target, return_sums=True)
    torch.testing.assert_close(relevance.sum(1), sums["output"], rtol=1e-5, atol=1e-6)
    return relevance, sums["output"], model.layer(X).detach()


def test_parts_of_outputs() -> None:
    def made(x: Tensor) -> dict[str, Any]:
        return {"features": x * 2, "deep": {"logits": x, "other": x + 1}}

    _, start, logits = explained(Key("features", Value(1)), made)
    torch.testing.assert_close(start, logits[:, 1] * 2)
    _, start, logits = explained(Key("deep", Key("logits")), made)
    torch.testing.assert_close(start, logits.softmax(1).amax(1))
    _, start, logits = explained(Key("logits", 2), made, output="deep")
    torch.testing.assert_close(start, logits.softmax(1)[:, 2])
    _, start, logits = explained(Key(1, torch.tensor([0, 2])), lambda x: (x + 1, x))
    torch.testing.assert_close(start, logits.softmax(1)[[0, 1], [0, 2]])


def test_boxes_of_a_detector() -> None:
    _, start, logits = explained(Detection(1), boxes)
    torch.testing.assert_close(start, logits.sigmoid().sort(1).values[:, 1])
    _, start, logits = explained(Value(), lambda x: x[:, 0])
    torch.testing.assert_close(start, logits[:, 0])


@pytest.mark.parametrize(
    ("target", "made", "words"),
    [
        (Value(3), lambda x: x, r"Value\(index=3\) is of an entry that exists, but .* returned a tensor \(2, 3\)"),
        (Value(0), lambda x: x[..., None], r"an output of rank 2, but the network returned a tensor \(2, 3, 1\)"),
        (Value(), lambda x: x, r"one number a sample, \(N,\) or \(N, 1\), but"),
        (Value(torch.zeros(3, dtype=torch.long)), lambda x: x, r"Value has \(3,\) indices for 2 samples"),
        (Weighted({3: 1.0}), lambda x: x, r"of scores \(N, K\) with K > 3, but the network returned a tensor \(2, 3\)"),
        (Pixels(0), lambda x: x, r"Pixels\(0\) is of scores \(N, K, ...\) at every place.*tensor \(2, 3\)"),
        (Pixels(0, at=(0, 9)), lambda x: x[..., None, None], r"a place \(0, 9\), but"),
        (Pixels(0, mask=torch.ones(2, 2)), lambda x: x[..., None, None], r"places as its mask has, \(2, 2\), but"),
        (Likeness(torch.ones(4)), lambda x: x, r"Likeness\(vector \(4,\)\) is of embeddings like its vector, but"),
        (NextToken(), lambda x: x, r"NextToken\(\) is of logits \(N, T, vocabulary\), but .* a tensor \(2, 3\)"),
        (NextToken(9), lambda x: x[:, None], "token of NextToken must be one of 3"),
        (NextToken(0, 4), lambda x: x[:, None], "position of NextToken must be one of 1"),
        (Detection(), lambda x: x, r"Detection\(box=0\) is of boxes, .* but the network returned a tensor \(2, 3\)"),
        (Detection(), lambda x: {"scores": x}, "but the network returned a dict of scores"),
        (Detection(3), boxes, r"Detection\(box=3\): the network returned 3 boxes for image 0: name another box"),
        (Key("scores", 0), lambda x: {"logits": x, "loss": None}, "no part 'scores': it returns a dict with logits"),
        (Key("scores", 0), lambda x: x, "returns one tensor, so there is no part 'scores'"),
        (0, boxes, r"or with a target of relsplit.targets: it returns 2 parts"),
        (Value(0), boxes, r"or with a target of relsplit.targets: it returns 2 parts"),
    ],
)  # fmt: skip
def test_a_target_for_another_kind_of_output(target: Any, made: Any, words: str) -> None:
    with pytest.raises(InputError, match=words) as error:
        explained(target, made)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Pixels(0, mask=torch.ones(2), at=(0, 0)), lambda: Pixels(0, score="logit"),  # type: ignore[arg-type]
        lambda: NextToken(score="value"), lambda: Weighted({}),  # type: ignore[arg-type]
        lambda: Value(1.5), lambda: Value("cat"), lambda: Value(True), lambda: Value((0, 1.5)),  # type: ignore[arg-type]
        lambda: Value(torch.tensor([True, False])), lambda: Value(torch.zeros(2, 40)),
        lambda: NextToken("cat"), lambda: NextToken(True), lambda: NextToken(position=1.5),  # type: ignore[arg-type]
        lambda: Pixels(-1), lambda: Pixels("cat"), lambda: Pixels(True),  # type: ignore[arg-type]
        lambda: Pixels(1, at=3), lambda: Pixels(1, at=(1.5, 2)), lambda: Pixels(1, [[1, 0]]),  # type: ignore[arg-type]
        lambda: Weighted({"cat": 1}), lambda: Weighted({-1: 1}), lambda: Weighted({1: "cat"}),  # type: ignore[dict-item]
        lambda: Likeness([1.0, 2.0]), lambda: Detection(-1), lambda: Detection("bird"),  # type: ignore[arg-type]
        lambda: Key(1.5), lambda: Key(True), lambda: Key(None),  # type: ignore[arg-type]
    ],
)  # fmt: skip
def test_options_that_say_nothing(make: Any) -> None:
    with pytest.raises(InputError, match="target: ") as error:
        make()
    assert "\n" not in str(error.value)


def test_numbers_of_every_kind() -> None:
    array = np.array([2, 0])
    assert torch.equal(Value(array)(SCORES), Value(torch.tensor([2, 0]))(SCORES))  # type: ignore[arg-type]
    assert torch.equal(Value(np.int64(1))(SCORES), Value(1)(SCORES))  # type: ignore[arg-type]
    assert torch.equal(Weighted({np.int64(1): np.float32(2)})(SCORES), 2 * Value(1)(SCORES))  # type: ignore[dict-item]
    assert torch.equal(Pixels(np.int64(2), at=(0, 0))(DENSE), Pixels(2, at=(0, 0))(DENSE))  # type: ignore[arg-type]


def test_a_plain_function_says_the_same() -> None:
    relevance, start, logits = explained(Value(1), lambda x: x)
    by_function, _, _ = explained(lambda output: output * torch.tensor([0.0, 1.0, 0.0]), lambda x: x)
    assert torch.equal(relevance, by_function)
    assert math.isclose(float(start[0]), float(logits[0, 1]), rel_tol=1e-6)
