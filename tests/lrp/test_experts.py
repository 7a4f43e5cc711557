"""Mixtures of experts: what a kernel does for all experts at once is what a loop over the experts does."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import transformers as hf
from torch import Tensor, nn

from relsplit import LRP
from relsplit.lrp.rules.mixture import Mixture
from relsplit.lrp.rules.ratio import RatioRule
from relsplit.lrp.rules.z_plus import ZPlus
from relsplit.targets import NextToken

ENDS = torch.tensor([3, 3, 6], dtype=torch.int32)
"""Of eight tokens; the second expert has none, and the last two have no expert."""


class Routed(nn.Module):
    """One sequence of tokens, each multiplied by the weights of its group."""

    def __init__(self, product: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.inputs, self.head = nn.Linear(6, 8), nn.Linear(8, 3)
            self.experts = nn.Parameter(torch.rand(3, 8, 8) - 0.3)
        self.product = product

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.product(self.inputs(x[0]).relu(), self.experts)[:6].sum(0, keepdim=True))


def looped(x: Tensor, experts: Tensor) -> Tensor:
    return torch.cat([x[:3] @ experts[0], x[3:6] @ experts[2]])


PRODUCTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "rows": lambda x, experts: F.grouped_mm(x, experts, offs=ENDS),
    "columns": lambda x, experts: F.grouped_mm(experts.mT.contiguous(), x.t().contiguous(), offs=ENDS).t(),
    "converted": lambda x, experts: torch.ops.aten._grouped_mm(x, experts, ENDS, None, torch.float32),
}


@pytest.mark.skipif(not hasattr(F, "grouped_mm"), reason="this torch has no such kernel")
@pytest.mark.parametrize("name", PRODUCTS)
def test_a_product_of_groups_is_a_product_for_each(name: str) -> None:
    x = torch.rand(1, 8, 6, generator=torch.Generator().manual_seed(1))
    one, other = Routed(PRODUCTS[name]), Routed(looped)
    torch.testing.assert_close(one(x), other(x))
    found, expected = (LRP(model).attribute(x) for model in (one, other))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)
    assert not found[0, 6:].any()


SIZES: dict[str, Any] = {
    "vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64,
    "max_position_embeddings": 40, "num_key_value_heads": 2, "num_experts_per_tok": 2,
    "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip
MODELS: dict[str, Callable[[], nn.Module]] = {
    "Mixtral": lambda: hf.MixtralForCausalLM(hf.MixtralConfig(**SIZES, num_local_experts=4)),
    "Qwen": lambda: hf.Qwen2MoeForCausalLM(
        hf.Qwen2MoeConfig(**SIZES, num_experts=4, moe_intermediate_size=32, shared_expert_intermediate_size=32)
    ),
    "GPT-OSS": lambda: hf.GptOssForCausalLM(hf.GptOssConfig(**SIZES, head_dim=8, num_local_experts=4)),
}


@pytest.mark.parametrize("name", MODELS)
def test_all_ways_to_run_experts_have_one_map(name: str) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = MODELS[name]().eval()
    ids = torch.randint(4, 50, (2, 7), generator=torch.Generator().manual_seed(1))
    maps = []
    for way in ("eager", "batched_mm", "grouped_mm"):
        model.set_experts_implementation(way)
        found, sums = LRP(model).attribute(ids, NextToken(), return_sums=True)
        torch.testing.assert_close(found.sum(1), sums["output"], rtol=1e-5, atol=0)
        maps.append(found)
    torch.testing.assert_close(maps[1], maps[0], rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(maps[2], maps[0], rtol=1e-3, atol=1e-5)


def test_what_the_ways_differ_by_is_the_rule_of_a_sum() -> None:
    """A loop adds one expert to another, where relevance is split; the kernels' results are summed as by a layer.

    Where that layer shares relevance as an addition does, by magnitude, the maps are the same to float64's precision.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = MODELS["Mixtral"]().double().eval()
    ids = torch.randint(4, 50, (2, 7), generator=torch.Generator().manual_seed(1))
    rules: dict[str, Any] = {"own": "z_plus", "by magnitude": Mixture(RatioRule(), ZPlus(), kind="mean")}
    differences = {}
    for name, rule in rules.items():
        maps = []
        for way in ("eager", "batched_mm"):  # the grouped kernel takes no float64
            model.set_experts_implementation(way)
            maps.append(LRP(model, rule=rule).attribute(ids, NextToken()))
        differences[name] = float((maps[1] - maps[0]).abs().max() / maps[0].abs().max())
    assert differences["own"] > 1e-6
    assert differences["by magnitude"] < 1e-12
