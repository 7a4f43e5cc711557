import pytest
import torch

from relsplit.errors import InputError
from relsplit.metrics import max_sensitivity


def batch(samples=3):
    return torch.rand(samples, 3, 6, 6, generator=torch.Generator().manual_seed(0)) + 1, torch.zeros(samples).long()


def channel_sum(images, targets):
    return images.sum(1)


def test_a_map_that_does_not_look_at_the_image_is_not_sensitive():
    images, targets = batch()
    assert max_sensitivity(lambda i, t: torch.ones(len(i), 6, 6), images, targets).tolist() == [0, 0, 0]


def test_a_linear_map_moves_within_the_radius():
    images, targets = batch()
    found = max_sensitivity(channel_sum, images, targets, radius=0.02)
    # The map moves by at most 3 * 0.02 per pixel; its size is the norm of the channel sum.
    bound = (36 * 0.06**2) ** 0.5 / images.double().sum(1).flatten(1).norm(dim=1)
    assert (found <= bound).all()
    # Three uniform channels have variance 3 * 0.02**2 / 3: the expected move is sqrt(36) * 0.02 before the maximum.
    expected = 0.12 / images.double().sum(1).flatten(1).norm(dim=1)
    assert (found > 0.9 * expected).all()
    assert (found < 1.6 * expected).all()


def test_sensitivity_does_not_depend_on_the_scale_of_the_map_and_grows_with_the_radius():
    images, targets = batch()
    found = max_sensitivity(channel_sum, images, targets)
    torch.testing.assert_close(
        max_sensitivity(lambda i, t: 100 * channel_sum(i, t), images, targets), found, rtol=1e-4, atol=0
    )
    torch.testing.assert_close(max_sensitivity(channel_sum, images, targets, radius=0.04), 2 * found, rtol=1e-3, atol=0)


def test_perturbations_belong_to_the_image_not_to_the_batch():
    images, targets = batch()
    together = max_sensitivity(channel_sum, images, targets)
    turned = max_sensitivity(channel_sum, images.flip(0), targets)
    alone = torch.cat([max_sensitivity(channel_sum, images[i : i + 1], targets[:1]) for i in range(3)])
    assert torch.equal(turned.flip(0), together)
    assert torch.equal(alone, together)
    assert not torch.equal(max_sensitivity(channel_sum, images, targets, seed=1), together)


def test_more_perturbations_never_lower_the_maximum():
    images, targets = batch()
    few, many = (max_sensitivity(channel_sum, images, targets, num_perturbations=n) for n in (2, 10))
    assert (many >= few).all()


@pytest.mark.parametrize("options", [{"radius": 0.0}, {"num_perturbations": 0}])
def test_options_that_cannot_be_used(options):
    with pytest.raises(InputError, match="must be a"):
        max_sensitivity(channel_sum, *batch(), **options)
