"""With the published options the maps are those of the paper's released code, and they lose what it loses."""

import pytest
import torch
from released_oracle import released_map
from residual_networks import BLOCKS, images, small_resnet

from relsplit.lrp import LRP

PUBLISHED = {"input_rule": "ones", "max_pool": "average_2x2", "stabilizer": 1e-5}


@pytest.mark.parametrize("include_identity", [True, False])
@pytest.mark.parametrize("split", ["ratio", "symmetric"])
@pytest.mark.parametrize("block", BLOCKS)
def test_equals_released_code(block: str, split: str, include_identity: bool) -> None:
    model, x = small_resnet(BLOCKS[block]).double(), images(2, 64).double()
    expected = released_map(model, x, split, include_identity)
    found = LRP(model, split, include_identity, **PUBLISHED).attribute(x).sum(1)
    assert (found - expected).abs().max() <= 1e-12 * expected.abs().max()


def test_released_code_loses_relevance_and_the_default_does_not() -> None:
    model, x = small_resnet().double(), images(4, 64).double()
    p = model(x).softmax(1).amax(1)
    lost = 1 - LRP(model, **PUBLISHED).attribute(x).flatten(1).sum(1) / p
    assert (lost > 0.01).all()
    kept = LRP(model).attribute(x).flatten(1).sum(1)
    assert torch.allclose(kept, p, rtol=1e-12)
