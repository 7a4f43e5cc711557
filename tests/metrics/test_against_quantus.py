"""The same inputs through Quantus, where it has the metric."""

import numpy as np
import quantus
import torch
from torch import nn

from relsplit.metrics import (
    energy_inside,
    flipping_area,
    gini,
    imputed_survival,
    max_sensitivity,
    pointing_game,
    randomisation_correlation,
    relevance_rank_accuracy,
    subset_correlation,
)

QUIET = {"disable_warnings": True, "display_progressbar": False}


def maps_and_regions():
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(6, 12, 12, generator=generator)
    regions = torch.zeros(6, 12, 12, dtype=torch.bool)
    for i in range(6):
        regions[i, i : i + 5, 1 : 3 + i] = True
    return maps, regions


def tiny_cnn():
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(4 * 12 * 12, 5))
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) / 3
    return model.eval()


def gradient(model, inputs, targets):
    leaf = torch.as_tensor(inputs).detach().clone().requires_grad_()
    score = model(leaf).gather(1, torch.as_tensor(targets)[:, None]).sum()
    return torch.autograd.grad(score, leaf)[0].sum(1)


def quantus_gradient(model, inputs, targets, **_):
    return gradient(model, np.asarray(inputs, dtype=np.float32), targets).unsqueeze(1).numpy()


def through_quantus(metric, maps, regions=None, **call):
    model = call.pop("model", tiny_cnn())
    images = call.pop("images", torch.zeros(len(maps), 3, 12, 12))
    return metric(
        model=model,
        x_batch=images.numpy(),
        y_batch=np.arange(len(maps)) % 5,
        a_batch=None if maps is None else maps.unsqueeze(1).numpy().copy(),
        s_batch=None if regions is None else regions.unsqueeze(1).numpy(),
        device="cpu",
        **call,
    )


def test_energy_inside():
    maps, regions = maps_and_regions()
    metric = quantus.AttributionLocalisation(positive_attributions=True, abs=False, normalise=False, **QUIET)
    np.testing.assert_allclose(energy_inside(maps, regions), through_quantus(metric, maps, regions), atol=1e-6)


def test_pointing_game():
    maps, regions = maps_and_regions()
    metric = quantus.PointingGame(abs=False, normalise=False, **QUIET)
    assert pointing_game(maps, regions).bool().tolist() == [bool(hit) for hit in through_quantus(metric, maps, regions)]


def test_gini():
    maps, _ = maps_and_regions()
    metric = quantus.Sparseness(abs=True, normalise=False, **QUIET)
    np.testing.assert_allclose(gini(maps), through_quantus(metric, maps), atol=1e-6)  # it adds 1e-7 to every pixel


def test_max_sensitivity_on_the_same_scale():
    generator = torch.Generator().manual_seed(2)
    images = torch.randn(6, 3, 12, 12, generator=generator)
    targets = torch.arange(6) % 5
    model = tiny_cnn()
    found = max_sensitivity(lambda i, t: gradient(model, i, t), images, targets, num_perturbations=40)
    np.random.seed(0)  # noqa: NPY002 - Quantus draws from numpy's global generator
    metric = quantus.MaxSensitivity(nr_samples=40, lower_bound=0.02, abs=False, normalise=False, **QUIET)
    maps = gradient(model, images, targets)
    theirs = through_quantus(metric, maps, images=images, model=model, explain_func=quantus_gradient)
    # Each draws its own 40 perturbations, so the two maxima agree only as estimates.
    np.testing.assert_allclose(found, theirs, rtol=0.25)


def test_cascading_randomisation():
    generator = torch.Generator().manual_seed(2)
    images, targets = torch.randn(6, 3, 12, 12, generator=generator), torch.arange(6) % 5
    model = tiny_cnn()
    # Quantus draws every layer from seed + 1, ours stage number n from seed + n: the first stage is the same network.
    # It takes absolute maps, whatever one asks for.
    found = randomisation_correlation(
        model, lambda network: lambda i, t: gradient(network, i, t).abs(), images, targets, seed=43
    )
    metric = quantus.MPRT(layer_order="top_down", seed=42, abs=True, normalise=False, **QUIET)
    theirs = through_quantus(
        metric, gradient(model, images, targets), images=images, model=model, explain_func=quantus_gradient
    )
    assert list(found) == [name for name in theirs if name != "original"] == ["3", "0"]
    np.testing.assert_allclose(found["3"], theirs["3"], atol=1e-6)


def test_relevance_mass_accuracy_is_the_energy_inside():
    maps, regions = maps_and_regions()
    metric = quantus.RelevanceMassAccuracy(abs=False, normalise=False, **QUIET)
    theirs = through_quantus(metric, maps.clamp(min=0), regions)
    np.testing.assert_allclose(energy_inside(maps, regions), theirs, atol=1e-6)


def test_relevance_rank_accuracy():
    maps, regions = maps_and_regions()
    metric = quantus.RelevanceRankAccuracy(abs=False, normalise=False, **QUIET)
    np.testing.assert_allclose(relevance_rank_accuracy(maps, regions), through_quantus(metric, maps, regions))


def grey_cnn():
    """One channel: Quantus flips the channels of a pixel one by one."""
    model = tiny_cnn()
    first = model[0]
    model[0] = nn.Conv2d(1, 4, 3, padding=1)
    model[0].weight.data, model[0].bias.data = first.weight.data[:, :1], first.bias.data
    return model.eval()


def grey_images():
    return torch.randn(6, 1, 12, 12, generator=torch.Generator().manual_seed(2))


def test_pixel_flipping():
    maps, _ = maps_and_regions()
    images, model, targets = grey_images(), grey_cnn(), torch.arange(6) % 5
    metric = quantus.PixelFlipping(features_in_step=12, perturb_baseline=0.0, abs=False, normalise=False, **QUIET)
    curves = np.array(through_quantus(metric, maps, images=images, model=model, softmax=True))
    theirs = (curves[:, :-1] + curves[:, 1:]).sum(1) / 2
    found = flipping_area(model, images, maps, targets, steps=12)  # their x axis has unit steps
    np.testing.assert_allclose(found * 11, theirs, rtol=1e-5)


def test_road_without_noise():
    maps, _ = maps_and_regions()
    images, model, targets = grey_images(), grey_cnn(), torch.arange(6) % 5
    metric = quantus.ROAD(percentages=[10, 30, 50, 70], noise=0.0, abs=False, normalise=False, **QUIET)
    theirs = through_quantus(metric, maps, images=images, model=model, softmax=True)
    found = imputed_survival(model, images, maps, targets, percentages=(10, 30, 50, 70), noise=0.0)
    assert 0 < found.mean() < 1
    np.testing.assert_allclose(found.mean(), np.mean(list(theirs.values())))


def test_sensitivity_n_on_the_same_scale():
    images, model, targets = grey_images(), grey_cnn(), torch.arange(6) % 5
    maps = gradient(model, images, targets) * images[:, 0]
    found = subset_correlation(model, images, maps, targets, shares=(0.3,), subsets=300)
    np.random.seed(0)  # noqa: NPY002 - Quantus draws from numpy's global generator
    metric = quantus.FaithfulnessCorrelation(
        subset_size=43, nr_runs=300, perturb_baseline=0.0, abs=False, normalise=False, return_aggregate=False, **QUIET
    )
    theirs = through_quantus(metric, maps, images=images, model=model, softmax=True)
    # Each draws its own sets, so the two agree only as estimates.
    np.testing.assert_allclose(found, theirs, atol=0.15)
