"""The explorer shows what was measured: its masked images have the curves' probabilities, in a real browser, too."""

import base64
import io
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from chromium import Tab, opened
from relsplit.bench.data.transforms import Normalization
from relsplit.bench.evaluate.task import measure
from relsplit.bench.explain.explained_network import explained_network
from relsplit.bench.explain.samples import chosen_samples
from relsplit.bench.runs.maps import read_maps
from relsplit.bench.runs.store import read_curves, read_samples
from relsplit.errors import InputError
from relsplit.metrics.insertion_deletion.bands import bands_of
from relsplit.metrics.insertion_deletion.protocols.nominal import Strict
from relsplit.papers.reports.explorer import Explored, write_explorer
from relsplit.papers.reports.html import write_report
from relsplit.pictures.overlays import light_overlay
from small_runs import configured, put_photographs

CLASSES = ("<script>x", "Zaunkönig", "鳥 & wren")
PROTOCOLS = {
    "blurred": {"_target_": "relsplit.metrics.insertion_deletion.protocols.nominal.Strict", "baseline": "blur"},
    "blocks": {"_target_": "relsplit.metrics.insertion_deletion.protocols.nominal.Strict", "patch": 4, "step": 4},
}


class Seen:
    """An explorer's page as Python reads it."""

    def __init__(self, page: Path) -> None:
        text = page.read_text(encoding="utf-8")
        elements = re.findall(r'<script type="application/json" id="([\w-]+)">(.*?)</script>', text, re.DOTALL)
        self.content = {name: json.loads(content) for name, content in elements}
        self.set = self.content["data"]["sets"][0]

    def image(self, place: int) -> npt.NDArray[np.uint8]:
        return picture(self.content[self.set["samples"][place]["image"]])

    def explained(self, method: int, place: int) -> dict[str, Any]:
        found: dict[str, Any] = self.content[self.set["methods"][method]["rows"][str(place)]["payload"]]
        return found

    def band(self, method: int, place: int, protocol: int) -> npt.NDArray[np.int64]:
        sample, patch = self.set["samples"][place], self.set["methods"][method]["patch"][protocol]
        plane = self.explained(method, place)["planes"][str(patch)]
        content = np.frombuffer(zlib.decompress(base64.b64decode(plane["data"])), np.uint8).astype(np.int64)
        shape = (plane["bytes"], sample["height"], sample["width"])
        found: npt.NDArray[np.int64] = (
            content.reshape(shape) * 256 ** np.arange(len(content.reshape(shape)))[:, None, None]
        ).sum(0)
        return found

    def masked(self, method: int, place: int, protocol: int, curve: str, point: int) -> npt.NDArray[np.uint8]:
        explained = self.explained(method, place)
        hidden = self.set["methods"][method]["baseline"][protocol]
        below = picture(explained["baseline"][protocol]) if hidden is None else np.array(hidden, np.uint8)
        kept = self.band(method, place, protocol) < explained["curves"][protocol]["shown"][point]
        return np.where((kept != (curve == "deletion"))[..., None], self.image(place), below)


def picture(source: str) -> npt.NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("explored")
    put_photographs(folder, CLASSES, to_test_on=2)
    return folder


def evaluated(folder: Path, explainer: str, *more: str) -> Path:
    options = ["num_samples=6", "task.pictures=0", f"explainer={explainer}", "protocol=[published,strict,levels]"]
    options += [
        f"+protocol.{name}={{{','.join(f'{key}: {value}' for key, value in each.items())}}}"
        for name, each in PROTOCOLS.items()
    ]
    return measure(configured(folder, *options, f"output_dir={folder / explainer}", *more))


@pytest.fixture(scope="module")
def runs(folder: Path) -> list[Path]:
    return [evaluated(folder, "ours", "task.maps=5"), evaluated(folder, "random", "task.maps=6")]


@pytest.fixture(scope="module")
def page(folder: Path, runs: list[Path]) -> Path:
    path = folder / "explorer.html"
    notes = write_explorer([Explored(run.name, run) for run in runs], path, "Birds & </script>", 200)
    assert notes == ["ours: maps of 5 of 6 samples are kept; start its evaluation again with task.maps=6 for all"]
    return path


@pytest.fixture(scope="module")
def seen(page: Path) -> Seen:
    return Seen(page)


def test_a_masked_image_of_the_page_has_the_probability_of_its_curve(folder: Path, seen: Seen) -> None:
    settings = configured(folder)
    catalogue, _ = chosen_samples(settings)
    network = explained_network(settings, catalogue, []).eval()
    normalise = Normalization(settings.dataset.mean, settings.dataset.std)
    names = [sample["id"] for sample in seen.set["samples"]]
    for method in (0, 1):
        run = folder / seen.set["methods"][method]["name"]
        labels = read_samples(run).set_index("sample_id")["label"]
        recorded = {(curve.sample_id, curve.protocol): curve for curve in read_curves(run)}
        for protocol, name in enumerate(seen.set["methods"][method]["protocols"]):
            curves, measured = seen.explained(method, 1)["curves"][protocol], recorded[names[1], name]
            assert curves["fraction"] == pytest.approx(measured.fraction, abs=1e-5)
            for curve in ("insertion", "deletion"):
                points = range(0, len(curves["shown"]), 9)
                shown = [seen.masked(method, 1, protocol, curve, point) for point in points]
                with torch.no_grad():
                    images = torch.stack([normalise(Image.fromarray(image)) for image in shown])
                    read = network(images).softmax(1)[:, int(labels[names[1]])]
                expected = [getattr(measured, curve)[point] for point in points]
                # A blurred pixel is rounded to a whole number on the page; all others are what the network saw.
                close = 5e-3 if name == "blurred" else 1e-5
                assert read.tolist() == pytest.approx(expected, abs=close), (name, curve)
                assert [curves[curve][point] for point in points] == pytest.approx(expected, abs=1e-5)


def test_a_map_of_the_page_has_the_colours_of_the_light_overlay(runs: list[Path], seen: Seen) -> None:
    maps = read_maps(runs[0])
    explained, band = seen.explained(0, 0), seen.band(0, 0, 0)
    palette = np.frombuffer(base64.b64decode(seen.content["data"]["palettes"]["plasma"]), np.uint8).reshape(-1, 3)
    strengths = np.array(explained["levels"])[band] / seen.content["data"]["steps"]
    colours = palette[np.minimum(255, np.floor(256 * strengths)).astype(int)]
    alpha = 0.8 * strengths[..., None]
    drawn = (1 - alpha) * seen.image(0) + alpha * colours
    assert not explained["signed"]
    assert np.abs(drawn - 255 * light_overlay(maps.image[0], maps.map[0])).max() < 4
    assert (seen.image(0) == maps.image[0]).all()


def test_bands_are_prefixes_of_the_ranking(seed: None) -> None:
    maps = torch.randint(0, 9, (2, 7, 5)).float()
    for values, bands in zip(maps, bands_of(maps, {"strict": Strict(step=3)}, 1, maps.long()), strict=True):
        order = values.flatten().sort(descending=True, stable=True).indices
        for shown, count in zip(bands.shown["strict"], (3, 6, 9, 12), strict=False):
            first = np.flatnonzero(bands.band.ravel() < shown)
            assert sorted(first) == sorted(order[:count].tolist())
        for band in range(bands.band.max() + 1):
            assert len(values[torch.from_numpy(bands.band == band)].unique()) == 1  # one level, one colour


def test_the_report_links_the_explorer_of_its_evaluations(folder: Path, runs: list[Path]) -> None:
    write_report(folder, folder / "results" / "report.html", "Results")
    assert '<a href="explorer.html">' in (folder / "results" / "report.html").read_text(encoding="utf-8")
    assert [each["name"] for each in Seen(folder / "results" / "explorer.html").set["methods"]] == ["ours", "random"]


def test_maps_are_added_to_a_finished_evaluation_without_measuring_it_again(folder: Path) -> None:
    run = evaluated(folder, "center")
    before = {name: (run / name).read_bytes() for name in ("curves.jsonl", "samples.csv", "summary.json")}
    with pytest.raises(InputError, match=r"center keeps no maps \(maps.npz\): .*task.maps=200"):
        write_explorer([Explored("center", run)], folder / "none.html", "", 200)
    evaluated(folder, "center", "task.maps=3")
    assert len(read_maps(run).sample_id) == 3
    assert before == {name: (run / name).read_bytes() for name in before}


@pytest.fixture(scope="module")
def tab(page: Path) -> Iterator[Tab]:
    with opened() as tab:
        tab.screen(1280)
        tab.open(page)
        tab.until("document.querySelectorAll('.panel canvas').length === 6")
        yield tab


def canvas(tab: Tab, method: int, number: int) -> npt.NDArray[np.uint8]:
    """The overlay, the insertion's and the deletion's masked image of a panel."""
    script = """(([panel, number]) => {
        const canvas = document.querySelectorAll(".panel")[panel].querySelectorAll("canvas")[number];
        const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        return [pixels.width, pixels.height, [...pixels.data]];
    })"""
    width, height, content = tab.run(f"{script}([{method}, {number}])")
    return np.array(content, np.uint8).reshape(height, width, 4)[..., :3]


def test_the_browser_shows_the_masked_images_and_their_probabilities(tab: Tab, seen: Seen) -> None:
    tab.run("openSet(0)")
    for _ in range(3):
        tab.press("ArrowRight")
    tab.until("byId('point').value === '3' && byId('point-label').textContent.startsWith('Point 4 ')")
    for method in (0, 1):
        for number, curve in enumerate(("insertion", "deletion"), start=1):
            assert (canvas(tab, method, number) == seen.masked(method, 0, 0, curve, 3)).all()
            said = tab.run(
                f"document.querySelectorAll('.panel')[{method}].querySelector('b[data-curve={curve}]').textContent"
            )
            assert said == f"p = {seen.explained(method, 0)['curves'][0][curve][3]:.3f}"


def test_the_sliders_change_what_is_drawn(tab: Tab, seen: Seen) -> None:
    tab.run("openSet(0)")
    tab.run("byId('opacity').value = 0; byId('opacity').dispatchEvent(new Event('input'))")
    tab.until("byId('point-label').textContent.startsWith('Point ')")
    tab.until("state.opacity === 0")
    tab.run("draw()")
    assert (canvas(tab, 0, 0) == seen.image(0)).all()
    before = canvas(tab, 0, 1)
    tab.run("byId('point').value = 40; byId('point').dispatchEvent(new Event('input'))")
    tab.until("byId('point-label').textContent.startsWith('Point 41 ')")
    assert (canvas(tab, 0, 1) != before).any()
    tab.press("+")
    tab.until("byId('opacity').value === '10'")
    tab.run("draw()")
    assert (canvas(tab, 0, 0) != seen.image(0)).any()


def test_keys_move_through_samples_and_methods(tab: Tab, seen: Seen) -> None:
    tab.run("sortBy(0)")
    names = [sample["id"] for sample in seen.set["samples"]]
    tab.until(f"byId('sample').textContent === {json.dumps(names[0])}")
    tab.press("ArrowDown")
    tab.until(f"byId('sample').textContent === {json.dumps(names[1])}")
    assert tab.run("document.querySelector('[aria-selected=true] .name').textContent") == names[1]
    titles = "[...document.querySelectorAll('.panel')].map(panel => panel.dataset.method).join()"
    tab.until(f"{titles} === 'ours,random'")
    tab.press("x")
    tab.until(f"{titles} === 'random,ours'")
    tab.press("x")
    tab.press("p")
    tab.until("byId('protocol').selectedOptions[0].textContent === 'strict'")
    tab.press("?")
    tab.until("byId('keys').open")
    tab.run("byId('keys').close()")
    tab.run("openSet(0)")


def test_samples_are_sorted(tab: Tab, seen: Seen, runs: list[Path]) -> None:
    tables = [read_samples(run).set_index("sample_id") for run in runs]
    shown = [sample["id"] for sample in seen.set["samples"]][:5]  # those whose map the first method keeps
    ours, random = (table.loc[shown] for table in tables)
    expected = {
        1: sorted(shown),
        2: list(ours.sort_values("id_score").index),
        3: list(ours.sort_values("id_score", ascending=False).index),
        4: list((random["id_score"] - ours["id_score"]).sort_values().index),
        5: list((ours["id_score"] - random["id_score"]).sort_values().index),
    }
    for order, names in expected.items():
        tab.run(f"sortBy({order})")
        assert tab.run("[...document.querySelectorAll('#samples .name')].map(name => name.textContent)") == names
    tab.run("sortBy(6)")
    wrong = tab.run("[...document.querySelectorAll('#samples li')].map(item => item.querySelector('.wrong') !== null)")
    assert wrong == sorted((ours["label"] != ours["predicted"]).tolist(), reverse=True)
    assert 0 < sum(wrong) < 5  # the test cannot pass without both kinds
    tab.run("sortBy(0)")


def test_names_are_text_and_nothing_goes_wrong(tab: Tab, page: Path) -> None:
    assert tab.run("document.querySelector('h1').textContent") == "Birds & </script>"
    for place in range(5):
        tab.run(f"choose({place})")
        tab.until(f"byId('place').textContent.startsWith('{place + 1} ')")
        assert any(name in tab.run("document.querySelector('.panel p').textContent") for name in CLASSES)
    for width in (390, 1280):
        tab.screen(width)
        assert tab.run("document.documentElement.scrollWidth") <= width  # nothing sticks out
    assert not re.search(
        r'(?:src|href)="(?!data:)|url\(|@import|https?://(?!www\.w3\.org/2000/svg)', page.read_text("utf-8")
    )
    assert tab.errors == []
