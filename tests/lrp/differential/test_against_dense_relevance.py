"""Networks made at random, changed at random between calls, against relevance on dense matrices in float64.

The oracle (``dense_relevance``) knows nothing of the library, and the description of a network (``described_block``)
nothing of how PyTorch carries it out. Whatever is done to a network between two calls of the same explainer, its next
map is of the network as it then is: it starts from what ``network(images)`` answers, and is the oracle's.
"""

import copy
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from dense_relevance import Choices
from described_attention import Attention
from described_block import CHANNELS, Block, Hook
from described_compositions import Gated, Guarded, Parts, Residual, Sequence, Twice
from described_layers import COMPUTED, ChannelsLast, Conv, LopsidedPad
from described_network import Described
from described_steps import Activation, Constant, Norm, Pool
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DataObject, SearchStrategy
from torch import Tensor, nn
from torch.nn.utils import prune

from relsplit.lrp import LRP, Epsilon, Mixture, ZPlus

SETTINGS = settings(
    max_examples=8,
    phases=[Phase.explicit, Phase.generate],  # a smaller example takes minutes to find; seeds are the same every time
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)

# ------------------------------------------------------------------------------------------- descriptions at random

convolutions = st.builds(
    Conv,
    kernel=st.sampled_from([1, 3]),
    dilation=st.sampled_from([1, 1, 2]),
    groups=st.sampled_from([1, 1, 2, CHANNELS]),
    bias=st.booleans(),
    padding_mode=st.sampled_from(["zeros", "zeros", "reflect", "circular"]),
)
activations = st.builds(Activation, kind=st.sampled_from(sorted(Activation.MODULES)))
norms = st.builds(Norm, kind=st.sampled_from(["batch", "group", "layer"]))
constants = st.builds(Constant, kind=st.sampled_from(["scale", "scale_", "shift", "shift_", "factor", "temperature"]))
pools = st.builds(Pool, kind=st.sampled_from(["max", "average"]))
plain_blocks = st.one_of(convolutions, activations, norms, constants, pools, st.builds(ChannelsLast))


def chains(blocks: SearchStrategy[Block] = plain_blocks, least: int = 1, most: int = 3) -> SearchStrategy[Sequence]:
    return st.builds(Sequence, blocks=st.lists(blocks, min_size=least, max_size=most))


@st.composite
def branches(draw: st.DrawFn) -> Sequence:
    """What a skip connection leads around: with a layer."""
    return Sequence(blocks=[draw(convolutions), *draw(chains()).blocks])


@st.composite
def residuals(draw: st.DrawFn, inside: "SearchStrategy[Block] | None" = None) -> Residual:
    projection = draw(st.one_of(st.none(), st.builds(Conv, kernel=st.just(1))))
    return Residual(
        block=draw(inside or branches()), style=draw(st.sampled_from(Residual.STYLES)), projection=projection
    )


gates = st.builds(
    Gated,
    block=chains(most=2),
    kind=st.sampled_from(["squeeze", "own", "tanh", "sigmoid", "softplus", "linear"]),
)
parts = st.builds(Parts, block=chains(most=2), style=st.sampled_from(Parts.STYLES))
repeated = st.builds(Twice, block=st.one_of(chains(most=2), residuals()))
guarded = st.builds(Guarded, block=st.one_of(chains(most=2), residuals()), guard=st.sampled_from(Guarded.GUARDS))
padded = st.builds(LopsidedPad, constant=st.sampled_from([0.0, 0.5, -1.0]))
computed = st.one_of(
    st.builds(Conv, computed=st.sampled_from([name for name in COMPUTED if name != "plain"])),
    st.builds(ChannelsLast, computed=st.sampled_from([name for name in COMPUTED if name != "plain"])),
)
pre_hooks = st.builds(Hook, st.sampled_from(["times", "plus", "relu", "over"]), before=st.just(True))
post_hooks = st.builds(
    Hook, st.sampled_from(["times", "plus", "relu", "over"]), before=st.just(False), in_place=st.booleans()
)


@st.composite
def hooked(draw: st.DrawFn) -> Block:
    block = draw(st.one_of(convolutions, st.builds(ChannelsLast), norms, computed, residuals()))
    block.hooks = draw(st.lists(st.one_of(pre_hooks, post_hooks), min_size=1, max_size=2))
    return block


def attentions(closed: bool) -> SearchStrategy[Attention]:
    return st.one_of(
        st.builds(
            Attention,
            kind=st.sampled_from(["fused"] if closed else Attention.KINDS),
            mask=st.sampled_from(["closed", "closed float"] if closed else ["none", "bool", "float", "causal"]),
            heads=st.sampled_from([1, 2]),
        ),
        st.builds(
            Attention,
            kind=st.sampled_from(["fused"] if closed else Attention.KINDS),
            mask=st.just("closed" if closed else "none"),
            heads=st.sampled_from([1, 2]),
            class_token=st.just(not closed),
        ),
    )


FAMILIES: dict[str, SearchStrategy[Block]] = {
    "plain": plain_blocks,
    "residual": residuals(),
    "residual within residual": residuals(st.builds(Sequence, blocks=st.tuples(convolutions, residuals()).map(list))),
    "gated": gates,
    "attention": attentions(closed=False),
    "attention with closed rows": attentions(closed=True),
    "parts": parts,
    "shared": repeated,
    "control flow": guarded,
    "padded": padded,
    "computed weights": computed,
    "hooked": hooked(),
}


@st.composite
def networks(draw: st.DrawFn, family: SearchStrategy[Block], end: str | None = None) -> Described:
    """One or two blocks of a family, and others around them."""
    stem = Conv(
        inputs=3,
        kernel=draw(st.sampled_from([1, 3])),
        stride=draw(st.sampled_from([1, 1, 2])),
        bias=draw(st.booleans()),
    )
    body = [*draw(chains(most=2)).blocks, draw(family), *draw(chains(least=0, most=2)).blocks]
    if draw(st.booleans()):
        body.append(draw(family))
    return Described(
        stem,
        Sequence(blocks=body),
        head=draw(st.sampled_from(["mean", "flat", "max"])),
        end=end or draw(st.sampled_from(["logits", "logits", "temperature"])),
        normalised=draw(st.booleans()),
    )


@st.composite
def options(draw: st.DrawFn, description: Described) -> dict[str, Any]:
    """Options of LRP as keyword arguments, with a mixture as a number of blocks."""
    found: dict[str, Any] = {
        "rule": draw(st.sampled_from(["z_plus", "epsilon", "gamma", "alpha2_beta1", "flat", "ratio", "mixture"])),
        "input_rule": draw(st.sampled_from(["ones", "activation", "flat", "gamma"])),
        "split": draw(st.sampled_from(["ratio", "symmetric", "proportional", "gamma"])),
        "include_identity": draw(st.booleans()),
        "max_pool": draw(st.sampled_from(["average", "winner"])),
        "attention": draw(st.sampled_from(["ratio", "z_plus", "flow", "cp_lrp"])),
    }
    if any(isinstance(block, Residual) and block.style == "by parts" for block in description.blocks()):
        found["include_identity"] = True  # which of the later additions' summands forks where is a matter of taste
    if any(_makes_ties(block) for block in description.blocks()):
        found["max_pool"] = "average"
    return found


def _makes_ties(block: Block) -> bool:
    """Whether entries can be equal after it: which of them wins a pool is up to how they lie in memory."""
    clipped = isinstance(block, Activation) and block.kind.startswith(("relu", "hardswish"))
    return clipped or any(hook.operation == "relu" for hook in block.hooks)


def choices(given_options: dict[str, Any]) -> Choices:
    if given_options["rule"] == "mixture":
        return Choices(**{**given_options, "rule": "z_plus"}, mixed_after=1)
    return Choices(**given_options)


def explainer(network: nn.Module, given_options: dict[str, Any], **more: Any) -> LRP:
    rule = given_options["rule"]
    mixed = Mixture(ZPlus(), Epsilon(), blocks=1) if rule == "mixture" else rule
    return LRP(network, **{**given_options, "rule": mixed}, **more)


# -------------------------------------------------------------------------------------------------------- what holds


def images(description: Described, count: int = 2, seed: int = 0) -> Tensor:
    side = description.image_side()
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 3, side, side, generator=generator, dtype=torch.float64)


def answered(network: nn.Module, x: Tensor) -> Tensor:
    """What the network answers in evaluation mode, in the caller's gradient mode; it is as before afterwards."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    scores = network(x).detach()
    for module, mode in modes:
        module.training = mode
    return scores


def state(network: nn.Module) -> dict[str, Any]:
    """All that an explanation could leave behind, tensors by identity and version."""
    found: dict[str, Any] = {}
    for name, module in network.named_modules():
        own = {key: value for key, value in vars(module).items() if not isinstance(value, (dict, Tensor))}
        found[name] = (own, {key: list(value) for key, value in vars(module).items() if "hooks" in key and value})
    for name, tensor in (*network.named_parameters(), *network.named_buffers()):
        found[f"tensor {name}"] = (id(tensor), tensor.data_ptr(), tensor._version, tensor.requires_grad, tensor.grad)
    return found


def probabilities(description: Described, scores: Tensor) -> Tensor:
    """(N, classes) from what the oracle's scores are before a softmax or a sigmoid inside the network."""
    if description.end in ("one logit", "squeezed", "sigmoid"):
        return scores.sigmoid()
    return scores.softmax(1)


def expected_map(description: Described, x: Tensor, target: Tensor, given_options: dict[str, Any]) -> Tensor:
    """The oracle's map of every image."""
    maps = []
    for image, label in zip(x.double(), target, strict=True):
        is_contrary = description.classes == 1 and int(label) == 0
        scores, back = description.explained(image, choices(given_options), negated=is_contrary)
        p = probabilities(description, scores[None])[0]
        position = 0 if description.classes == 1 else int(label)
        maps.append(back(torch.zeros_like(p).index_fill(0, torch.tensor(position), float(p[position]))))
    return torch.stack(maps)


def assert_explained(
    lrp: LRP,
    description: Described,
    x: Tensor,
    target: Tensor,
    given_options: dict[str, Any],
    tolerance: float = 1e-7,
) -> None:
    """Check one call: the start, the map, its sum, that it repeats, and that the network is left alone."""
    network = description.network
    before, weights = state(network), copy.deepcopy({k: v.detach() for k, v in network.state_dict().items()})
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*probabilit")
        relevance, sums = lrp.attribute(x, target, return_sums=True)
        again = lrp.attribute(x, target)
    assert state(network) == before
    assert all(torch.equal(value, weights[name]) for name, value in network.state_dict().items())

    scores = answered(network, x)
    p = scores if description.end in ("softmax", "sigmoid") else probabilities(description, scores.reshape(len(x), -1))
    p = torch.cat([1 - p, p], 1) if description.classes == 1 else p
    p = p.gather(1, target[:, None])[:, 0]
    torch.testing.assert_close(sums["output"], p, rtol=max(tolerance, 1e-6), atol=0)
    torch.testing.assert_close(sums["input"], relevance.flatten(1).sum(1))

    expected = expected_map(description, x, target, given_options).to(relevance.dtype)
    greatest = expected.flatten(1).abs().amax(1).reshape(-1, 1, 1, 1)
    torch.testing.assert_close(relevance / greatest, expected / greatest, rtol=0, atol=tolerance)
    torch.testing.assert_close(again, relevance, rtol=0, atol=tolerance * float(greatest.max()))
    assert relevance.isfinite().all()


def targets(description: Described, count: int) -> Tensor:
    return torch.arange(count) % (2 if description.classes == 1 else 4)


@pytest.fixture(autouse=True)
def _no_word_about_old_functions() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield


@pytest.mark.parametrize("family", FAMILIES)
@SETTINGS
@given(data=st.data())
def test_a_network_made_at_random(family: str, data: DataObject) -> None:
    description = data.draw(networks(FAMILIES[family]))
    given_options = data.draw(options(description))
    network = description.built(data.draw(st.integers(0, 99)))
    x = images(description, 3)
    lrp = explainer(network, given_options)
    with torch.set_grad_enabled(data.draw(st.booleans())):
        assert_explained(lrp, description, x, targets(description, 3), given_options)
        together = lrp.attribute(x, targets(description, 3))
        one_by_one = [lrp.attribute(x[i : i + 1], targets(description, 3)[i : i + 1]) for i in range(3)]
    greatest = float(together.abs().max())
    torch.testing.assert_close(torch.cat(one_by_one), together, rtol=0, atol=1e-7 * greatest)


@pytest.mark.parametrize("end", ["one logit", "squeezed", "softmax", "sigmoid"])
@SETTINGS
@given(data=st.data())
def test_answers_of_every_kind(end: str, data: DataObject) -> None:
    description = data.draw(networks(FAMILIES["residual"], end))
    given_options = data.draw(options(description))
    network = description.built(data.draw(st.integers(0, 99)))
    lrp = explainer(network, given_options)
    assert_explained(lrp, description, images(description), targets(description, 2), given_options)


@SETTINGS
@given(data=st.data())
def test_hooks_on_the_network_itself(data: DataObject) -> None:
    description = data.draw(networks(FAMILIES["plain"]))
    description.hooks = data.draw(st.lists(st.one_of(pre_hooks, post_hooks), min_size=1, max_size=2))
    given_options = data.draw(options(description))
    network = description.built(data.draw(st.integers(0, 99)))
    lrp = explainer(network, given_options)
    assert_explained(lrp, description, images(description), targets(description, 2), given_options)


# ------------------------------------------------------------------------------------------- changes between two calls

Change = Callable[[Described, DataObject], None]


def _parameters(description: Described) -> list[nn.Parameter]:
    return list(description.network.parameters())


def _chosen(data: DataObject, description: Described) -> nn.Parameter:
    return data.draw(st.sampled_from(_parameters(description)))


def load_state_dict(description: Described, data: DataObject) -> None:
    seed = data.draw(st.integers(100, 199))
    network = description.network
    other = copy.deepcopy({name: value.detach() for name, value in network.state_dict().items()})
    generator = torch.Generator().manual_seed(seed)
    for name, value in other.items():
        if value.is_floating_point() and not name.endswith(("running_var", "mask", "_u", "_v")):
            value += 0.3 * torch.randn(value.shape, generator=generator).to(value)
    network.load_state_dict(other)


def optimizer_step(description: Described, data: DataObject) -> None:
    network = description.network
    optimizer = torch.optim.SGD(network.parameters(), lr=0.3)
    with torch.enable_grad():
        x = images(description).to(next(network.parameters()).dtype)
        network(x).square().sum().backward()
    for parameter in network.parameters():
        if parameter.grad is not None:
            parameter.grad.clamp_(-1, 1)
    optimizer.step()
    optimizer.zero_grad()


def one_entry_through_data(description: Described, data: DataObject) -> None:
    flat = _chosen(data, description).data.view(-1)
    flat[data.draw(st.integers(0, len(flat) - 1))] += 1.5


def an_entry_under_inference_mode(description: Described, data: DataObject) -> None:
    weight = _chosen(data, description)
    with torch.inference_mode():
        weight.data.view(-1)[-1] -= 1.5


def two_rows_swapped(description: Described, data: DataObject) -> None:
    wide = [weight for weight in _parameters(description) if weight.ndim > 1 and len(weight) > 1]
    weight = data.draw(st.sampled_from(wide))
    weight.data.copy_(weight.data.flip(0))


def through_numpy(description: Described, data: DataObject) -> None:
    weight = _chosen(data, description).detach()
    weight.numpy().reshape(-1)[0] += 1


def exchanged_parameter(description: Described, data: DataObject) -> None:
    head = description.network.classify
    head.weight = nn.Parameter(head.weight.detach().flip(0) * 1.1)


def training_mode(description: Described, data: DataObject) -> None:
    description.network.train(not description.network.training)


def one_module_in_training_mode(description: Described, data: DataObject) -> None:
    module = data.draw(st.sampled_from(list(description.network.modules())))
    module.training = not module.training


def frozen(description: Described, data: DataObject) -> None:
    description.network.requires_grad_(data.draw(st.booleans()))


def temperature(description: Described, data: DataObject) -> None:
    description.temperature = description.network.temperature = data.draw(st.sampled_from([0.3, 0.8, 2.0]))


def dilation(description: Described, data: DataObject) -> None:
    for block in description.blocks():
        if isinstance(block, Conv) and block.kernel == 3 and block.stride == 1 and block.padding_mode == "zeros":
            block.dilation = 3 - block.dilation if block.dilation < 3 else 1
            block.module.dilation = (block.dilation, block.dilation)  # type: ignore[assignment]
            block.module.padding = (block.padding, block.padding)  # type: ignore[assignment]


def groups_and_eps(description: Described, data: DataObject) -> None:
    for block in description.blocks():
        if isinstance(block, Norm):
            block.eps = data.draw(st.sampled_from([0.1, 0.5]))
            module = block.module.norm if block.kind == "layer" else block.module
            module.eps = block.eps  # type: ignore[union-attr]
            if block.kind == "group":
                block.num_groups = block.module.num_groups = data.draw(st.sampled_from([1, 2, CHANNELS]))  # type: ignore[union-attr]


def kernel_of_pools(description: Described, data: DataObject) -> None:
    for block in description.blocks():
        if isinstance(block, Pool):
            block.kernel = data.draw(st.sampled_from([1, 3, 5]))
            block.module.kernel_size, block.module.padding = block.kernel, block.kernel // 2  # type: ignore[assignment]


def constants_and_styles(description: Described, data: DataObject) -> None:
    for block in description.blocks():
        if isinstance(block, Constant):
            block.factor = block.module.factor = data.draw(st.sampled_from([0.5, 2.5]))  # type: ignore[union-attr]
        if isinstance(block, Residual) and block.style not in ("by parts", "minus"):
            block.style = block.module.style = data.draw(st.sampled_from(["plus", "in place", "torch.add"]))  # type: ignore[union-attr]


def exchanged_activation(description: Described, data: DataObject) -> None:
    for block in description.blocks():
        if isinstance(block, Activation):
            block.kind = data.draw(st.sampled_from(sorted(Activation.MODULES)))
            holder, _, name = block.path.rpartition(".")
            exchanged = block.build()
            exchanged.training = block.module.training
            block.module = exchanged
            setattr(description.network.get_submodule(holder), name, exchanged)


def a_hook_comes(description: Described, data: DataObject) -> None:
    hook = data.draw(st.one_of(pre_hooks, post_hooks))
    hook.register(description.stem.module)
    description.stem.hooks.append(hook)


def a_hook_on_the_network_comes(description: Described, data: DataObject) -> None:
    hook = data.draw(st.one_of(pre_hooks, post_hooks))
    hook.register(description.network)
    description.hooks.append(hook)


def hooks_go(description: Described, data: DataObject) -> None:
    for holder, module in ((description, description.network), (description.stem, description.stem.module)):
        holder.hooks.clear()
        if holder is description or description.stem.computed in ("plain", "new weight_norm", "new spectral_norm"):
            module._forward_pre_hooks.clear()
        module._forward_hooks.clear()


def pruning_comes(description: Described, data: DataObject) -> None:
    if description.stem.computed == "plain":
        description.stem.computed = "pruned"
        prune.l1_unstructured(description.stem.module, "weight", amount=0.4)


def weight_norm_comes(description: Described, data: DataObject) -> None:
    if description.stem.computed == "plain":
        description.stem.computed = "weight_norm"
        nn.utils.weight_norm(description.stem.module)


def storage_exchanged(description: Described, data: DataObject) -> None:
    for parameter in description.network.parameters():
        parameter.data = parameter.data.clone()
    _chosen(data, description).data.mul_(-1)


CHANGES: list[Change] = [
    load_state_dict,
    optimizer_step,
    one_entry_through_data,
    an_entry_under_inference_mode,
    two_rows_swapped,
    through_numpy,
    exchanged_parameter,
    training_mode,
    one_module_in_training_mode,
    frozen,
    temperature,
    dilation,
    groups_and_eps,
    kernel_of_pools,
    constants_and_styles,
    exchanged_activation,
    a_hook_comes,
    a_hook_on_the_network_comes,
    hooks_go,
    pruning_comes,
    weight_norm_comes,
    storage_exchanged,
]

anything = st.one_of(*(family for name, family in FAMILIES.items() if name != "attention with closed rows"))


def _settled(given_options: dict[str, Any]) -> dict[str, Any]:
    """Options whose maps are continuous, so that a network far from what it was begun with is compared closely.

    Winners of windows that are equal but for rounding are none: a shift may leave nothing but zeros behind.
    """
    rules = {"epsilon": "z_plus", "mixture": "z_plus"}
    return {
        **given_options,
        "rule": rules.get(given_options["rule"], given_options["rule"]),
        "split": {"proportional": "ratio", "gamma": "ratio"}.get(given_options["split"], given_options["split"]),
        "max_pool": "average",
    }


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@settings(SETTINGS, max_examples=4)
@given(data=st.data())
def test_a_change_between_two_calls_of_one_explainer(change: Change, data: DataObject) -> None:
    end = "temperature" if change is temperature else None
    description = data.draw(networks(anything, end))
    if change in (dilation, groups_and_eps, kernel_of_pools, constants_and_styles, exchanged_activation):
        description.body.blocks += [Conv(), Norm(kind="group"), Activation(), Pool(), Constant(kind="factor"), Conv()]
    given_options = _settled(data.draw(options(description)))
    description.built(data.draw(st.integers(0, 99)))
    x, target = images(description), targets(description, 2)
    lrp = explainer(description.network, given_options)
    assert_explained(lrp, description, x, target, given_options)
    change(description, data)
    assert_explained(lrp, description, x, target, given_options)
    assert_explained(explainer(description.network, given_options), description, x, target, given_options)


@settings(SETTINGS, max_examples=25)
@given(data=st.data())
def test_many_changes_one_after_the_other(data: DataObject) -> None:
    description = data.draw(networks(anything))
    given_options = _settled(data.draw(options(description)))
    description.built(data.draw(st.integers(0, 99)))
    lrp = explainer(description.network, given_options)
    for change in data.draw(st.lists(st.sampled_from(CHANGES), min_size=2, max_size=5)):
        change(description, data)
        count = data.draw(st.integers(1, 3))
        with torch.set_grad_enabled(data.draw(st.booleans())):
            assert_explained(
                lrp, description, images(description, count, data.draw(st.integers(0, 9))),
                targets(description, count), given_options,
            )  # fmt: skip


@SETTINGS
@given(data=st.data())
def test_precision_changes_between_two_calls(data: DataObject) -> None:
    """float32 is compared where no share can flip: rules of magnitudes, and activations without a kink's effect."""
    description = data.draw(networks(st.one_of(residuals(), attentions(closed=False), repeated)))
    given_options = {
        **data.draw(options(description)), "rule": "ratio", "split": "ratio", "max_pool": "average",
        "attention": "ratio",
    }  # fmt: skip
    description.built(data.draw(st.integers(0, 99)))
    x, target = images(description).float().double(), targets(description, 2)
    lrp = explainer(description.network, given_options)
    assert_explained(lrp, description, x, target, given_options)
    description.network.float()
    assert_explained(lrp, description, x.float(), target, given_options, tolerance=2e-3)
    description.network.double()
    assert_explained(lrp, description, x, target, given_options)
