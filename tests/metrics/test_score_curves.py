"""The stream of masked images against a literal loop, and what sharing saves."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from insertion_deletion_loop import insertion_and_deletion
from torch import nn

from relsplit.baseline import BaselineImage
from relsplit.metrics import score_curves
from relsplit.metrics.insertion_deletion.protocols.levels import Levels
from relsplit.metrics.insertion_deletion.protocols.nominal import Published, Strict
from relsplit.networks.batches import BatchSize

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)
ALL = {"published": Published, "strict": Strict, "levels": Levels}
CASES = {
    "name": st.sampled_from(sorted(ALL)),
    "baseline": st.sampled_from(["black", "mean", "blur"]),
    "levels": st.sampled_from([None, 1, 3, 8]),
    "patch": st.integers(1, 3),
    "step": st.integers(1, 8),
    "height": st.integers(4, 9),
    "width": st.integers(4, 9),
    "batch_size": st.integers(1, 40),
    "seed": st.integers(0, 2**16),
}
"""What the stream of masked images has to cope with."""


def tiny_cnn(seed=0):
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(16, 5),
    ).double()
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return model.eval()


def random_batch(samples, size=(9, 10), levels=None, seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(samples, 3, *size, generator=generator, dtype=torch.float64)
    maps = torch.randn(samples, *size, generator=generator, dtype=torch.float64)
    if levels is not None:
        maps = (maps * levels / 4).round()
    targets = torch.randint(5, (samples,), generator=generator)
    return images, maps, targets


def score(model, batch, protocols, **options):
    return score_curves(model, *batch, protocols, mean=MEAN, std=STD, **options)


class Counting(nn.Module):
    """Counts the images that pass through a model, and their batches."""

    def __init__(self, model):
        super().__init__()
        self.model = model
        self.batches = []

    def forward(self, images):
        self.batches.append(len(images))
        return self.model(images)


@settings(max_examples=40, deadline=None)
@given(**CASES)
def test_equals_the_literal_loop(name, baseline, levels, patch, step, height, width, batch_size, seed):
    step = min(step, math.ceil(height / patch) * math.ceil(width / patch) - 1)
    model = tiny_cnn(seed)
    batch = images, maps, targets = random_batch(2, (height, width), levels, seed)
    protocol = ALL[name](step=step, baseline=baseline, patch=patch)
    found = score(model, batch, {name: protocol}, batch_size=batch_size)[name]
    hidden = BaselineImage(baseline, MEAN, STD).of(images).expand_as(images).numpy()
    for i in range(2):
        insertion, deletion = insertion_and_deletion(
            model, images[i], maps[i], targets[i], name, step, hidden[i], patch
        )
        assert found.insertion[i].item() == pytest.approx(insertion, abs=1e-12)
        assert found.deletion[i].item() == pytest.approx(deletion, abs=1e-12)
        assert found.id_score[i].item() == pytest.approx(insertion - deletion, abs=1e-12)


def test_several_protocols_at_once_equal_each_alone():
    model, batch = tiny_cnn(), random_batch(3, levels=6)
    together = {
        "published": Published(step=7),
        "strict": Strict(step=7),
        "levels": Levels(),
        "coarse": Strict(step=4, patch=2),
        "blurred": Strict(step=7, baseline="blur"),
    }
    shared = score(model, batch, together)
    for name, protocol in together.items():
        alone = score(model, batch, {name: protocol})[name]
        torch.testing.assert_close(shared[name].insertion, alone.insertion, rtol=0, atol=1e-14)
        torch.testing.assert_close(shared[name].deletion, alone.deletion, rtol=0, atol=1e-14)
        for ours, theirs in zip(shared[name].curves, alone.curves, strict=True):
            np.testing.assert_array_equal(ours.fraction, theirs.fraction)


def test_a_sample_scores_the_same_in_any_batch_order_or_batch_size():
    model, batch = tiny_cnn(), random_batch(5)
    protocols = {"strict": Strict(step=3), "levels": Levels()}
    expected = score(model, batch, protocols)
    order = torch.tensor([3, 0, 4, 2, 1])
    permuted = score(model, tuple(part[order] for part in batch), protocols, batch_size=7)
    alone = [score(model, tuple(part[i : i + 1] for part in batch), protocols, batch_size=1) for i in range(5)]
    for name in protocols:
        torch.testing.assert_close(permuted[name].insertion, expected[name].insertion[order], rtol=0, atol=1e-14)
        torch.testing.assert_close(permuted[name].deletion, expected[name].deletion[order], rtol=0, atol=1e-14)
        single = torch.cat([scores[name].insertion for scores in alone])
        torch.testing.assert_close(single, expected[name].insertion, rtol=0, atol=1e-14)


def test_the_same_call_gives_bitwise_the_same_numbers():
    model, batch = tiny_cnn().float(), tuple(p.float() if p.is_floating_point() else p for p in random_batch(4))
    first, second = (score(model, batch, {"strict": Strict(step=3)})["strict"] for _ in range(2))
    assert torch.equal(first.insertion, second.insertion)
    assert torch.equal(first.deletion, second.deletion)


def test_only_the_order_of_a_map_matters():
    model, (images, maps, targets) = tiny_cnn(), random_batch(2, levels=5)
    protocols = {name: protocol() for name, protocol in ALL.items()}
    expected = score(model, (images, maps, targets), protocols)
    rescaled = score(model, (images, torch.exp(maps) * 3 - 7, targets), protocols)
    for name in ALL:
        assert torch.equal(rescaled[name].insertion, expected[name].insertion)


def test_negative_zero_ties_with_zero():
    model, (images, maps, targets) = tiny_cnn(), random_batch(1)
    signed = torch.where(maps > 0, 0.0, -0.0)
    protocols = {name: protocol() for name, protocol in ALL.items()}
    expected = score(model, (images, torch.zeros_like(maps), targets), protocols)
    found = score(model, (images, signed, targets), protocols)
    for name in ALL:
        assert torch.equal(found[name].insertion, expected[name].insertion)


def test_identical_masks_pass_the_model_once():
    batch = random_batch(3, size=(12, 12), levels=4)
    counting = Counting(tiny_cnn())
    levels = [len(m.unique()) for m in batch[1]]
    published = {"published": Published(step=1)}
    score(counting, batch, published, batch_size=64)
    # Per sample and per curve no more masks than levels; the fully inserted image serves both insertion's end and
    # nobody else here, the fully deleted one is black for all samples.
    assert sum(counting.batches) <= 2 * sum(levels) - 3 + 1
    assert max(counting.batches) <= 64

    alone = sum(counting.batches)
    counting.batches.clear()
    score(counting, batch, published | {"levels": Levels()}, batch_size=64)
    # The level protocol needs the ends of the same levels: new are the top levels that no published point shows.
    assert sum(counting.batches) <= alone + 2 * len(levels)


def test_full_and_black_images_are_shared_by_both_curves_and_all_samples():
    counting = Counting(tiny_cnn())
    images, _, targets = random_batch(4)
    constant_maps = torch.zeros(4, *images.shape[2:])
    # One level: nothing or everything. Four full images and a single black one.
    score(counting, (images, constant_maps, targets), {"levels": Levels(), "published": Published()})
    assert counting.batches == [5]
    counting.batches.clear()
    score(counting, (images, constant_maps, targets), {"levels": Levels(baseline="blur")})
    assert counting.batches == [8]  # a blurred image belongs to its sample


def test_published_points_at_the_papers_image_size():
    values = torch.linspace(1, 0, 224 * 224, dtype=torch.float64)
    published, strict = Published().points(values), Strict().points(values)
    assert len(published.lengths) == len(strict.lengths) == 101
    assert strict.lengths[:2].tolist() == [500, 1000]
    assert strict.lengths[-2:].tolist() == [50000, 50175]
    assert torch.equal(published.lengths, strict.lengths + 1)
    assert published.fraction[1].item() == pytest.approx(0.01)


@pytest.mark.parametrize(("size", "points"), [(64, 100), (32, 94), (224, 101), (299, 101)])
def test_step_follows_the_image_size(size, points):
    assert abs(len(Strict().points(torch.linspace(1, 0, size * size)).lengths) - points) <= 1


class OutOfMemoryAbove(nn.Module):
    """Fails as the CUDA allocator does on batches above a limit."""

    def __init__(self, model, limit):
        super().__init__()
        self.model = model
        self.limit = limit

    def forward(self, images):
        if len(images) > self.limit:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return self.model(images)


def test_an_out_of_memory_batch_is_halved_remembered_and_said():
    model, batch = tiny_cnn(), random_batch(2)
    expected = score(model, batch, {"strict": Strict(step=9)})["strict"]
    sizes = BatchSize(32)
    small = OutOfMemoryAbove(model, 9)
    with pytest.warns(RuntimeWarning, match="out of memory") as said:
        found = score(small, batch, {"strict": Strict(step=9)}, batch_size=sizes)["strict"]
    assert sizes.value == 8
    assert [str(warning.message).split()[-2] for warning in said] == ["16", "8"]
    torch.testing.assert_close(found.insertion, expected.insertion, rtol=0, atol=1e-14)
    with pytest.warns(RuntimeWarning), pytest.raises(torch.OutOfMemoryError):
        score(OutOfMemoryAbove(model, 0), batch, {"strict": Strict(step=9)}, batch_size=2)


def test_the_model_is_left_as_it_was_and_no_graph_is_built():
    model, batch = tiny_cnn(), random_batch(1)
    expected = score(model, batch, {"strict": Strict()})["strict"]
    model.train()
    model[1].eval()
    modes = [module.training for module in model.modules()]
    state = {name: value.clone() for name, value in model.state_dict().items()}
    found = score(model, (batch[0].requires_grad_(), *batch[1:]), {"strict": Strict()})["strict"]
    assert torch.equal(found.insertion, expected.insertion)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert not found.insertion.requires_grad
