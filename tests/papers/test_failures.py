"""Failures, their proposed categories, and a person's word that outweighs the proposal."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from synthetic_runs import write_run

from papers import OTSUKI2024, brief
from relsplit.bench.runs.maps import Maps
from relsplit.errors import InputError
from relsplit.papers.products.contact_sheet import contact_sheet
from relsplit.papers.products.failures import (
    attended_area,
    best_baseline,
    count_table,
    failures,
    propose,
    worst_samples,
)
from relsplit.papers.products.failures_file import FAILURES, keep_confirmed, write_failures
from relsplit.papers.products.measured import Measured


def disc(centre: tuple[float, float], radius: float, size: int = 32) -> np.ndarray:
    y, x = np.mgrid[:size, :size] / size
    return np.asarray((y - centre[0]) ** 2 + (x - centre[1]) ** 2 < radius**2)


@pytest.fixture
def maps() -> Maps:
    """An object in the middle; attention on a spot of it, on all around it, and in a corner; then without an object."""
    spot, wide, corner = disc((0.5, 0.5), 0.1), disc((0.5, 0.5), 0.35), disc((0.15, 0.15), 0.1)
    attended = np.stack([spot, wide, corner, disc((0.5, 0.5), 0.05), np.ones((32, 32), dtype=bool), corner])
    region = np.stack([disc((0.5, 0.5), 0.25)] * 3 + [np.zeros((32, 32), dtype=bool)] * 3)
    count = len(attended)
    return Maps(
        sample_id=np.array([f"s{i:02d}" for i in range(count)]),
        image=np.zeros((count, 32, 32, 3), dtype=np.uint8),
        map=attended.astype(float) - 0.2,
        region=region,
        label=np.zeros(count, dtype=int),
        predicted=np.zeros(count, dtype=int),
        probability=np.ones(count),
        class_name=np.array(["bird"] * count),
    )


def test_categories_follow_area_and_overlap(maps: Maps) -> None:
    found = propose(maps)
    assert list(found["proposed"]) == ["insufficiently_attended", "over_attended", "wrongly_attended"] * 2
    assert found["on_object"][0] == 1.0
    assert found["covered"][1] == 1.0
    assert found["on_object"][2] == 0.0
    assert found["object_share"][3:].isna().all()


def test_attended_area_is_the_smallest_set_with_half_the_relevance() -> None:
    attribution = np.array([[4.0, 3.0, 2.0, 1.0, -9.0]])
    np.testing.assert_array_equal(attended_area(attribution), [[True, True, False, False, False]])
    np.testing.assert_array_equal(attended_area(np.array([[1.0, 1.0, 1.0, 0.0]])), [[True, True, True, False]])
    assert not attended_area(np.zeros((2, 2))).any()


def test_threshold_is_the_best_baseline_and_controls_do_not_count(tmp_path: Path) -> None:
    scores = [0.1 * i for i in range(12)]
    ours = Measured("Ours", (write_run(tmp_path / "ours", insertion=scores, deletion=0.0),))
    rows = [
        ours,
        Measured("weak", (write_run(tmp_path / "weak", insertion=0.2, deletion=0.0),)),
        Measured("strong", (write_run(tmp_path / "strong", insertion=0.35, deletion=0.0),)),
        Measured("one pixel", (write_run(tmp_path / "pixel", insertion=0.9, deletion=0.0),), control=True),
    ]
    name, threshold = best_baseline(rows, "Ours")
    assert (name, threshold) == ("strong", pytest.approx(0.35))
    assert list(worst_samples(ours, threshold).index) == ["s00", "s01", "s02", "s03"]
    assert list(worst_samples(ours, 0.2 + 1e-12).index) == ["s00", "s01", "s02"]  # not greater than counts as failed
    with pytest.raises(InputError, match="baseline"):
        best_baseline([ours], "Ours")


def test_a_persons_word_is_kept_and_counted(maps: Maps, tmp_path: Path) -> None:
    path = tmp_path / FAILURES
    proposal = propose(maps).assign(id_score=np.linspace(-0.1, 0.3, 6))
    write_failures(keep_confirmed(proposal, path), path)
    written = pd.read_csv(path, dtype=str, keep_default_na=False)
    written.loc[0, "confirmed"] = "WA"
    written.loc[1, "confirmed"] = "over_attended"
    written.to_csv(path, index=False)
    found = keep_confirmed(proposal, path)
    assert list(found["confirmed"])[:3] == ["wrongly_attended", "over_attended", ""]
    write_failures(found, path)
    assert list(keep_confirmed(proposal, path)["confirmed"]) == list(found["confirmed"])
    heading = ("measured, demo", "0.371", "6 (30.0%)")
    table = count_table(found, "Table D", heading, "mean ID score of Grad-CAM", OTSUKI2024.failures())
    assert [cell.text for cell in table.groups[0][0]] == ["measured, demo", "0.371", "6 (30.0%)", "1", "2", "3"]
    assert [cell.bold for cell in table.groups[0][0][3:]] == [False, False, True]
    assert [cell.text for cell in table.groups[1][0][3:]] == ["40", "25", "35"]
    assert "2 are confirmed" in table.notes[0]
    write_failures(found.iloc[2:], path)  # another threshold: two samples are no failures any more
    assert list(keep_confirmed(proposal, path)["confirmed"]) == list(found["confirmed"])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("sample_id,confirmed\ns00,\ns01,blurred\n", "line 3: 'blurred' is no category"),
        ("name\nx\n", "no columns"),
        ("", "no columns"),
        ("sample_id,note,confirmed\ns00,,WA\ns01,a, b,IA\n", "line 3 has more or fewer fields"),
        ("sample_id,note,confirmed\ns00,WA\n", "line 2 has more or fewer fields"),
        ("sample_id,note,confirmed\ns00,größer,WA\n", "not in UTF-8"),
    ],
)
def test_a_file_that_cannot_be_understood_is_refused(maps: Maps, tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / FAILURES
    path.write_text(content, encoding="latin-1")
    with pytest.raises(InputError, match=words):
        keep_confirmed(propose(maps), path)


def test_a_file_from_a_spreadsheet_keeps_its_words(maps: Maps, tmp_path: Path) -> None:
    path = tmp_path / FAILURES
    path.write_text('\ufeffsample_id,note,confirmed\ns00,,WA,\ns01,"a, b",IA\n', encoding="utf-8")
    confirmed = list(keep_confirmed(propose(maps), path)["confirmed"])
    assert confirmed[:3] == ["wrongly_attended", "insufficiently_attended", ""]


def test_contact_sheet_shows_every_failure_in_order(maps: Maps) -> None:
    found = propose(maps).assign(id_score=np.linspace(-0.1, 0.4, 6), confirmed="")
    figure = contact_sheet(maps, found, across=4)
    titles = [axis.get_title() for axis in figure.axes if axis.images]
    assert titles == ["-0.10 IA", "+0.00 OA", "+0.10 WA", "+0.20 IA", "+0.30 OA", "+0.40 WA"]


def test_failures_are_explained_once_more_and_laid_out(maps: Maps, tmp_path: Path) -> None:
    ours = Measured("Ours", (write_run(tmp_path / "ours", insertion=[0.1 * i for i in range(12)], deletion=0.0),))
    weak = Measured("weak", (write_run(tmp_path / "weak", insertion=0.55, deletion=0.0),))
    options = {"title": "Table D", "proposed": "Ours", "threshold": None, "worst": 6}
    product = failures([ours, weak], brief(tmp_path, "demo", maps), **options)  # type: ignore[arg-type]
    assert product.tables[0].title == "Table D — failures by category"
    cells = [cell.text for cell in product.tables[0].groups[0][0]]
    assert cells == ["measured, demo", "0.550", "6 (50.0%)", "2", "2", "2"]
    assert (tmp_path / FAILURES).read_text().count("\n") == 7
    with pytest.raises(InputError, match="none of the rows"):
        failures([weak], brief(tmp_path, "demo"), **options)  # type: ignore[arg-type]
