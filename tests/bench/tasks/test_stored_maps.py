"""Maps that were made elsewhere score what the same maps score where they were made."""

import csv
from pathlib import Path

import numpy as np
import pytest

from relsplit.bench.configuration.settings import Settings
from relsplit.bench.evaluate.task import measure
from relsplit.bench.explain.stored_maps import StoredMaps
from relsplit.bench.runs.folder import read_config
from relsplit.bench.runs.maps import read_maps
from relsplit.errors import InputError
from small_runs import CLASSES, configured, put_photographs

FEW = ("num_samples=5", "protocol.published.step=128")
SCORES = ("sample_id", "insertion", "deletion", "id_score", "energy_in_box", "gini", "predicted", "probability")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Photographs, and an evaluation of Grad-CAM that keeps all its maps."""
    photographs = tmp_path_factory.mktemp("photographs")
    put_photographs(photographs, CLASSES, to_test_on=4)
    return photographs, measure(configured(photographs, "explainer=grad_cam", "task.maps=5", *FEW))


def stored(photographs: Path, folder: Path, maps: Path, *more: str) -> Settings:
    typed = ["explainer=stored", f"explainer.maps={maps}", f"output_dir={folder}", *FEW, *more]
    return configured(photographs, *typed)


def scores(run: Path) -> list[list[str]]:
    with (run / "samples.csv").open() as file:
        return [[line[name] for name in SCORES if name in line] for line in csv.DictReader(file)]


def test_a_runs_own_maps_score_the_same(made: tuple[Path, Path], tmp_path: Path) -> None:
    photographs, run = made
    again = measure(stored(photographs, tmp_path / "again", run / "maps.npz"))
    assert len(scores(again)) == 5
    assert scores(again) == scores(run)
    np.testing.assert_array_equal(read_maps(again).map, read_maps(run).map[:2])


def test_rows_of_a_manifest_find_their_samples_in_any_order(made: tuple[Path, Path], tmp_path: Path) -> None:
    photographs, run = made
    order = [4, 0, 3, 1, 2]
    header, *lines = (run / "manifest.csv").read_text().splitlines(keepends=True)
    manifest = tmp_path / "mine.csv"
    manifest.write_text("".join([header, *(lines[row] for row in order)]))
    maps = tmp_path / "maps.npy"
    np.save(maps, read_maps(run).map[order].astype(">f8")[:, None])  # with a channel, of another byte order
    again = measure(stored(photographs, tmp_path / "again", maps, f"explainer.manifest={manifest}"))
    assert scores(again) == scores(run)


def test_other_maps_are_another_run(made: tuple[Path, Path], tmp_path: Path) -> None:
    photographs, run = made
    kept = read_maps(run)
    maps = tmp_path / "maps.npz"
    found = []
    for values in (kept.map, -kept.map):
        np.savez(maps, sample_id=kept.sample_id, map=values)
        found.append(stored(photographs, tmp_path / "again", maps).identity())
    assert found[0].hash != found[1].hash
    folder = measure(stored(photographs, tmp_path / "again", maps))
    assert scores(folder) != scores(run)
    assert read_config(folder)["explainer"]["maps"] == str(maps)
    np.savez(maps, sample_id=kept.sample_id, map=kept.map)
    with pytest.raises(InputError, match="maps"):
        measure(stored(photographs, folder, maps))


def test_a_metric_that_explains_other_images_is_refused(made: tuple[Path, Path], tmp_path: Path) -> None:
    photographs, run = made
    with pytest.raises(InputError, match="maps of the run's samples alone: leave out the metrics"):
        measure(stored(photographs, tmp_path / "again", run / "maps.npz", "metric=[sensitivity]"))


def test_what_holds_no_maps_of_the_samples(tmp_path: Path) -> None:
    values = np.ones((2, 4, 4))
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("sample_id,path\na,a.png\nb,b.png\n")
    (tmp_path / "text.csv").write_text("no header\n")
    np.save(tmp_path / "two.npy", values)
    np.save(tmp_path / "flat.npy", values[0])
    np.save(tmp_path / "nan.npy", values * np.nan)
    np.save(tmp_path / "complex.npy", values * 1j)
    np.save(tmp_path / "text.npy", np.full((2, 4, 4), "a"))
    np.save(tmp_path / "three.npy", np.ones((3, 4, 4)))
    np.savez(tmp_path / "unnamed.npz", values)
    np.savez(tmp_path / "twice.npz", sample_id=["a", "a"], map=values)
    np.savez(tmp_path / "cut.npz", sample_id=["a", "b"], map=values)
    whole = (tmp_path / "cut.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    for maps, given, said in (
        ("two.npy", None, "does not say whose its maps are"),
        ("two.npy", "missing.csv", "explainer.manifest: there is no file"),
        ("two.npy", "text.csv", "no column sample_id"),
        ("flat.npy", "manifest.csv", "not maps"),
        ("nan.npy", "manifest.csv", "NaN or infinity"),
        ("complex.npy", "manifest.csv", "no real numbers"),
        ("text.npy", "manifest.csv", "no real numbers"),
        ("three.npy", "manifest.csv", "names 2 samples for 3 maps"),
        ("unnamed.npz", None, "has no sample_id"),
        ("twice.npz", None, "several maps of sample a"),
        ("cut.npz", None, "is no .npy or .npz"),
        ("manifest.csv", None, "is no .npy or .npz"),
        ("missing.npz", None, "there is no file"),
    ):
        with pytest.raises(InputError, match=said) as raised:
            StoredMaps(None, str(tmp_path / maps), given and str(tmp_path / given))  # type: ignore[arg-type]
        assert "\n" not in str(raised.value)
    several = StoredMaps(None, str(tmp_path / "two.npy"), str(manifest))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no map of 1 of 2 samples"):
        several.check(["a", "c"])
