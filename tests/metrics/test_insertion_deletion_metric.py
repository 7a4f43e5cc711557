"""The torchmetrics side: states, reduction over processes, wrong input."""

import multiprocessing
import pickle

import pytest
import torch
from torch import distributed, nn

from relsplit.errors import InputError
from relsplit.metrics import InsertionDeletion, score_curves
from relsplit.metrics.insertion_deletion.protocols.nominal import Strict


def linear_model():
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 6 * 6, 4))
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) / 5
    return model


def batch(samples=6):
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(samples, 3, 6, 6, generator=generator)
    maps = torch.randn(samples, 6, 6, generator=generator)
    return images, maps, torch.randint(4, (samples,), generator=generator)


def metric_over(parts, **options):
    metric = InsertionDeletion(linear_model(), "strict", **options)
    for part in parts:
        metric.update(*part)
    return metric


def halves():
    whole = batch()
    return [tuple(part[:2] for part in whole), tuple(part[2:] for part in whole)]


def test_is_the_mean_of_the_functional_core():
    scores = score_curves(linear_model(), *batch(), {"strict": Strict()})["strict"]
    found = metric_over([batch()]).compute()
    assert found["insertion"].item() == pytest.approx(scores.insertion.mean().item(), abs=1e-12)
    assert found["deletion"].item() == pytest.approx(scores.deletion.mean().item(), abs=1e-12)
    assert found["id_score"].item() == pytest.approx(scores.id_score.mean().item(), abs=1e-12)


def test_updates_accumulate_and_reset_forgets():
    expected = metric_over([batch()]).compute()
    metric = metric_over(halves())
    assert metric.compute()["id_score"].item() == pytest.approx(expected["id_score"].item(), abs=1e-7)
    metric.reset()
    metric.update(*halves()[0])
    assert metric.compute()["id_score"] == metric_over(halves()[:1]).compute()["id_score"]


def test_forward_returns_the_batch_and_keeps_the_total():
    metric = InsertionDeletion(linear_model(), "strict")
    first = metric(*halves()[0])
    assert first["id_score"] == metric_over(halves()[:1]).compute()["id_score"]
    metric(*halves()[1])
    assert metric.compute()["id_score"] == metric_over(halves()).compute()["id_score"]


def _score_share(rank, folder):
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    try:
        scores = metric_over([halves()[rank]]).compute()  # 2 samples here, 4 there
        torch.save(scores, folder / f"scores{rank}.pt")
    finally:
        distributed.destroy_process_group()


def test_two_processes_with_uneven_shares_equal_one(tmp_path):
    expected = metric_over(halves()).compute()
    other = multiprocessing.get_context("spawn").Process(target=_score_share, args=(1, tmp_path))
    other.start()
    _score_share(0, tmp_path)
    other.join()
    for rank in (0, 1):
        torch.testing.assert_close(torch.load(tmp_path / f"scores{rank}.pt"), expected, rtol=0, atol=1e-12)


def test_the_metric_leaves_the_model_to_its_owner():
    model = linear_model()
    metric = InsertionDeletion(model)
    metric.double()
    assert next(model.parameters()).dtype == torch.float32
    assert metric.state_dict() == {}
    assert pickle.loads(pickle.dumps(metric)).protocol == Strict()


def test_whole_numbers_beyond_floats_keep_their_order():
    images, maps, targets = batch(2)
    positions = maps.flatten().argsort().argsort().view_as(maps)
    scored = []
    for values in (positions, positions + 2**60, -(2**60) + positions):
        metric = InsertionDeletion(linear_model(), step=3)
        metric.update(images, values, targets)
        scored.append(float(metric.compute()["id_score"]))
    assert scored[0] == scored[1] == scored[2]


@pytest.mark.parametrize("patch", [1, 3])
@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_maps_in_half_precision_score_as_the_same_values(kind, patch):
    images, maps, targets = batch(2)
    scored = []
    for values in (maps.to(kind), maps.to(kind).float()):
        metric = InsertionDeletion(linear_model(), patch=patch)
        metric.update(images, values, targets)
        scored.append(float(metric.compute()["id_score"]))
    assert scored[0] == scored[1]


def test_compute_before_update_says_so():
    metric = InsertionDeletion(linear_model())
    with pytest.warns(UserWarning, match="before"), pytest.raises(InputError, match="call update"):
        metric.compute()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"protocol": "exact"}, "protocol: 'exact' is unknown: use one of 'levels', 'published', 'strict'"),
        ({"step": 0}, "step must be a whole number of at least 1 or null, not 0"),
        ({"step": 2.5}, "step must be a whole number of at least 1 or null, not 2.5"),
        ({"patch": 0}, "patch must be"),
        ({"ties": "random"}, "ties must be one of together, index"),
        ({"baseline": "white"}, "baseline must be one of mean, black, blur"),
        ({"batch_size": 0}, "batch_size must be"),
        ({"protocol": "levels", "ties": "index"}, "levels has no option ties"),
        ({"protocol": Strict(), "step": 3}, "options step belong to the protocol object"),
    ],
)
def test_options_that_cannot_be_used(options, message):
    with pytest.raises(InputError, match=message) as error:
        InsertionDeletion(linear_model(), **options)
    assert "\n" not in str(error.value)


def wrong_inputs():
    images, maps, targets = batch(2)
    nan = maps.clone()
    nan[1, 2, 2] = float("nan")
    return {
        "NaN map": ((images, nan, targets), "map 1 of the batch contains NaN"),
        "infinite map": ((images, maps / 0, targets), "map 0, 1 of the batch"),
        "channels": ((images, maps.unsqueeze(1), targets), "AttributionMap"),
        "size": ((images, maps[:, :3], targets), r"\(2, 3, 6\) but the images need \(2, 6, 6\)"),
        "number of maps": ((images, maps[:1], targets), "maps have shape"),
        "one image": ((images[0], maps[:1], targets[:1]), r"the inputs \(3, 6, 6\) need \(3, 6\)"),
        "no images": ((images[:0], maps[:0], targets[:0]), "the batch is empty"),
        "integer images": ((images.int(), maps, targets), "floating point"),
        "number of targets": ((images, maps, targets[:1]), r"one class index per image, \(2,\)"),
        "negative target": ((images, maps, torch.tensor([0, -1])), "negative"),
        "no such class": ((images, maps, torch.tensor([0, 4])), "target 4 is not one of the model's 4 classes"),
        "gray images": ((images[:, :1], maps, targets), "1 channels"),
        "NaN image": ((torch.stack([images[0], images[1] * float("nan")]), maps, targets), "some pixels are NaN"),
    }


@pytest.mark.parametrize("case", wrong_inputs())
def test_inputs_that_do_not_fit(case):
    arguments, message = wrong_inputs()[case]
    with pytest.raises(InputError, match=message) as error:
        InsertionDeletion(linear_model()).update(*arguments)
    assert "\n" not in str(error.value)


def test_a_step_that_leaves_one_point_is_refused():
    with pytest.raises(InputError, match="single point"):
        InsertionDeletion(linear_model(), step=36).update(*batch(1))


def test_a_model_without_logits_is_refused():
    with pytest.raises(InputError, match="must return logits"):
        InsertionDeletion(nn.Identity()).update(*batch(1))


def test_integer_and_boolean_maps_are_ranked():
    images, maps, targets = batch(2)
    mask = maps > 0
    expected = score_curves(linear_model(), images, mask.float(), targets, {"strict": Strict()})["strict"]
    found = score_curves(linear_model(), images, mask, targets, {"strict": Strict()})["strict"]
    assert torch.equal(found.insertion, expected.insertion)


def test_no_protocol_is_refused():
    with pytest.raises(InputError, match="no protocol"):
        score_curves(linear_model(), *batch(1), {})
