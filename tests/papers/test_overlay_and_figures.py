"""The paper's overlay against captum's normalisation, and figures that show what they are given."""

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest
from captum.attr._utils.visualization import _normalize_attr
from matplotlib.figure import Figure
from synthetic_runs import write_run

from papers import brief
from relsplit.bench.configuration.identity import Identity
from relsplit.bench.runs.folder import claim_folder
from relsplit.bench.runs.map_grid import map_grid
from relsplit.bench.runs.maps import Maps, read_maps, write_maps
from relsplit.bench.runs.records import CONSERVATION
from relsplit.bench.runs.sampled_curves import POSITIONS, from_nothing, sampled_curves
from relsplit.bench.runs.store import read_curves
from relsplit.errors import InputError
from relsplit.papers.products.figures_conservation import conservation, maximal_gap
from relsplit.papers.products.figures_curves import LINES, mean_curves
from relsplit.papers.products.figures_maps import chosen, qualitative
from relsplit.papers.products.measured import Measured
from relsplit.papers.products.product import Product, save_figure, write_product
from relsplit.pictures.colours import CONTROLS, colour_of
from relsplit.pictures.overlays import light_overlay, normalise, overlay


def some_maps(count: int = 3, seed: int = 0, size: int = 16) -> Maps:
    draw = np.random.default_rng(seed)
    return Maps(
        sample_id=np.array([f"s{i}" for i in range(count)]),
        image=draw.integers(0, 255, (count, size, size, 3), dtype=np.uint8),
        map=draw.normal(size=(count, size, size)),
        region=np.zeros((count, size, size), dtype=bool),
        label=np.arange(count),
        predicted=np.arange(count),
        probability=np.ones(count),
        class_name=np.array([f"{i:03d}.Some_bird" for i in range(count)]),
    )


@pytest.mark.parametrize("outliers", [0.0, 2.0, 10.0])
def test_normalisation_is_captums(outliers: float) -> None:
    attribution = np.random.default_rng(0).standard_t(2, size=(24, 24))
    np.testing.assert_allclose(
        normalise(attribution, outliers), _normalize_attr(attribution, "positive", outliers), atol=1e-12
    )


def test_a_map_without_positive_part_stays_zero() -> None:
    assert not normalise(-np.ones((4, 4))).any()


def test_overlay_blends_with_the_given_opacity() -> None:
    image = np.full((2, 2, 3), 255, dtype=np.uint8)
    attribution = np.array([[0.0, 1.0], [0.0, 1.0]])
    blended = overlay(image, attribution, "jet", 0.4)
    low, high = (np.array(matplotlib.colormaps["jet"](value)[:3]) for value in (0.0, 1.0))
    np.testing.assert_allclose(blended[0, 0], 0.6 + 0.4 * low)
    np.testing.assert_allclose(blended[0, 1], 0.6 + 0.4 * high)


def shown(figure: Figure, row: int, column: int, columns: int) -> np.ndarray:
    return np.asarray(figure.axes[row * columns + column].images[0].get_array())


def test_grid_shows_images_then_methods() -> None:
    a, b = some_maps(), some_maps()
    figure = map_grid([("A", a), ("B", b)], cmap="viridis")
    np.testing.assert_allclose(shown(figure, 1, 0, 3), a.image[1] / 255)
    np.testing.assert_allclose(shown(figure, 2, 2, 3), overlay(b.image[2], b.map[2], "viridis"))
    assert [figure.axes[i].get_title() for i in range(3)] == ["Original", "A", "B"]
    across = map_grid([("A", a)], transposed=True)
    np.testing.assert_allclose(shown(across, 2, 1, 2), light_overlay(a.image[2], a.map[2]))
    assert [axis.get_ylabel() for axis in across.axes[:2]] == ["Original", "A"]
    width, height = across.get_size_inches()
    assert width / height == pytest.approx(3 / 2)


def test_a_wide_figure_wraps_beside_the_original_once_more() -> None:
    names = [f"method {index}" for index in range(16)]
    figure = map_grid([(name, some_maps(2)) for name in names])
    assert len(figure.axes) == 2 * (16 + 2)
    assert [axis.get_title() for axis in figure.axes if axis.get_title()] == [
        "Original",
        *names[:8],
        "Original",
        *names[8:],
    ]
    lefts = {round(axis.get_position().x0, 3) for axis in figure.axes}
    assert len(lefts) == 9
    width, height = figure.get_size_inches()
    assert 1 < width / height < 3


def test_a_light_overlay_leaves_the_photograph_where_nothing_is_relevant() -> None:
    image = np.random.default_rng(0).integers(0, 255, (4, 4, 3), dtype=np.uint8)
    attribution = np.zeros((4, 4))
    attribution[0, 0] = 2.0
    seen = light_overlay(image, attribution)
    untouched = attribution == 0
    np.testing.assert_allclose(seen[untouched], image[untouched] / 255)
    colour = np.array(matplotlib.colormaps["plasma"](1.0)[:3])
    np.testing.assert_allclose(seen[0, 0], 0.2 * image[0, 0] / 255 + 0.8 * colour)


def test_a_signed_map_has_two_colours_on_one_scale() -> None:
    image = np.zeros((4, 4, 3), dtype=np.uint8)
    attribution = np.zeros((4, 4))
    attribution[0, 0], attribution[1, 1], attribution[2, 2] = 2.0, -2.0, -1.0
    seen = light_overlay(image, attribution)
    np.testing.assert_allclose(seen[attribution == 0], 0)
    np.testing.assert_allclose(seen[0, 0], [0.8, 0, 0], atol=0.01)
    np.testing.assert_allclose(seen[1, 1], [0, 0, 0.8], atol=0.01)
    assert seen[2, 2].argmax() == 2
    assert seen[2, 2].max() < 0.5


@pytest.mark.parametrize(
    ("image", "attribution", "options", "said"),
    [
        (np.zeros((4, 4, 3)), np.ones((4, 4)), {}, "uint8"),
        (np.zeros((5, 4, 3), dtype=np.uint8), np.ones((4, 4)), {}, r"of the map's size \(4, 4\)"),
        (np.zeros((4, 4, 3), dtype=np.uint8), np.ones((1, 4, 4)), {}, r"attribution: expected \(H, W\)"),
        (np.zeros((4, 4, 3), dtype=np.uint8), np.full((4, 4), np.nan), {}, "NaN"),
        (np.zeros((4, 4, 3), dtype=np.uint8), np.ones((4, 4)), {"cmap": "virids"}, "did you mean viridis"),
    ],
)
def test_what_is_no_image_or_map_is_refused(image: Any, attribution: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        overlay(image, attribution, **options)


def test_methods_on_different_images_are_refused() -> None:
    with pytest.raises(InputError, match="different samples"):
        map_grid([("A", some_maps(3)), ("B", some_maps(2))])
    assert list(chosen(some_maps(3), [2, 0, 7]).sample_id) == ["s2", "s0"]
    with pytest.raises(InputError, match="only 3 samples"):
        chosen(some_maps(3), [5])


def test_maps_survive_their_file_and_figures_are_vector_and_raster(tmp_path: Path) -> None:
    maps = some_maps()
    claim_folder(tmp_path, Identity({"seed": 0}))
    write_maps(tmp_path, maps, code="")
    for name, values in vars(read_maps(tmp_path)).items():
        np.testing.assert_array_equal(values, getattr(maps, name))
    rows = [Measured("Ours", (tmp_path,))]
    product = qualitative(rows, brief(tmp_path, "demo"), images=[0, 1], cmaps=["jet", "viridis"])
    write_product(tmp_path, product, {"name": "figure5"}, rows)
    for name in ("figure_jet", "figure_viridis"):
        assert (tmp_path / f"{name}.pdf").read_bytes().startswith(b"%PDF")
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    np.testing.assert_allclose(
        shown(product.figures["figure_viridis"], 1, 1, 2), overlay(maps.image[1], maps.map[1], "viridis")
    )
    again = tmp_path / "again"
    again.mkdir()
    repeated = qualitative(rows, brief(tmp_path, "demo"), images=[0, 1], cmaps=["jet"])
    save_figure(repeated.figures["figure_jet"], again, "figure")
    assert (again / "figure.pdf").read_bytes() == (tmp_path / "figure_jet.pdf").read_bytes()
    with pytest.raises(InputError, match="jett"):
        qualitative(rows, brief(tmp_path, "demo"), images=[0], cmaps=["jett"])
    with pytest.raises(InputError, match=r"no maps\.npz"):
        read_maps(again)


def test_conservation_gap_is_the_largest_relative_one(tmp_path: Path) -> None:
    frame = pd.DataFrame({"sample_id": ["a", "b"], "probability": [0.5, 0.8], "input": [0.45, 0.8]})
    frame = frame.assign(first_block=frame["probability"], last_block=frame["probability"])
    assert maximal_gap(frame, "input") == pytest.approx(0.1)
    claim_folder(tmp_path, Identity({"explainer": {"name": "ours"}}))
    frame.to_csv(tmp_path / CONSERVATION, index=False)
    product = conservation([Measured("Ours", (tmp_path,))], brief(tmp_path, "demo"))
    assert [cell.text for cell in product.tables[0].groups[0][0]] == ["Ours", "1.0e-01", "0.0e+00", "0.0e+00"]
    panels = product.figures["figure"].axes
    assert len(panels) == 3
    np.testing.assert_allclose(np.asarray(panels[0].collections[0].get_offsets()), [[0.45, 0.5], [0.8, 0.8]])


def test_curves_are_brought_to_common_positions(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", insertion=[0.5, 0.4], deletion=[0.1, 0.3], num_samples=2, points=7)
    insertion, deletion = sampled_curves(read_curves(run), "published", ["s01", "s00"])
    np.testing.assert_allclose(insertion, np.outer([0.8, 1.0], POSITIONS), atol=1e-12)
    np.testing.assert_allclose(deletion, np.outer([0.6, 0.2], 1 - POSITIONS), atol=1e-12)
    figure = mean_curves([Measured("Ours", (run,))], ["published", "strict"])
    line = figure.axes[0].lines[0]
    np.testing.assert_allclose(line.get_xdata(), [0, *POSITIONS])
    np.testing.assert_allclose(line.get_ydata(), [0, *(0.9 * POSITIONS)], atol=1e-12)
    assert Product(figures={"curves": figure}).tables == []


def test_a_curve_starts_at_nothing() -> None:
    """A map of one pixel shows everything at once: its curve begins at the black image all the same."""
    inserted, deleted = from_nothing([0.9, 0.9, 0.9], [0.1, 0.1, 0.1])
    assert inserted.tolist() == [0.1, 0.9, 0.9, 0.9]
    assert deleted.tolist() == [0.9, 0.1, 0.1, 0.1]


def test_a_plot_has_eight_lines_at_most_and_a_method_its_colour_in_all(tmp_path: Path) -> None:
    methods = [
        "ours",
        "grad_cam",
        "score_cam",
        "rise",
        "deeplift",
        "lrp_epsilon",
        "smooth_grad",
        "abs_lrp",
        "hires_cam",
    ]
    rows = [Measured(name, (write_run(tmp_path / name, name, num_samples=2),)) for name in methods]
    variant = Measured("ours, another split", (write_run(tmp_path / "variant", "ours", num_samples=2),))
    controls = [
        Measured(name, (write_run(tmp_path / name, name, num_samples=2),), control=True)
        for name in ("random", "center", "edges", "one_pixel")
    ]
    figure = mean_curves([*rows, variant, *controls], ["published"])
    plots = [[line for line in axis.lines if not line.get_label().startswith("_")] for axis in figure.axes]
    assert max(map(len, plots)) <= LINES
    assert {line.get_label() for lines in plots for line in lines} == {*methods, variant.label, *CONTROLS}
    for lines in plots:
        assert {line.get_label() for line in lines} >= set(CONTROLS)
        assert (
            len(
                {
                    str(line.get_linestyle()) + str(line._unscaled_dash_pattern)
                    for line in lines
                    if line.get_label() in CONTROLS
                }
            )
            == 4
        )
        for line in lines:
            assert line.get_color() == colour_of("ours" if line.get_label() == variant.label else line.get_label())
    looks = {line.get_label(): line._unscaled_dash_pattern for lines in plots for line in lines}
    assert looks["ours"] != looks[variant.label]
