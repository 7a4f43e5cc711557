"""Figures of signals, volumes and boxes show what they are given, where it is, on one scale with zero in the middle."""

from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from relsplit.errors import InputError
from relsplit.pictures import boxes, light_overlay, overlay, slices, waveform
from relsplit.pictures.signed import AGAINST, FOR


def drawn(figure: Figure) -> np.ndarray[Any, Any]:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def heights(axes: Any) -> dict[str, tuple[float, float]]:
    """The lowest and highest point of each coloured area."""
    areas = [found for found in axes.collections if isinstance(found, PolyCollection)]
    points = {to_hex(area.get_facecolor()[0]): area.get_paths()[0].vertices[:, 1] for area in areas}
    return {colour: (float(found.min()), float(found.max())) for colour, found in points.items()}


def test_a_waveform_has_its_relevance_below_it() -> None:
    signal, relevance = torch.sin(torch.arange(80) / 6), torch.zeros(80)
    relevance[20:30], relevance[50] = 0.2, -0.1
    figure = waveform(signal, relevance, rate=20)
    above, below = figure.axes
    (line,) = above.lines
    np.testing.assert_allclose(line.get_ydata(), signal)
    np.testing.assert_allclose(line.get_xdata(), np.arange(80) / 20)
    assert heights(below) == {FOR: (0, pytest.approx(0.2)), AGAINST: (pytest.approx(-0.1), 0)}
    assert above.get_position().y0 > below.get_position().y0
    assert {text.get_text() for text in below.texts} == {"speaks for", "speaks against"}


def test_what_is_relevant_is_shaded_behind_the_signal() -> None:
    relevance = torch.zeros(100)
    relevance[40:60], relevance[80:90] = 1.0, -1.0
    (shade,) = waveform(torch.zeros(100), relevance).axes[0].images
    red, _, blue, opacity = np.moveaxis(np.asarray(shade.get_array())[0], -1, 0)
    np.testing.assert_array_equal(opacity > 0, relevance != 0)
    assert (red[40:60] > blue[40:60]).all()
    assert (blue[80:90] > red[80:90]).all()


def test_channels_share_one_scale_of_relevance() -> None:
    figure = waveform(torch.rand(3, 50), torch.stack([torch.full((50,), value) for value in (1.0, 0.1, -0.5)]))
    limits = {axes.get_ylim() for axes in figure.axes[1::2]}
    assert len(limits) == 1
    assert limits.pop()[0] < -0.5
    assert [axes.get_ylabel() for axes in figure.axes[::2]] == ["channel 0", "channel 1", "channel 2"]


def test_a_signal_without_relevance_is_drawn() -> None:
    assert drawn(waveform(np.zeros(1), np.zeros(1))).std() > 0


def test_slices_show_the_slices_that_are_asked_for_on_one_scale() -> None:
    volume, relevance = torch.rand(10, 12, 14), torch.zeros(10, 12, 14)
    relevance[3, 4, 5], relevance[7, 4, 5], relevance[7, 9, 9] = 1.0, 0.25, -0.5
    figure = slices(volume, relevance, shown=[3, 7])
    third, seventh, below = figure.axes
    assert [third.get_title(), seventh.get_title()] == ["slice 3", "slice 7"]
    pictures = [np.asarray(axes.images[0].get_array()) for axes in (third, seventh)]
    low, high = volume.min(), volume.max()
    grey = np.repeat((255 * (volume - low) / (high - low)).round().byte().numpy()[..., None], 3, axis=-1)
    untouched = relevance.numpy() == 0
    for number, picture in zip((3, 7), pictures, strict=True):
        np.testing.assert_allclose(picture[untouched[number]], grey[number][untouched[number]] / 255, atol=1e-7)
    whole = light_overlay(grey.reshape(120, 14, 3), relevance.numpy().reshape(120, 14)).reshape(10, 12, 14, 3)
    np.testing.assert_array_equal(pictures[1], whole[7])
    bars = {(round(bar.get_x() + 0.4), to_hex(bar.get_facecolor())): bar.get_height() for bar in below.patches}
    assert {place: height for place, height in bars.items() if height} == {
        (3, FOR): 1.0, (7, FOR): 0.25, (7, AGAINST): -0.5,
    }  # fmt: skip


def test_slices_are_spread_from_the_first_to_the_last() -> None:
    titles = [axes.get_title() for axes in slices(torch.rand(9, 4, 4), torch.rand(9, 4, 4), shown=3).axes]
    assert titles == ["slice 0", "slice 4", "slice 8", ""]
    assert len(slices(torch.rand(3, 4, 4), torch.zeros(3, 4, 4)).axes) == 4


def test_boxes_are_where_they_were_found_and_the_explained_one_stands_out() -> None:
    image = np.full((40, 60, 3), 120, dtype=np.uint8)
    relevance = np.zeros((40, 60))
    relevance[10:20, 5:15] = 1
    corners = torch.tensor([[30.0, 5.0, 55.0, 35.0], [4.0, 8.0, 18.0, 22.0]])
    left, right = boxes(image, relevance, corners, explained=1, labels=["a bird 0.90", "$\\frac$ 0.70"]).axes
    placed = {patch.get_edgecolor(): patch.get_bbox().extents for patch in left.patches if isinstance(patch, Rectangle)}
    assert sorted(map(tuple, placed.values())) == sorted(map(tuple, corners.double().numpy()))
    (explained,) = right.patches
    assert tuple(explained.get_bbox().extents) == (4, 8, 18, 22)
    assert len({patch.get_edgecolor() for patch in left.patches}) == 2
    shown = np.asarray(right.images[0].get_array())
    np.testing.assert_allclose(shown[relevance == 0], 120 / 255)
    assert right.get_title() == "relevance of \\$\\frac\\$ 0.70"
    assert drawn(left.figure).std() > 0


ONE, IMAGE = torch.rand(8), np.zeros((8, 8, 3), np.uint8)


@pytest.mark.parametrize("lay", [overlay, light_overlay])
def test_maps_of_any_kind_are_laid_over_their_image(lay: Any) -> None:
    relevance = torch.rand(8, 8, generator=torch.Generator().manual_seed(0)) - 0.5
    expected = lay(IMAGE, relevance.double().numpy())
    np.testing.assert_array_equal(lay(IMAGE, relevance.clone().requires_grad_()), expected)
    np.testing.assert_allclose(lay(IMAGE, relevance.bfloat16()), expected, atol=0.02)


@pytest.mark.parametrize("lay", [overlay, light_overlay])
@pytest.mark.parametrize("low", [0.0, -0.5])
def test_colours_stay_in_their_range(lay: Any, low: float) -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(250, 256, (64, 64, 3), generator=generator).byte().numpy()
    seen = lay(image, torch.rand(64, 64, generator=generator) + low)
    assert seen.min() >= 0
    assert seen.max() <= 1


def test_slices_are_counted_and_named_by_any_integers() -> None:
    volume = torch.rand(6, 8, 8, generator=torch.Generator().manual_seed(0))
    for shown in (np.int64(2), np.array([0, 5]), torch.tensor([0, 5])):
        titles = [axes.get_title() for axes in slices(volume, volume, shown).axes]
        assert titles == ["slice 0", "slice 5", ""]


@pytest.mark.parametrize(
    ("show", "given", "said"),
    [
        (waveform, (torch.rand(1, 2, 8), torch.rand(1, 2, 8)), r"signal: expected \(L,\) or \(C, L\)"),
        (waveform, (ONE, torch.rand(9)), r"relevance: expected the shape of the signal, \(8,\), not \(9,\)"),
        (waveform, (ONE, torch.full((8,), torch.nan)), "relevance: it holds NaN"),
        (waveform, (ONE, ONE, 0), "rate: expected samples per second, above 0, not 0"),
        (waveform, (ONE, ONE, np.inf), "samples per second, above 0, not inf"),
        (waveform, (ONE, ONE, "50"), "samples per second, above 0, not 50"),
        (waveform, (ONE, [1.0]), "must be a tensor or an array"),
        (slices, (torch.rand(8, 8), torch.rand(8, 8)), r"volume: expected \(D, H, W\)"),
        (slices, (torch.rand(4, 8, 8), torch.rand(4, 8, 9)), r"expected the shape of the volume, \(4, 8, 8\)"),
        (slices, (torch.rand(4, 8, 8), torch.rand(4, 8, 8), 0), "at least one slice, not 0"),
        (slices, (torch.rand(4, 8, 8), torch.rand(4, 8, 8), [4]), r"slices from 0 to 3, not \[4\]"),
        (slices, (torch.rand(4, 8, 8), torch.rand(4, 8, 8), "all"), "a list of their numbers, not 'all'"),
        (slices, (torch.rand(4, 8, 8), torch.rand(4, 8, 8), 2.5), "a list of their numbers, not 2.5"),
        (slices, (torch.rand(4, 8, 8), torch.rand(4, 8, 8), [1.7]), r"a list of their numbers, not \[1.7\]"),
        (boxes, (IMAGE, torch.rand(8, 8), [[1, 2, 3, 4]]), "corners must be a tensor or an array, not list"),
        (boxes, (IMAGE, torch.rand(8, 8), torch.rand(2, 4), "0"), "the number of a box, 0 for the first, not '0'"),
        (boxes, (IMAGE, torch.rand(8, 8), torch.rand(2, 4), 1.0), "the number of a box, 0 for the first, not 1.0"),
        (boxes, (IMAGE, torch.rand(8, 8), torch.rand(2, 4), 0, "ab"), "a list of texts, one for each box, not 'ab'"),
        (boxes, (IMAGE, torch.rand(8, 8), torch.rand(2, 4), 0, [1, 2]), r"a list of texts, .* not \[1, 2\]"),
        (light_overlay, (IMAGE, torch.rand(8, 8, 1)), r"attribution: expected \(H, W\)"),
        (light_overlay, (IMAGE, "map"), "attributions must be a tensor or an array, not str"),
        (overlay, (IMAGE, [[0.0]]), "must be a tensor or an array, not list"),
        (boxes, (IMAGE, torch.rand(8, 9), torch.rand(1, 4)), r"image: expected \(H, W, 3\) uint8 .* \(8, 9\)"),
        (boxes, (IMAGE, torch.rand(8, 8), torch.rand(4)), r"corners: expected \(K, 4\)"),
        (boxes, (IMAGE, torch.rand(8, 8), torch.rand(2, 5)), "left, top, right, bottom"),
        (boxes, (IMAGE, torch.rand(8, 8), torch.rand(2, 4), 2), "there are 2 boxes, 0 to 1, and no 2"),
        (boxes, (IMAGE, torch.rand(8, 8), torch.rand(2, 4), 0, ["one"]), "one for each of 2 boxes, not 1"),
        (boxes, (IMAGE, torch.rand(8, 8), torch.rand(0, 4)), r"none of them 0, not \(0, 4\)$"),
    ],
)
def test_what_cannot_be_drawn_is_one_line(show: Any, given: tuple[Any, ...], said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        show(*given)
    assert "\n" not in str(caught.value)
