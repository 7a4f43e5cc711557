"""Operations written in another way pass relevance as those that they stand for; others as by hand."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relsplit import LRP


class Between(nn.Module):
    """A function of two layers' outputs between an input and a head."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.inputs, self.one, self.two = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 8)
            self.head = nn.LazyLinear(3)
            self.function = function
            self.double().eval()(torch.zeros(1, 6).double())

    def forward(self, x: Tensor) -> Tensor:
        h = self.inputs(x).relu()
        return self.head(self.function(self.one(h), self.two(h)).flatten(1))


X = torch.rand(4, 6, generator=torch.Generator().manual_seed(0)).double()


def assigned(a: Tensor, b: Tensor) -> Tensor:
    y = torch.zeros_like(a)
    y[:, :3] = a[:, 5:]
    y[:, 4:] = b[:, :4]
    y[:, [3]] = b[:, :1]
    return y


def added_to(a: Tensor, b: Tensor) -> Tensor:
    y = a.clone()
    y[:, 2:5] += b[:, :3]
    return y


PLACES = torch.tensor([0, 0, 1, 2, 3, 3, 3, 1])

SAME: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]]] = {
    "ReLU by a comparison": (lambda a, b: a * (a > 0), lambda a, b: a.relu()),
    "ReLU by a number": (lambda a, b: a * (a > 0).to(a.dtype), lambda a, b: a.relu()),
    "ReLU by a maximum": (lambda a, b: torch.maximum(a, torch.zeros(8).double()), lambda a, b: a.relu()),
    "GELU by erf": (lambda a, b: a * 0.5 * (1 + torch.erf(a / 2**0.5)), lambda a, b: F.gelu(a)),
    "SiLU by a sigmoid": (lambda a, b: a * a.sigmoid(), lambda a, b: F.silu(a)),
    "GLU": (lambda a, b: F.glu(torch.cat([a, b], 1)), lambda a, b: a * b.sigmoid()),
    "another type": (lambda a, b: a.float().type_as(b), lambda a, b: a.float().double()),
    "assigned slices": (assigned, lambda a, b: torch.cat([a[:, 5:], b[:, :1], b[:, :4]], 1)),
    "added to a slice": (added_to, lambda a, b: torch.cat([a[:, :2], a[:, 2:5] + b[:, :3], a[:, 5:]], 1)),
    "greatest of two": (torch.max, torch.maximum),
    "least of two": (torch.min, lambda a, b: -torch.maximum(-a, -b)),
    "least, with its place": (
        lambda a, b: a.unflatten(1, (2, 4)).min(1).values,
        lambda a, b: a.unflatten(1, (2, 4)).amin(1),
    ),
    "cosine of a vector": (
        lambda a, b: F.cosine_similarity(a, torch.ones(1, 8).double())[:, None],
        lambda a, b: (F.normalize(a, dim=1) * torch.full((8,), 8**-0.5).double()).sum(1, keepdim=True),
    ),
    "added at places": (
        lambda a, b: torch.zeros(len(a), 4).double().index_add(1, PLACES, a),
        lambda a, b: torch.zeros(len(a), 4).double().scatter_add(1, PLACES.expand(len(a), -1), a),
    ),
    "added at places, as a product": (
        lambda a, b: torch.zeros(len(a), 4).double().index_add_(1, PLACES, a.relu()),
        lambda a, b: torch.stack([a.relu()[:, place == PLACES].sum(1) for place in range(4)], 1),
    ),
    "added to what is there": (
        lambda a, b: b[:, :4].index_add(1, PLACES, a, alpha=2),
        lambda a, b: b[:, :4] + torch.zeros(len(a), 4).double().index_add(1, PLACES, a * 2),
    ),
    "a standard deviation": (lambda a, b: a.std(1, keepdim=True), lambda a, b: a.var(1, keepdim=True).sqrt()),
    "a variance": (
        lambda a, b: a.var(1, keepdim=True, correction=0),
        lambda a, b: ((a - a.sum(1, keepdim=True) / 8) ** 2).sum(1, keepdim=True) / 8,
    ),
    "cut off by another": (lambda a, b: a.clamp(min=b), torch.maximum),
    "cut off on both sides": (
        lambda a, b: a.clone().clamp_(b, b + 1),
        lambda a, b: torch.minimum(torch.maximum(a, b), b + 1),
    ),
    "both ends": (
        lambda a, b: torch.stack(torch.aminmax(a, dim=1), 1),
        lambda a, b: torch.stack([a.amin(1), a.amax(1)], 1),
    ),
    "a distance": (
        lambda a, b: F.pairwise_distance(a, b, eps=0.0)[:, None],
        lambda a, b: ((a - b) ** 2).sum(1, keepdim=True).sqrt(),
    ),
    "distances of all": (
        lambda a, b: torch.cdist(a.unflatten(1, (4, 2)), b.unflatten(1, (4, 2))),
        lambda a, b: (a.view(-1, 4, 1, 2) - b.view(-1, 1, 4, 2)).square().sum(-1).sqrt(),
    ),
    "distances of all, by a product": (
        lambda a, b: torch.cdist(
            a.unflatten(1, (4, 2)), b.unflatten(1, (4, 2)), compute_mode="use_mm_for_euclid_dist"
        ),
        lambda a, b: (a.view(-1, 4, 1, 2) - b.view(-1, 1, 4, 2)).square().sum(-1).sqrt(),
    ),
    "the distance of two": (
        lambda a, b: torch.stack([torch.dist(one, other) for one, other in zip(a, b, strict=True)])[:, None],
        lambda a, b: ((a - b) ** 2).sum(1, keepdim=True).sqrt(),
    ),
    "gates that are chosen": (
        lambda a, b: a[:, :3] * b.sigmoid().topk(3, 1).values,
        lambda a, b: a[:, :3] * b.sigmoid().gather(1, b.topk(3, 1).indices),
    ),
    "there and back": (
        lambda a, b: a.sigmoid().logit() + b.tanh().atanh(),
        lambda a, b: a + b,
    ),
    "a length": (lambda a, b: a.norm(dim=1, keepdim=True), lambda a, b: (a * a).sum(1, keepdim=True).sqrt()),
}  # fmt: skip


@pytest.mark.parametrize("max_pool", ["average", "winner"])
@pytest.mark.parametrize("name", SAME)
def test_the_same_in_another_way(name: str, max_pool: str) -> None:
    one, other = (Between(function) for function in SAME[name])
    torch.testing.assert_close(one(X), other(X), rtol=1e-6, atol=1e-8)
    for target in (0, 1):
        found, sums = LRP(one, max_pool=max_pool).attribute(X, target, return_sums=True)
        expected = LRP(other, max_pool=max_pool).attribute(X, target)
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)
        torch.testing.assert_close(found.sum(1), sums["output"], rtol=1e-6, atol=0)


def test_the_least_is_the_greatest_of_the_opposite() -> None:
    least = Between(lambda a, b: a.unflatten(1, (2, 4)).amin(1))
    greatest = Between(lambda a, b: -(-a).unflatten(1, (2, 4)).amax(1))
    found = (LRP(model, max_pool="winner").attribute(X, 1) for model in (least, greatest))
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-12)


class Alone(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


@pytest.mark.parametrize(
    ("function", "shares"),
    [
        (lambda x: x.logsumexp(1, keepdim=True), lambda x: x.softmax(1)),
        (lambda x: x.logsumexp(1)[:, None], lambda x: x.softmax(1)),
        (lambda x: x.norm(dim=1, keepdim=True), lambda x: x**2 / (x**2).sum(1, keepdim=True)),
        (lambda x: torch.minimum(x[:, :3], x[:, 3:]).sum(1, keepdim=True), None),
        (lambda x: x.sin()[:, :1], lambda x: torch.eye(6)[0].expand(4, 6)),
    ],
)
def test_by_hand(function: Callable[[Tensor], Tensor], shares: Callable[[Tensor], Tensor] | None) -> None:
    relevance = LRP(Alone(function)).attribute(X, lambda out: torch.ones_like(out))
    if shares is None:  # of each pair the least has what it contributes to the sum
        least = torch.minimum(X[:, :3], X[:, 3:])
        share = least / least.sum(1, keepdim=True)
        first = X[:, :3] <= X[:, 3:]
        expected = torch.cat([share * first, share * ~first], 1)
    else:
        expected = shares(X).double()
    torch.testing.assert_close(relevance, expected, rtol=1e-9, atol=1e-12)
