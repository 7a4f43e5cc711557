"""What every registered rule, splitting, treatment of attention and operation has to hold: new ones are found here."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pytest
import torch
from residual_networks import images, small_resnet
from torch import Tensor, nn

import relsplit.lrp.rules
import relsplit.lrp.splitting
from folders import classes_with
from relsplit import LRP
from relsplit.lrp.attention import ATTENTIONS
from relsplit.lrp.layers.convolution import Convolution
from relsplit.lrp.layers.dense import Dense
from relsplit.lrp.layers.linear_layer import LinearLayer
from relsplit.lrp.layers.linear_map import LinearMap
from relsplit.lrp.layers.matrix_product import MatrixProduct
from relsplit.lrp.operations import OPERATIONS
from relsplit.lrp.operations.pass_through import constant
from relsplit.lrp.rules import RULES
from relsplit.lrp.rules.choice import rule_choice
from relsplit.lrp.rules.negated import Negated
from relsplit.lrp.rules.rule import Place, Rule
from relsplit.lrp.rules.z_box import ZBox
from relsplit.lrp.rules.z_plus import ZPlus
from relsplit.lrp.splitting import SPLITTINGS
from small_transformer import small_vit

PLACES = [
    Place("layer", residuals, depth, kind)
    for residuals, depth in ((0, 0.0), (99, 0.99))
    for kind in ("convolution", "dense", "mean")
]
TORCH = tuple(map(int, torch.__version__.split(".")[:2]))
GENERATOR = torch.Generator().manual_seed(0)
UNNAMED: Mapping[type[Any], Callable[[], Rule]] = {
    ZBox: lambda: ZBox(-4.0, 5.0),
    Negated: lambda: Negated(ZPlus()),
}
"""Rules that cannot be had by name, because only their user knows their options, or they are of another rule."""


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=GENERATOR, dtype=torch.float64)


def convolution(weight: Tensor, stride: int, padding: int, transposed: bool = False, groups: int = 1) -> Convolution:
    return Convolution(weight, drawn(4), [stride] * 2, [padding] * 2, [1, 1], transposed, [0, 0], groups)


LAYERS: dict[str, tuple[LinearLayer, Tensor]] = {
    "dense": (Dense(drawn(5, 6), drawn(5)), drawn(3, 6)),
    "convolution": (convolution(drawn(4, 2, 3, 3), 1, 1), drawn(3, 2, 6, 5)),
    "stride": (convolution(drawn(4, 2, 3, 3), 2, 1), drawn(3, 2, 6, 5)),
    "groups": (convolution(drawn(4, 1, 3, 3), 1, 1, groups=2), drawn(3, 2, 6, 5)),
    "transposed": (convolution(drawn(2, 4, 3, 3), 2, 1, transposed=True), drawn(3, 2, 4, 3)),
    "mean": (LinearMap(lambda x: nn.functional.avg_pool2d(x, 2)), drawn(3, 2, 6, 4)),
    "attention": (MatrixProduct(drawn(3, 4, 4).softmax(-1), comes_first=True), drawn(3, 4, 2)),
    "negative": (Dense(-drawn(5, 6).abs(), None), drawn(3, 6).abs()),
}


def plain_rules() -> dict[str, Rule]:
    """Every rule that has a name, with and without a stabiliser, those of choices by layer included; and the others."""
    found: dict[str, Rule] = {}
    for name in RULES.names():
        alike = []
        for stabilizer in (0.0, 1e-3):
            choice = rule_choice(name, stabilizer)
            for rule in map(choice.rule_at, PLACES):
                if (type(rule), vars(rule)) not in alike:
                    alike.append((type(rule), vars(rule)))
                    found[f"{name}, {stabilizer}, {type(rule).__name__}"] = rule
    return found | {kind.__name__: make() for kind, make in UNNAMED.items()}


RULES_BY_NAME = plain_rules()


def test_every_rule_and_splitting_of_the_folders_can_be_had() -> None:
    rules = {type(rule) for rule in RULES_BY_NAME.values()}
    assert set(classes_with("propagate", relsplit.lrp.rules).values()) <= rules
    splittings = {type(SPLITTINGS.get(name)()) for name in SPLITTINGS.names()}
    assert set(classes_with("share", relsplit.lrp.splitting).values()) <= splittings


@pytest.mark.parametrize("layer_name", LAYERS)
@pytest.mark.parametrize("name", RULES_BY_NAME)
def test_a_rule(name: str, layer_name: str) -> None:
    """Relevance of h's shape, linear in what arrives, of each image for itself; a promise to conserve is kept."""
    rule, (layer, h) = RULES_BY_NAME[name], LAYERS[layer_name]
    nowhere = torch.ones_like(h)
    nowhere.flatten(1)[:, 0] = 0
    for value, nonnegative, support in (
        (h, False, None),
        (h.abs(), True, None),
        (h.abs() * nowhere, True, nowhere),
        (torch.zeros_like(h), True, None),  # as after a ReLU that lets nothing through
    ):
        kept = value.clone()

        def passed(
            relevance: Tensor,
            h: Tensor = value,
            layer: LinearLayer = layer,
            nonnegative: bool = nonnegative,
            support: Tensor | None = support,
        ) -> Tensor:
            return rule.propagate(layer, h, relevance.clone(), nonnegative=nonnegative, support=support)

        first, second = drawn(*layer.reach(value).shape), drawn(*layer.reach(value).shape)
        result = passed(first)
        assert result.shape == value.shape
        assert result.dtype == value.dtype
        assert result.isfinite().all()
        assert torch.equal(value, kept), "the saved input was written over"
        assert result.data_ptr() != value.data_ptr(), "what is returned is written over later"
        size = float(result.abs().max()) + 1e-9
        torch.testing.assert_close(passed(first + second), result + passed(second), rtol=1e-6, atol=1e-6 * size)
        torch.testing.assert_close(passed(-3 * first), -3 * result, rtol=1e-6, atol=1e-6 * size)
        assert not passed(torch.zeros_like(first)).any()
        if support is not None:
            assert not result[support == 0].any(), "relevance where nothing depends on the image"
        alone = torch.cat([first[:1], torch.zeros_like(first[1:])])
        torch.testing.assert_close(passed(alone)[:1], result[:1], rtol=1e-9, atol=1e-9 * size)
        assert not passed(alone)[1:].any(), "relevance of one image came to another"
        if rule.conserves:
            totals = result.flatten(1).sum(1), first.flatten(1).sum(1)
            scale = 1e-9 * float(result.abs().sum() + first.abs().sum())
            torch.testing.assert_close(*totals, rtol=0, atol=scale, msg="the rule promises to conserve relevance")


def check_map(model: nn.Module, x: Tensor, conserves: bool, **options: Any) -> None:
    """What LRP's maps hold whatever the options: shape, linearity in the start, each image for itself, the promise."""

    def explained(x: Tensor, factor: float) -> tuple[Tensor, dict[str, Tensor]]:
        start: Callable[[Tensor], Tensor] = lambda scores: torch.ones_like(scores) * factor  # noqa: E731
        return LRP(model, start=start, **options).attribute(x, return_sums=True)

    relevance, sums = explained(x, 1.0)
    assert relevance.shape == x.shape
    assert relevance.isfinite().all()
    size = float(relevance.abs().max())
    torch.testing.assert_close(explained(x, -2.0)[0], -2 * relevance, rtol=1e-6, atol=1e-8 * size)
    assert not explained(x, 0.0)[0].any()
    torch.testing.assert_close(explained(x[:1], 1.0)[0], relevance[:1], rtol=1e-6, atol=1e-8 * size)
    if conserves:
        torch.testing.assert_close(sums["input"], sums["output"], rtol=1e-8, atol=0)


@pytest.mark.parametrize("name", SPLITTINGS.names())
def test_a_splitting(name: str) -> None:
    splitting = SPLITTINGS.get(name)()
    skip, branch = drawn(3, 2, 5, 4), drawn(3, 2, 5, 4)
    skip[0, 0], branch[0, 0] = 0.0, 0.0
    kept = skip.clone(), branch.clone()
    share = splitting.share(skip, branch)
    assert torch.equal(skip, kept[0])
    assert torch.equal(branch, kept[1])
    assert torch.as_tensor(share).isfinite().all()
    if isinstance(share, Tensor):
        assert share.shape == skip.shape
        if getattr(splitting, "returns_new", False):
            again = splitting.share(skip, branch)
            assert isinstance(again, Tensor)
            assert len({each.data_ptr() for each in (share, again, skip, branch)}) == 4
    check_map(small_resnet().double(), images().double(), splitting.conserves, split=splitting)


@pytest.mark.parametrize("name", ATTENTIONS.names())
def test_a_treatment_of_attention(name: str) -> None:
    attention = ATTENTIONS.get(name)()
    check_map(small_vit().double(), images(2, 32).double(), attention.conserves, attention=attention)


@pytest.mark.skipif(TORCH < (2, 9), reason="older ones lack operations that have a way back here")
@pytest.mark.parametrize("name", OPERATIONS.names())
def test_an_operation_is_called_as_pytorch_calls_it(name: str) -> None:
    """A misspelt name would never be asked for."""
    library, _, own = name.rpartition("::")
    if library == "transformers":
        pytest.importorskip("transformers.integrations.moe")  # which registers it
    assert hasattr(getattr(torch.ops, library or "aten"), own), f"{name}: PyTorch has none"


GIVEN: Mapping[str, Any] = {
    "dim": 1, "dims": [2, 1], "dim0": 1, "dim1": 2, "size": [-1, 4, 6], "kernel_size": 2, "output_size": [2],
    "index": 0, "shifts": 1, "repeats": [1, 2, 1], "exponent": 2, "min": 0, "max": 1, "half_to_float": False,
    "dtype": None, "split_size": 2, "sections": 2, "chunks": 2, "pad": [1, 1], "padding": [1, 1], "other": 2.0,
}  # fmt: skip
"""What a call needs beside its activation, by the name that PyTorch's schema has for it."""


def call_of_one_activation(name: str, x: Tensor) -> Callable[[Tensor], Any] | None:
    """A way to call an operation on one activation (N, 4, 6), None where its schema wants what nobody here knows."""
    packet = getattr(torch.ops.aten, name, None)
    for overload in [] if packet is None else packet.overloads():
        call, schema = getattr(packet, overload), getattr(packet, overload)._schema
        needed = [each for each in schema.arguments[1:] if not each.has_default_value()]
        if schema.is_mutable or any(each.name not in GIVEN for each in needed):
            continue
        operation = partial(call, **{each.name: GIVEN[each.name] for each in needed})
        try:
            several, one = first_of(operation(x)), first_of(operation(x[:1]))
        except Exception:  # not for such a shape, or not with these
            continue
        of_images = isinstance(several, Tensor) and several.is_floating_point() and several.dim() > 1
        if of_images and several.shape == (len(x), *one.shape[1:]) and len(one) == 1 and several.dtype == x.dtype:
            return operation
    return None


def first_of(output: Any) -> Any:
    return output[0] if isinstance(output, (tuple, list)) and output else output


RANGES = {**dict.fromkeys(("acos", "asin", "atanh", "erfinv", "logit"), (0.1, 0.1)), "acosh": (1.0, 1.1)}
"""A factor and a summand that bring activations to where a function is defined."""


class Around(nn.Module):
    """A layer, an operation on what it makes, and the sum of each of the outputs' halves as scores."""

    def __init__(self, operation: Callable[[Tensor], Any], factor: float = 1.0, summand: float = 0.1) -> None:
        super().__init__()
        self.layer, self.operation = nn.Linear(6, 6).double(), operation
        self.factor, self.summand = factor, summand

    def forward(self, x: Tensor) -> Tensor:
        given = self.factor * self.layer(x[:, 0]).relu() + self.summand
        value = first_of(self.operation(given)).flatten(1)
        return torch.stack([half.sum(1) for half in value.tensor_split(2, 1)], 1)


POSSIBLE = {name: call_of_one_activation(name, drawn(3, 4, 6).abs()) for name in OPERATIONS.names()}
ALONE = {name: call for name, call in POSSIBLE.items() if call is not None and OPERATIONS.get(name) is not constant}


@pytest.mark.parametrize("name", ALONE)
def test_an_operation_on_one_activation(name: str) -> None:
    torch.manual_seed(0)
    model, x = Around(ALONE[name], *RANGES.get(name, ())), drawn(3, 1, 4, 6)
    promises = not [leak for leak in LRP(model, start=torch.ones_like).check(x).leaks if not leak.promised]
    check_map(model, x, promises)


def test_many_operations_can_be_tried_on_one_activation() -> None:
    assert len(ALONE) > 60
