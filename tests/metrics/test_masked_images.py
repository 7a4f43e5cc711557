"""The masked images themselves, pixel by pixel."""

import numpy as np
import pytest
import torch

from relsplit.baseline import BaselineImage
from relsplit.metrics.insertion_deletion.masked_images import MaskedImages, Substrate
from relsplit.metrics.insertion_deletion.ranking import rank_pixels


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("baseline", ["black", "blur"])
def test_every_pixel_is_exactly_the_images_or_the_baselines(dtype, baseline):
    generator = torch.Generator().manual_seed(0)
    images = (torch.randn(3, 3, 5, 6, generator=generator) * 1000).to(dtype)
    maps = torch.randn(3, 5, 6, generator=generator)
    hidden = BaselineImage(baseline, (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)).of(images)
    requests = np.array(
        [(0, sample, deletion, k) for sample in range(3) for deletion in (0, 1) for k in (0, 1, 17, 30)]
    )
    masked = MaskedImages(images, [Substrate(rank_pixels(maps).rank, 30, hidden)], requests)
    built = masked.build(0, len(masked))
    for (_, sample, deletion, k), item in zip(requests, masked.item_of_request, strict=True):
        first = (
            maps[sample] >= maps[sample].flatten().sort(descending=True).values[k - 1] if k else torch.zeros(5, 6) > 0
        )
        kept = first != bool(deletion)
        assert torch.equal(built[item], torch.where(kept, images[sample], hidden.expand_as(images)[sample]))


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("baselines", [("black",), ("blur",), ("black", "blur")])
def test_building_in_half_precision_is_building_and_then_rounding(half, baselines):
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(3, 3, 5, 6, generator=generator) * 1000
    rank = rank_pixels(torch.randn(3, 5, 6, generator=generator)).rank
    substrates = [
        Substrate(rank, 30, BaselineImage(kind, (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)).of(images)) for kind in baselines
    ]
    requests = np.array(
        [
            (kind, sample, deletion, k)
            for kind in range(len(baselines))
            for sample in range(3)
            for deletion in (0, 1)
            for k in (0, 1, 17, 30)
        ]
    )
    whole, rounded = MaskedImages(images, substrates, requests), MaskedImages(images, substrates, requests, half)
    assert len(whole) == len(rounded)
    found = rounded.build(2, len(rounded))
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(found, whole.build(2, len(whole)).to(half))
