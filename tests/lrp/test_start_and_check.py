"""What is explained is the user's, and what is lost on the way is said."""

import warnings

import pytest
import torch
from residual_networks import images, small_resnet
from torch import Tensor, nn

from relsplit.errors import InputError
from relsplit.lrp import LRP, Epsilon
from relsplit.lrp.rules.z_plus import ZPlus


def contrastive(logits: Tensor) -> Tensor:
    """One class against another."""
    p = logits.softmax(1)
    start = torch.zeros_like(p)
    start[:, 2], start[:, 7] = p[:, 2], -p[:, 7]
    return start


def test_a_start_of_ones_own() -> None:
    model, x = small_resnet().double(), images().double()
    by_class = LRP(model)
    expected = by_class.attribute(x, target=2) - by_class.attribute(x, target=7)
    torch.testing.assert_close(LRP(model, start=contrastive).attribute(x), expected, rtol=1e-7, atol=1e-12)


def test_an_output_that_is_no_class_scores() -> None:
    """A dense prediction: the pixels of one class; an embedding: its likeness to another one."""
    dense = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 4, 1)).double()

    def one_class(output: Tensor) -> Tensor:
        mine = output.argmax(1, keepdim=True) == 1
        return output.softmax(1) * mine * (torch.arange(4) == 1).reshape(1, 4, 1, 1)

    x = images(2, 12).double()
    relevance, sums = LRP(dense).attribute(x, target=one_class, return_sums=True)
    torch.testing.assert_close(sums["output"], one_class(dense(x)).sum((1, 2, 3)).detach())
    torch.testing.assert_close(relevance.sum((1, 2, 3)), sums["output"], rtol=1e-9, atol=0)
    reference = torch.ones(10).double()
    likeness = LRP(small_resnet().double()).attribute(images().double(), target=lambda e: e * reference)
    torch.testing.assert_close(likeness.sum((1, 2, 3)), small_resnet().double()(images().double()).sum(1).detach())


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda scores: scores[:, :1], r"target: the function must return relevance of shape \(2, 10\), not \(2, 1\)"),
        (lambda scores: None, "not NoneType"),
        (lambda scores: scores / 0, "NaN or infinite"),
    ],
)
def test_functions_that_return_no_relevance(function: object, words: str) -> None:
    with pytest.raises(InputError, match=words):
        LRP(small_resnet()).attribute(images(), target=function)  # type: ignore[call-overload]


class Forgetful(ZPlus):
    """Promises more than it keeps."""

    def propagate(self, *args: object, **kwargs: object) -> Tensor:
        """Lose a thousandth."""
        return super().propagate(*args, **kwargs) * 0.999  # type: ignore[arg-type]


def test_a_broken_promise_is_told_once_and_where() -> None:
    explainer = LRP(small_resnet(), rule={"layer3.0.conv2": Forgetful(), "*": "z_plus"})
    with pytest.warns(UserWarning, match=r"not conserved.*off by \d.\de-04.*first .* in module 'layer3.0.conv2'"):
        explainer.attribute(images())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        explainer.attribute(images())


@pytest.mark.parametrize("options", [{"rule": "epsilon"}, {"stabilizer": 1e-5}, {"max_pool": "average_2x2"}])
def test_who_promises_nothing_is_not_told(options: dict[str, object]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        LRP(small_resnet(), **options).attribute(images())  # type: ignore[arg-type]


def test_check_shows_sums_leaks_and_cost() -> None:
    good = LRP(small_resnet()).check(images())
    assert (good.leaks, good.gap < 1e-5) == ([], True)
    assert good.forwards > 1
    rule = {"layer3.0.conv2": Epsilon(0.1), "*": "z_plus"}
    leaking = LRP(small_resnet(), rule=rule).check(images(), target=1)
    assert "layer3.0.conv2" in leaking.leaks[0].where
    lost = (leaking.sums["output"] - leaking.sums["input"]) / leaking.sums["output"]
    assert leaking.gap == pytest.approx(float(lost.abs().max()), rel=1e-3)
    table = str(leaking)
    assert all(name in table for name in leaking.sums)
    assert "at operation 'conv2d' in module" in table
    assert "forward passes" in table


def test_check_where_images_are_not_the_first_dimension() -> None:
    """As nn.MultiheadAttention has it inside: tokens first."""

    class TokensFirst(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches, self.head = nn.Conv2d(3, 8, 8, 8), nn.Linear(8, 5)
            self.layer = nn.TransformerEncoderLayer(8, 2, 16)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.layer(self.patches(x).flatten(2).permute(2, 0, 1)).mean(0))

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = TokensFirst().eval()
    result = LRP(model).check(images(3, 32))
    assert (result.leaks, result.gap < 1e-5, list(result.sums)) == ([], True, ["input", "output"])
