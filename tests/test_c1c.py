"""C1C against the released procedure, rebuilt here, and its edge cases."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torch import Tensor, nn

from relsplit import LRP, heat_quantization
from relsplit.attribution import AttributionMap
from relsplit.c1c import C1C, components, first_contour, resized
from relsplit.errors import InputError


def released(attribution: np.ndarray) -> np.ndarray:
    """The released code's option: resized by scikit-image, binarised at the mean, one component kept, times 3."""
    transform, measure = (pytest.importorskip(f"skimage.{part}") for part in ("transform", "measure"))
    small = transform.resize(attribution, (28, 28))
    labels = measure.label(small > small.mean())
    best = max(range(labels.max() + 1), key=lambda label: small[labels == label].max())
    return np.where(labels == best, 3 * small, 0.0)


@pytest.fixture(scope="module")
def maps() -> Tensor:
    """Relevance of a small residual network for smooth images, (6, 64, 64), float64."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        from torchvision.models import ResNet
        from torchvision.models.resnet import BasicBlock

        network: nn.Module = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=4).double().eval()
        images = torch.randn(6, 3, 8, 8, dtype=torch.float64)
    images = nn.functional.interpolate(images, size=(64, 64), mode="bicubic")
    return LRP(network).attribute(images).sum(1)


def test_equals_the_released_procedure_on_relevance_maps(maps: Tensor) -> None:
    for found, one in zip(C1C()(maps), maps, strict=True):
        expected = released(one.numpy())
        assert 0 < (expected > 0).mean() < 0.9
        assert np.array_equal(found.numpy() > 0, expected > 0)
        np.testing.assert_allclose(3 * found.numpy(), expected, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("shape", [(224, 224), (64, 50), (30, 28), (300, 57)])
def test_shrinks_as_scikit_image_does(shape: tuple[int, int]) -> None:
    transform = pytest.importorskip("skimage.transform")
    values = np.random.default_rng(0).normal(size=shape)
    found = resized(torch.from_numpy(values)[None], 28)[0]
    np.testing.assert_allclose(found.numpy(), transform.resize(values, (28, 28)), rtol=1e-6, atol=1e-9)


def test_a_maps_own_region_does_not_depend_on_the_others(maps: Tensor) -> None:
    step = C1C(size=None)
    assert torch.equal(step(maps), torch.cat([step(each[None]) for each in maps]))
    assert step(maps).shape == maps.shape


BLOBS = torch.tensor(
    [
        [9, 0, 0, 0, 0, 0],
        [0, 5, 0, 0, 0, 0],  # touches the first by a corner
        [0, 0, 0, 0, 4, 4],
        [0, 0, 0, 0, 4, 4],
        [0, 0, 0, 0, 4, 4],
    ],
    dtype=torch.float64,
)


def test_components_by_hand() -> None:
    by_maximum = C1C(size=None)(BLOBS[None])[0]
    assert by_maximum.nonzero().tolist() == [[0, 0], [1, 1]]  # 8-connected
    by_area = C1C(size=None, component="area")(BLOBS[None])[0]
    assert torch.equal(by_area, BLOBS * (BLOBS == 4))
    only_the_peak = C1C(size=None, threshold=0.6)(BLOBS[None])[0]
    assert only_the_peak.nonzero().tolist() == [[0, 0]]


def test_equally_large_components() -> None:
    maps = torch.tensor([[0, 0, 0, 2], [2, 0, 0, 0], [0, 0, 0, 0]], dtype=torch.float64)[None]
    assert C1C(size=None, component="area")(maps)[0].nonzero().tolist() == [[0, 3]]  # the first, row by row


@given(st.integers(1, 12), st.integers(1, 12), st.floats(0.1, 0.9), st.integers(0, 2**32 - 1))
def test_regions_are_those_of_opencv(height: int, width: int, share: float, seed: int) -> None:
    cv2 = pytest.importorskip("cv2", exc_type=ImportError, reason="OpenCV cannot be loaded")
    random = np.random.default_rng(seed)
    foreground = random.random((height, width)) < share
    foreground[0, 0] = True
    outlines, _ = cv2.findContours(foreground.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    blank = np.zeros(foreground.shape, np.uint8)
    filled = [cv2.drawContours(blank.copy(), [outline], 0, 1, thickness=-1) for outline in outlines]
    _, labels = cv2.connectedComponents(foreground.astype(np.uint8), connectivity=8)
    for peak in np.flatnonzero(foreground)[:: foreground.size // 8 + 1]:
        expected = next(each for each in filled if each.ravel()[peak]) > 0
        assert np.array_equal(first_contour(foreground, peak), expected)
        found = components(foreground)
        assert np.array_equal(found == found.ravel()[peak], labels == labels.ravel()[peak])


def test_where_contour_and_component_do_not_meet_the_component_is_kept() -> None:
    both = C1C(size=None, component="area", contour="external")(BLOBS[None])
    assert torch.equal(both, C1C(size=None, component="area")(BLOBS[None]))
    assert first_contour((BLOBS > 1).numpy(), 0)[0, 0]
    assert not first_contour((BLOBS > 1).numpy(), 0)[3, 4]


def test_the_first_contour_is_filled() -> None:
    ring = np.zeros((7, 7), dtype=bool)
    ring[1:6, 1:6] = True
    ring[2:5, 2:5] = False
    assert np.array_equal(first_contour(ring, 8), ndimage.binary_fill_holes(ring))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=64, max_size=64), st.sampled_from(["mean", 0.0, 0.4]))
def test_the_posters_and_adds_nothing_to_the_component_with_the_maximum(values: list[int], threshold: Any) -> None:
    maps = torch.tensor(values, dtype=torch.float64).reshape(1, 8, 8)
    alone, both = (C1C(size=None, threshold=threshold, contour=contour)(maps) for contour in ("none", "external"))
    assert torch.equal(alone, both)
    foreground = (maps > (maps.mean() if threshold == "mean" else threshold * maps.max())).numpy()[0]
    labels, count = ndimage.label(foreground, structure=np.ones((3, 3)))
    if count:  # an own labelling, by scipy
        expected = labels == labels.ravel()[int(maps.argmax())]
        assert np.array_equal(alone[0].numpy() != 0, expected & (maps[0].numpy() != 0))


def test_a_negative_mean_leaves_no_kept_pixel_below_the_rest() -> None:
    values = torch.full((1, 6, 6), -4.0)
    values[0, 1:3, 1:3] = torch.tensor([[-1.0, -2.0], [-0.5, -3.0]])
    found = C1C(size=None)(values)[0]
    kept = torch.zeros(6, 6, dtype=torch.bool)
    kept[1:3, 1:3] = True
    assert (found[kept] > 0).all()
    assert (found[~kept] == 0).all()
    assert torch.equal(found[kept].argsort(), values[0][kept].argsort())


def test_a_constant_map_is_kept_whole() -> None:
    for value in (0.0, 0.1, -2.0):
        assert torch.equal(C1C(size=None)(torch.full((1, 5, 5), value)), torch.full((1, 5, 5), value))
    nearly = 0.1 + 1e-9 * torch.rand(1, 5, 5, dtype=torch.float64)
    assert torch.equal(C1C(size=None)(nearly), nearly)


def test_is_a_step_of_the_map_before_upsampling_and_quantisation(maps: Tensor) -> None:
    made = AttributionMap(region=C1C(), heat_quantization="linspace")(maps, (64, 64))
    assert made.shape == maps.shape
    by_hand = nn.functional.interpolate(C1C()(maps)[:, None], size=(64, 64), mode="bilinear")[:, 0]
    assert torch.equal(made, heat_quantization(by_hand))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"threshold": 1.0}, "threshold must be"),
        ({"threshold": -0.1}, "threshold must be"),
        ({"threshold": "otsu"}, "threshold must be"),
        ({"size": 0}, "size must be"),
        ({"component": "first"}, "component must be one of max, area"),
        ({"contour": "tree"}, "contour must be one of none, external"),
    ],
)
def test_refuses_what_would_keep_nothing(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        C1C(**options)
    assert "\n" not in str(caught.value)


def test_the_released_metrics_first_row() -> None:
    cv2 = pytest.importorskip("cv2", exc_type=ImportError, reason="OpenCV cannot be loaded")
    small = torch.rand(2, 7, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = AttributionMap(upsampling="first_row")(small, (56, 42))
    for one, row in zip(found, small[:, 0], strict=True):
        expected = cv2.resize(row.numpy()[:, None], (42, 56))  # what OpenCV 4 makes of the one-dimensional array
        np.testing.assert_allclose(one.numpy(), expected, rtol=1e-6)
    small[:, 0] = 0
    assert not AttributionMap(upsampling="first_row")(small, (56, 42)).any()
    quantised = AttributionMap(upsampling="first_row", heat_quantization="linspace")(torch.eye(7)[None], (7, 7))
    assert torch.equal(quantised, torch.eye(7)[None])  # at image size nothing is lost
