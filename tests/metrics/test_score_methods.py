"""Several methods scored together: what each alone scores, with every masked image once."""

import math

import pytest
import torch
from hypothesis import given, settings
from test_score_curves import ALL, CASES, MEAN, STD, Counting, random_batch, tiny_cnn

from relsplit.errors import InputError
from relsplit.metrics import score_curves
from relsplit.metrics.insertion_deletion.curves import score_methods
from relsplit.metrics.insertion_deletion.protocols.levels import Levels
from relsplit.metrics.insertion_deletion.protocols.nominal import Strict


def related_maps(maps, seed=0):
    """Maps of methods that agree in all, in part and in nothing."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(maps.shape, generator=generator, dtype=maps.dtype)
    quantised = (maps * 2).round()
    return [
        maps,
        torch.exp(maps),  # the same order
        torch.where(maps > maps.median(), maps.max() + noise, maps),  # the same half first, in another order
        quantised,
        quantised + noise / 100,  # the same levels, each in an order of its own
        -maps,
        torch.zeros_like(maps),
    ]


def shown_sets(maps, protocol):
    """What the curves of a map show, as (kind, pixels): full and bare images are the same for both kinds."""
    height, width = maps.shape
    rows, columns = (math.ceil(side / protocol.patch) for side in (height, width))
    blocks = torch.stack(
        [
            maps[protocol.patch * i : protocol.patch * (i + 1), protocol.patch * j : protocol.patch * (j + 1)].max()
            for i in range(rows)
            for j in range(columns)
        ]
    )
    order = sorted(range(rows * columns), key=lambda unit: (-blocks[unit].item(), unit))
    found = set()
    for length in protocol.points(blocks.sort(descending=True).values).lengths.tolist():
        first = frozenset(order[:length])
        rest = frozenset(order[length:])
        found |= {("inserted" if first and rest else "whole", first), ("left" if first and rest else "whole", rest)}
    return found


@settings(max_examples=40, deadline=None)
@given(**CASES)
def test_each_scores_what_it_scores_alone_and_no_mask_is_scored_twice(
    name, baseline, levels, patch, step, height, width, batch_size, seed
):
    step = min(step, math.ceil(height / patch) * math.ceil(width / patch) - 1)
    model, count = tiny_cnn(seed), 2
    images, maps, targets = random_batch(count, (height, width), levels, seed)
    methods = related_maps(maps, seed)
    classes = [(targets + shift) % 5 for shift in range(len(methods))]  # each may read a class of its own
    protocol = ALL[name](step=step, baseline=baseline, patch=patch)
    options = {"mean": MEAN, "std": STD, "batch_size": batch_size}
    counting = Counting(model)
    together = score_methods(counting, images, methods, classes, {name: protocol}, **options)
    for method, target, found in zip(methods, classes, together, strict=True):
        expected = score_curves(model, images, method, target, {name: protocol}, **options)[name]
        torch.testing.assert_close(found[name].insertion, expected.insertion, rtol=0, atol=1e-14)
        torch.testing.assert_close(found[name].deletion, expected.deletion, rtol=0, atol=1e-14)
        for ours, theirs in zip(found[name].curves, expected.curves, strict=True):
            assert ours.fraction.tolist() == theirs.fraction.tolist()
    distinct = {
        (sample if pixels or baseline == "blur" else 0, kind, pixels)
        for method in methods
        for sample in range(count)
        for kind, pixels in shown_sets(method[sample], protocol)
    }
    assert sum(counting.batches) == len(distinct)


def test_a_method_that_orders_pixels_as_another_costs_nothing():
    model, (images, maps, targets) = tiny_cnn(), random_batch(3)
    protocols = {"strict": Strict(step=7), "levels": Levels(), "blurred": Strict(step=7, baseline="blur")}
    counting = Counting(model)
    score_methods(counting, images, [maps], [targets], protocols)
    one = sum(counting.batches)
    counting.batches.clear()
    score_methods(counting, images, [maps, maps.exp(), 3 * maps - 1], [targets] * 3, protocols)
    assert sum(counting.batches) == one


def test_one_method_scores_bitwise_what_score_curves_says():
    model, (images, maps, targets) = tiny_cnn().float(), random_batch(3)
    images, maps = images.float(), maps.float()
    (found,) = score_methods(model, images, [maps], [targets], {"": Strict(step=3)}, mean=MEAN, std=STD)
    expected = score_curves(model, images, maps, targets, {"": Strict(step=3)}, mean=MEAN, std=STD)[""]
    assert torch.equal(found[""].insertion, expected.insertion)


def test_maps_and_targets_belong_together():
    images, maps, targets = random_batch(2)
    for methods, classes in (([], []), ([maps], []), ([maps], [targets, targets])):
        with pytest.raises(InputError, match="give both for at least one method"):
            score_methods(tiny_cnn(), images, methods, classes, {"": Strict()})
