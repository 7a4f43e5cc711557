"""What a network answers is read as what it is, whatever shape it has."""

import warnings
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from relsplit.errors import InputError
from relsplit.networks.answer import AnswerReader
from relsplit.networks.ending import ends_in_probabilities

LOGITS = torch.tensor([[2.0, -1.0, 0.5], [-3.0, 0.0, 4.0]])


def read(output: Any, scores: Any = "auto", ends: bool = False) -> Any:
    return AnswerReader(scores).read(output, ends_in_probabilities=lambda: ends)


def test_logits_of_classes() -> None:
    answer = read(LOGITS)
    target = torch.tensor([1, 2])
    assert (answer.num_classes, answer.predicted.tolist(), answer.finite) == (3, [0, 2], True)
    torch.testing.assert_close(answer.probability(target), LOGITS.softmax(1)[[0, 1], [1, 2]])
    assert answer.logit(target).tolist() == [-1.0, 4.0]
    for score, value in (("probability", answer.probability(target)), ("logit", LOGITS[[0, 1], [1, 2]]), ("one", 1.0)):
        start = answer.start(target, score)
        expected = torch.zeros(2, 3)
        expected[[0, 1], [1, 2]] = torch.as_tensor(value)
        torch.testing.assert_close(start, expected)


@given(st.floats(-30, 30), st.sampled_from([(1, 1), (1,)]))
def test_one_logit_speaks_for_two_classes(z: float, shape: tuple[int, ...]) -> None:
    answer = read(torch.full(shape, z, dtype=torch.float64))
    p = torch.tensor([z], dtype=torch.float64).sigmoid()
    assert answer.num_classes == 2
    assert answer.predicted.tolist() == [int(z > 0)]
    one, zero = torch.tensor([1]), torch.tensor([0])
    torch.testing.assert_close(answer.probability(one), p)
    torch.testing.assert_close(answer.probability(zero), 1 - p, rtol=1e-9, atol=1e-15)
    assert answer.logit(one).item() == z
    assert answer.logit(zero).item() == -z
    assert answer.start(zero, "probability").shape == shape
    torch.testing.assert_close(answer.start(zero, "probability").flatten(), 1 - p, rtol=1e-9, atol=1e-15)
    assert answer.start(zero, "logit").item() == -z
    assert answer.start(zero, "one").item() == 1


def test_the_gradients_of_the_two_classes_of_one_logit_are_opposite() -> None:
    for score in ("probability", "logit"):
        z = torch.tensor([[0.3], [-2.0]], requires_grad=True)
        gradients = [
            torch.autograd.grad(read(z).score(torch.full((2,), c), score).sum(), z)[0]
            for c in (0, 1)  # type: ignore[arg-type]
        ]
        torch.testing.assert_close(gradients[0], -gradients[1])
        assert gradients[1].min() > 0


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_probabilities_are_used_as_such_and_said_once(dtype: torch.dtype) -> None:
    reader, probabilities = AnswerReader(), torch.randn(4, 1000).softmax(1).to(dtype)
    with pytest.warns(UserWarning, match=r'used as probabilities.*scores="probabilities".*scores="logits"') as said:
        answers = [reader.read(probabilities) for _ in range(2)]
    answer = answers[0]
    assert {each.kind for each in answers} == {"probabilities"}
    assert len(said) == 1
    assert "\n" not in str(said[0].message)
    assert torch.equal(answer.probability(answer.predicted), probabilities.amax(1).to(answer.probabilities.dtype))
    torch.testing.assert_close(answer.logits.softmax(1), answer.probabilities, rtol=1e-2, atol=1e-3)


def test_a_sigmoid_is_believed_where_the_network_ends_in_one() -> None:
    values = torch.tensor([[0.2, 0.9, 0.6]])
    assert read(values).kind == "logits"  # small logits look the same
    assert read(values[:, :1]).kind == "logit"
    with pytest.warns(UserWarning, match="a sigmoid for each class"):
        answer = read(values, ends=True)
    assert answer.probability(torch.tensor([2])).item() == pytest.approx(0.6)
    torch.testing.assert_close(answer.logits.sigmoid(), values)
    with pytest.warns(UserWarning, match="one sigmoid"):
        single = read(values[:, 0], ends=True)
    assert single.probabilities.tolist() == [[pytest.approx(0.8), pytest.approx(0.2)]]
    assert single.predicted.tolist() == [0]
    assert read(LOGITS, ends=True).kind == "logits"


def test_scores_decides() -> None:
    probabilities = LOGITS.softmax(1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read(probabilities, "logits").kind == "logits"
        assert read(probabilities, "probabilities").kind == "probabilities"
        assert read(probabilities * 0.5, "probabilities").kind == "multi_label"
        assert read(probabilities[:, 0], "probabilities").kind == "probability"
        assert read(probabilities[:, :1], "logits", ends=True).kind == "logit"
    with pytest.raises(InputError, match=r"from -3 to 4.*scores=logits"):
        read(LOGITS, "probabilities")


@pytest.mark.parametrize(
    ("output", "said"),
    [
        (torch.zeros(2, 3, 4), r"a tensor \(2, 3, 4\)"),
        (torch.zeros(3, 4), r"a tensor \(3, 4\)"),
        (torch.zeros(2, 0), r"a tensor \(2, 0\)"),
        (torch.zeros(2, 3, dtype=torch.int64), r"of torch.int64"),
        (torch.ones(2, 3).to_sparse(), r"a tensor \(2, 3\), torch.sparse_coo"),
        ((LOGITS, LOGITS), "a tuple of 2 Tensors"),
        ({"features": LOGITS, "loss": 1}, "a dict of features, loss"),
        (None, "a NoneType"),
    ],
)
def test_anything_else_is_named(output: Any, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        AnswerReader().read(output, 2)
    assert "\n" not in str(caught.value)


def test_what_is_not_finite_is_known_and_half_precision_is_not_kept() -> None:
    answer = read(torch.tensor([[1.0, float("nan")]]))
    assert not answer.finite
    with pytest.raises(InputError, match="NaN"):
        answer.check_finite()
    assert read(LOGITS.bfloat16()).start(torch.tensor([0, 1]), "probability").dtype == torch.float32
    assert read(LOGITS.double()).start(torch.tensor([0, 1]), "probability").dtype == torch.float64


def head(*end: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 4), *end).eval()


class Mean(nn.Module):
    """The answers of several networks, averaged."""

    def __init__(self, *networks: nn.Module) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([network(x) for network in self.networks]).mean(0)


class Gated(nn.Module):
    """A sigmoid inside, and logits at the end, written over it."""

    def __init__(self) -> None:
        super().__init__()
        self.body = head()

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x).sigmoid_().mul_(3).sub_(1)


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (head(), False),
        (head(nn.Sigmoid()), True),
        (head(nn.Softmax(1)), True),
        (head(nn.LogSoftmax(1)), False),
        (head(nn.Sigmoid(), nn.Unflatten(1, (2, 2)), nn.Flatten(), nn.Identity()), True),
        (head(nn.Sigmoid(), nn.Linear(4, 4)), False),
        (Mean(head(nn.Softmax(1)), head(nn.Softmax(1))), True),
        (Mean(head(), head()), False),
        (Mean(head(nn.Sigmoid()), head()), False),
        (Gated(), False),
    ],
)
def test_the_last_step_says_whether_there_are_probabilities(network: nn.Module, expected: bool) -> None:
    image = torch.rand(1, 3, 2, 2)
    assert ends_in_probabilities(network, image) is expected
    with torch.inference_mode():
        assert ends_in_probabilities(network, image) is expected
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        answer = AnswerReader().read(network(image), 1, partial(ends_in_probabilities, network, image))
    assert (answer.kind not in ("logits", "logit")) is expected
