"""GAE: an independent computation in loops, closed forms, and the released code's dependence on the batch size."""

import numpy as np
import pytest
import torch
from test_columns import batch as explained_batch
from torch import Tensor, nn

from relsplit.errors import InputError
from relsplit.metrics import GAE, GlobalAttributionEvaluation, global_attribution_evaluation
from relsplit.metrics.gae.masking import masked_states
from relsplit.metrics.gae.protocol import PROTOCOLS
from relsplit.metrics.gae.score import dice, mosaic


def network(classes: int = 5) -> nn.Module:
    generator = torch.Generator().manual_seed(3)
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(4 * 64, classes))
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64) / 3
    return model.double().eval()


def images(count: int = 4, seed: int = 0) -> Tensor:
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gradient_maps(model: nn.Module, channels: bool = False):
    def explain(inputs: Tensor, targets: Tensor) -> Tensor:
        leaf = inputs.detach().clone().requires_grad_()
        (found,) = torch.autograd.grad(model(leaf).gather(1, targets[:, None]).sum(), leaf)
        return found * inputs if channels else (found * inputs).sum(1)

    return explain


def uniform(inputs: Tensor, targets: Tensor) -> Tensor:
    return torch.ones(len(inputs), *inputs.shape[2:], dtype=torch.float64)


def by_hand(model, explain, four, labels, positive, released):
    """GAE of one mosaic, entry by entry in numpy, for the given positive."""

    def relevance(x, c):
        r = explain(x[None], torch.tensor([c]))[0].numpy()
        r = np.maximum(r, 0)
        return r / r.max() if r.max() > 0 else r

    def importance(x, c):
        leaf = x.clone().requires_grad_()
        (g,) = torch.autograd.grad(model(leaf[None])[0, c], leaf)
        product = (x * g).abs().numpy()
        product = product if released else product.sum(0)
        return product / (product.sum() + 1e-9)

    def output(x, c):
        logits = model(x[None])[0].detach()
        return float(logits[c] if released else logits.softmax(0)[c])

    def distance(a, b):
        return np.abs(a - b).sum() / (np.abs(a).sum() + np.abs(b).sum() + 1e-9)

    with torch.no_grad():
        logits = model(four)
    predicted = logits.argmax(1)
    x0, c = four[positive], int(predicted[positive])
    sums, states, outputs = {}, {}, {}
    for order in ("morf", "lerf"):
        x = x0.clone()
        g = importance(x, c)
        gone = np.zeros(g.shape, dtype=bool)
        sums[order], states[order], outputs[order] = g.copy(), [], []
        for t in range(1, 10):
            wanted = int(t / 10 * g.size)
            candidates = [i for i in np.argsort(g.ravel(), kind="stable") if released or not gone.ravel()[i]]
            number = wanted if released else wanted - gone.sum()
            if order == "morf":
                candidates = candidates[::-1]
            gone.ravel()[candidates[:number]] = True
            x = torch.where(torch.from_numpy(gone), 0, x0)
            g = importance(x, c)
            sums[order] += g
            states[order].append(x)
            outputs[order].append(output(x, c))
    sign = np.sign(sums["lerf"] / sums["lerf"].sum() - sums["morf"] / sums["morf"].sum())
    whole = relevance(x0, c)
    faithfulness = (sign * whole).sum() / (whole.sum() + 1e-9)
    change = [
        distance(whole, relevance(m, c)) - distance(whole, relevance(r, c))
        for m, r in zip(states["morf"], states["lerf"], strict=True)
    ]
    drop = (np.array(outputs["lerf"]) - np.array(outputs["morf"])) / (output(x0, c) + 1e-9)
    robustness = 1 - 2 * distance(np.array(change), drop)
    seen = logits[positive].softmax(0).numpy()
    classes = labels if released else predicted
    values = 2 * seen[classes] / seen[int(classes[positive])] - 1
    values = values if released else np.clip(values, -1, 1)
    s = np.kron(values.reshape(2, 2), np.ones((4, 4)))
    if released:
        s[3:5, 3:5] = 1
    else:
        s[3:5], s[:, 3:5] = 1, 1
    small = four[:, :, ::2, ::2]
    picture = torch.cat([torch.cat([small[0], small[1]], 2), torch.cat([small[2], small[3]], 2)], 1)
    seen_in_mosaic = relevance(picture, c)
    contrastiveness = max(0, (s * seen_in_mosaic).sum() / seen_in_mosaic.sum())
    return faithfulness, robustness, contrastiveness


@pytest.mark.parametrize("protocol", ["strict", "released"])
def test_is_what_loops_over_entries_give(protocol: str) -> None:
    model, labels = network(), torch.tensor([1, 0, 4, 2])
    released = protocol == "released"
    explain = gradient_maps(model, channels=released)
    for seed in range(3):
        four = images(4, seed)
        found = global_attribution_evaluation(model, explain, four, labels, protocol=protocol)
        expected = by_hand(model, explain, four, labels, int(found.positives), released)
        measured = [float(found.faithfulness), float(found.robustness), float(found.contrastiveness)]
        np.testing.assert_allclose(measured, expected, atol=1e-6)
        assert float(found.gae) == pytest.approx(
            max(0, expected[0] + expected[1]) / 2 * expected[2], rel=1e-6, abs=1e-6
        )


def test_a_uniform_map_scores_the_mean_of_what_it_is_compared_with() -> None:
    model, four = network(), images()
    found = global_attribution_evaluation(model, uniform, four, torch.zeros(4).long())
    with torch.no_grad():
        logits = model(four)
    positive = int(found.positives)
    seen, predicted = logits[positive].softmax(0), logits.argmax(1)
    states = masked_states(model, four[positive], int(predicted[positive]), PROTOCOLS["strict"])
    assert float(found.faithfulness) == pytest.approx(float(states.importance.mean()))
    # The map never changes, the output does: the two curves have nothing in common.
    assert float(found.robustness) == pytest.approx(-1, abs=1e-6)
    # 3 x 3 pixels of each 4 x 4 quadrant lie outside of the cross, whose 28 pixels count 1.
    s = (2 * seen[predicted] / seen[predicted[positive]] - 1).clamp(-1, 1)
    assert float(found.contrastiveness) == pytest.approx(max(0, float((9 * s.sum() + 28) / 64)))
    assert float(found.gae) == 0


def test_importance_of_a_linear_network_in_closed_form() -> None:
    """Least relevant first keeps what is important: I = 1 exactly where the share of it that is seen is larger."""
    weights = torch.arange(1.0, 65.0, dtype=torch.float64)[
        torch.randperm(64, generator=torch.Generator().manual_seed(0))
    ]
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 2, bias=False)).double()
    model[1].weight.data = torch.stack([weights.repeat(3), -weights.repeat(3)])
    states = masked_states(model, torch.ones(3, 8, 8, dtype=torch.float64), 0, PROTOCOLS["strict"])
    order = weights.argsort()
    share = {"morf": torch.zeros(64, dtype=torch.float64), "lerf": torch.zeros(64, dtype=torch.float64)}
    for t in range(10):
        gone = int(t / 10 * 64)
        for name, kept in (("morf", order[: 64 - gone]), ("lerf", order[gone:])):
            share[name][kept] += weights[kept] / weights[kept].sum()
    expected = (share["lerf"] - share["morf"]).sign()
    assert torch.equal(states.importance.flatten(), expected)
    assert expected[order[-6:]].eq(1).all()  # gone first in one order, last in the other
    assert expected[order[:6]].eq(-1).all()
    assert [int(m.sum()) for m in states.hidden[0]] == [int(t / 10 * 64) for t in range(10)]


def test_the_released_masks_empty_the_image_when_the_most_relevant_goes_first() -> None:
    states = masked_states(network(), images(1)[0], 0, PROTOCOLS["released"])
    share = states.hidden.double().mean((2, 3, 4))
    entries = np.floor(np.arange(10) / 10 * 192).cumsum().clip(max=192)  # 0, 10, 30, 60, 99 %, all, all, ...
    np.testing.assert_allclose(share[0], entries / 192)
    np.testing.assert_allclose(share[1], np.arange(10) / 10, atol=0.01)
    strict = masked_states(network(), images(1)[0], 0, PROTOCOLS["strict"]).hidden.double().mean((2, 3, 4))
    np.testing.assert_allclose(strict, [np.arange(10) / 10] * 2, atol=0.02)


def test_the_released_code_is_right_for_four_images_and_wrong_for_more() -> None:
    """Share of candidates that their own mosaic shows: 1/M for M mosaics; all of them under strict."""
    for mosaics, share in ((1, 1.0), (2, 0.5), (4, 0.25)):
        for name, expected in (("released", share), ("strict", 1.0)):
            shown, among = PROTOCOLS[name].shown(4 * mosaics), PROTOCOLS[name].candidates(4 * mosaics)
            own = [image in four for four, candidates in zip(shown, among, strict=True) for image in candidates]
            assert np.mean(own) == expected
    model, labels, many = network(), torch.arange(16) % 5, images(16)
    explain = gradient_maps(model, channels=True)

    def scores(protocol, size):
        return global_attribution_evaluation(model, explain, many, labels, protocol=protocol, batch_size=size)

    fours = scores("strict", 4)
    for size in (8, 16):
        torch.testing.assert_close(scores("strict", size).gae, fours.gae)
        assert not torch.allclose(scores("released", size).contrastiveness, scores("released", 4).contrastiveness)


def test_maps_of_one_channel_count_three_times_in_the_released_code_and_once_in_strict() -> None:
    model, four, labels = network(), images(), torch.arange(4)
    single = gradient_maps(model)
    tripled = global_attribution_evaluation(model, single, four, labels, protocol="released")
    spread = global_attribution_evaluation(
        model, lambda i, t: single(i, t)[:, None].expand(-1, 3, -1, -1), four, labels, protocol="released"
    )
    torch.testing.assert_close(tripled.faithfulness, 3 * spread.faithfulness)
    torch.testing.assert_close(tripled.contrastiveness, 3 * spread.contrastiveness)
    strict = [
        global_attribution_evaluation(model, explain, four, labels).gae
        for explain in (single, gradient_maps(model, channels=True))
    ]
    torch.testing.assert_close(*strict)


def test_what_all_methods_share_is_computed_once(tmp_path) -> None:
    model, four, labels = network(), images(), torch.arange(4)
    fresh = global_attribution_evaluation(model, gradient_maps(model), four, labels)
    passes = []
    model[0].register_forward_hook(lambda *_: passes.append(1))
    counts = []
    for _ in range(2):
        passes.clear()
        found = global_attribution_evaluation(model, uniform, four, labels, cache_dir=tmp_path)
        counts.append(len(passes))
    assert counts == [22, 2]  # the images, the mosaics, and twenty states; then without the states
    again = global_attribution_evaluation(model, gradient_maps(model), four, labels, cache_dir=tmp_path)
    assert torch.equal(again.gae, fresh.gae)
    assert torch.equal(found.positives, fresh.positives)
    (kept,) = tmp_path.iterdir()
    kept.write_bytes(kept.read_bytes()[:50])  # cut: computed afresh
    assert torch.equal(
        global_attribution_evaluation(model, gradient_maps(model), four, labels, cache_dir=tmp_path).gae, fresh.gae
    )
    with torch.no_grad():
        model[3].weight.mul_(2)  # another network shares nothing
    passes.clear()
    global_attribution_evaluation(model, uniform, four, labels, cache_dir=tmp_path)
    assert len(passes) == 22


def test_the_metric_takes_batches_of_any_size_from_four_on() -> None:
    model = network()
    metric = GlobalAttributionEvaluation(model, gradient_maps(model))
    many, labels = images(12), torch.arange(12) % 5
    metric.update(many[:8], labels[:8])
    metric.update(many[8:], labels[8:])
    together = global_attribution_evaluation(model, gradient_maps(model), many, labels)
    assert float(metric.compute()["gae"]) == pytest.approx(float(together.gae.mean()))
    assert int(metric.mosaics) == 3
    with pytest.raises(InputError, match="update with at least four"):
        GlobalAttributionEvaluation(model, uniform).compute()


def test_columns_belong_to_the_positives() -> None:
    given = explained_batch()
    four = type(given)(
        **{
            name: torch.cat([value, value[:1]]) if isinstance(value, Tensor) else value
            for name, value in given.__dict__.items()
        }
    )
    columns = GAE().columns(four)
    assert set(columns) == {
        "gae", "gae_faithfulness", "gae_robustness", "gae_local_consistency", "gae_contrastiveness"
    }  # fmt: skip
    assert all(int(values.isfinite().sum()) == 1 for values in columns.values())
    assert all(values.isnan().all() for values in GAE().columns(given).values())  # three images, of which one is lost
    assert set(GAE("released").columns(four)) == {"gae_released", *(f"{n}_released" for n in columns if n != "gae")}


def test_what_cannot_be_scored() -> None:
    model = network()
    for count, options, message in (
        (3, {}, "4 images together, but there are 3"),
        (8, {"batch_size": 6}, "multiple of 4"),
        (8, {"batch_size": 16}, "smaller batch_size"),
        (4, {"protocol": "loose"}, "one of strict, released"),
    ):
        with pytest.raises(InputError, match=message):
            global_attribution_evaluation(model, uniform, images(count), torch.zeros(count).long(), **options)
    with pytest.raises(InputError, match="even"):
        global_attribution_evaluation(model, uniform, torch.randn(4, 3, 7, 8), torch.zeros(4).long())
    with pytest.raises(InputError, match="multiple of 4"):
        GAE(batch_size=6)


def test_mosaic_and_dice() -> None:
    four = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 1, 2, 2)
    assert mosaic(four).tolist() == [[[0.0, 1.0], [2.0, 3.0]]]
    assert dice(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])).item() == pytest.approx(1)
    assert dice(torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 2.0]])).item() == 0


class OfSlices(nn.Module):
    """A network of images that takes volumes of one slice."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = network()

    def forward(self, volumes: Tensor) -> Tensor:
        return self.inner(volumes.squeeze(2))


@pytest.mark.parametrize("protocol", ["strict", "released"])
def test_a_volume_of_one_slice_is_an_image(protocol) -> None:
    flat, deep = network(), OfSlices()
    labels = torch.tensor([0, 1, 2, 3])
    options = {"protocol": protocol, "scores": "logits"}
    channels = protocol == "released"
    expected = global_attribution_evaluation(flat, gradient_maps(flat, channels), images(), labels, **options)
    found = global_attribution_evaluation(deep, gradient_maps(deep, channels), images()[:, :, None], labels, **options)
    assert torch.equal(found.positives, expected.positives)
    torch.testing.assert_close(found.gae, expected.gae)
    torch.testing.assert_close(found.faithfulness, expected.faithfulness)


def test_signals_stand_one_after_another_at_a_quarter_of_their_length() -> None:
    signals = torch.arange(4 * 8, dtype=torch.float64).reshape(4, 1, 8)
    assert mosaic(signals).tolist() == [[0, 4, 8, 12, 16, 20, 24, 28]]
    assert PROTOCOLS["strict"].reference([2, 3, 4, 5], 16).tolist() == [2, 2, 2, 1, 1, 3, 3, 1, 1, 4, 4, 1, 1, 5, 5, 5]
    assert PROTOCOLS["released"].reference([2, 3, 4, 5], 8).tolist() == [2, 2, 3, 1, 1, 4, 5, 5]


def test_an_even_map_of_signals_has_the_mean_of_what_the_places_are_worth() -> None:
    generator = torch.Generator().manual_seed(0)
    signals = torch.randn(4, 2, 16, generator=generator, dtype=torch.float64)
    model = nn.Sequential(nn.Flatten(), nn.Linear(32, 3)).double().eval()
    model[1].weight.data = torch.randn(3, 32, generator=generator, dtype=torch.float64)
    model[1].bias.data.zero_()
    found = global_attribution_evaluation(model, uniform, signals, torch.tensor([0, 1, 2, 0]), scores="logits")
    (positive,) = found.positives.tolist()
    probabilities = model(signals).softmax(1)
    classes = probabilities.argmax(1)
    seen = probabilities[positive]
    worth = (2 * seen[classes] / seen[classes[positive]] - 1).clamp(-1, 1).tolist()
    at_places = [worth[place // 4] for place in range(16)]
    for joint in (4, 8, 12):
        at_places[joint - 1] = at_places[joint] = 1
    assert found.contrastiveness.item() == pytest.approx(max(0, np.mean(at_places)), abs=1e-6)
    with pytest.raises(InputError, match=r"GAE quarters signals, .* multiple of 4, not 15"):
        global_attribution_evaluation(model, uniform, signals[..., :15], torch.tensor([0, 1, 2, 0]))
    with pytest.raises(InputError, match="GAE makes mosaics of images"):
        global_attribution_evaluation(model, uniform, torch.ones(4, 15).long(), torch.tensor([0, 1, 2, 0]))
