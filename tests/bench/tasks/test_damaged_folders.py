"""A run folder with any damage: the same numbers again, or one line that names the file and what to do."""

import io
import json
import os
import shutil
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relsplit.bench.evaluate.task import measure as evaluate
from relsplit.bench.runs.folder import read_config
from relsplit.bench.runs.maps import read_maps
from relsplit.bench.runs.store import read_curves, read_samples
from relsplit.bench.runs.summary import read_summary
from relsplit.errors import InputError
from relsplit.papers.reports.html import write_report
from small_runs import configured

OPTIONS = ("explainer=center", "metric=[sparsity]", "protocol=[published]", "num_samples=3", "task.pictures=1")
REMEDIES = ("start", "choose another", "restore", "delete", "run one first", "finish its run", "reproduce")
Damage = Callable[[bytes, float], bytes | None]


def removed(content: bytes, place: float) -> None:
    return None


def emptied(content: bytes, place: float) -> bytes:
    return b""


def cut(content: bytes, place: float) -> bytes:
    return content[: int(place * len(content))]


def flipped(content: bytes, place: float) -> bytes:
    index = min(int(place * len(content)), len(content) - 1)
    return content[:index] + bytes([content[index] ^ 0x11]) + content[index + 1 :] if content else b"x"


def line_removed(content: bytes, place: float) -> bytes:
    lines = content.splitlines(keepends=True)
    index = int(place * len(lines))
    return b"".join(lines[:index] + lines[index + 1 :])


def line_twice(content: bytes, place: float) -> bytes:
    lines = content.splitlines(keepends=True)
    index = int(place * len(lines))
    return b"".join(lines[: index + 1] + lines[index:])


def turned(content: bytes, place: float) -> bytes:
    return b"".join(content.splitlines(keepends=True)[::-1])


def overwritten(content: bytes, place: float) -> bytes:
    index = int(place * len(content))
    return content[:index] + b"\xff\x00,,{]\n" + content[index:]


def another_number(content: bytes, place: float) -> bytes:
    index = int(place * len(content))
    found = next((i for i in [*range(index, len(content)), *range(index)] if content[i : i + 1].isdigit()), None)
    if found is None:
        return content
    return content[:found] + str(9 - int(content[found : found + 1])).encode() + content[found + 1 :]


DAMAGES: list[Damage] = [
    removed, emptied, cut, flipped, line_removed, line_twice, turned, overwritten, another_number,
]  # fmt: skip


@pytest.fixture
def finished(photographs: Path) -> Path:
    evaluate(configured(photographs, *OPTIONS))
    shutil.move(photographs / "run", photographs / "undisturbed")
    return photographs


def damaged_files(data: st.DataObject, folder: Path) -> list[str]:
    """Damage one to three files of a folder; return their names."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    chosen = data.draw(st.lists(st.sampled_from(files), min_size=1, max_size=3, unique=True))
    for path in chosen:
        damage = data.draw(st.sampled_from(DAMAGES))
        content = damage(path.read_bytes(), data.draw(st.floats(0, 1)))
        path.unlink() if content is None else path.write_bytes(content)
    return [path.name for path in chosen]


def names_file_and_remedy(message: str, folder: Path) -> bool:
    return "\n" not in message and str(folder) in message and any(remedy in message for remedy in REMEDIES)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_an_evaluation_of_a_damaged_folder_gives_the_same_numbers_or_one_line(
    finished: Path, data: st.DataObject
) -> None:
    undisturbed, folder = finished / "undisturbed", finished / "run"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(undisturbed, folder)
    damaged_files(data, folder)
    try:
        evaluate(configured(finished, *OPTIONS))
    except InputError as error:
        assert names_file_and_remedy(str(error), folder)  # noqa: PT017  # either outcome is right
        return
    expected, found = read_samples(undisturbed), read_samples(folder)
    pd.testing.assert_frame_equal(found.drop(columns="seconds"), expected.drop(columns="seconds"), check_exact=True)
    assert read_curves(folder) == read_curves(undisturbed)
    table = pd.read_csv(folder / "samples.csv", dtype={"sample_id": str})
    pd.testing.assert_frame_equal(table.drop(columns="seconds"), expected.drop(columns="seconds"), check_exact=True)
    one, other = (json.loads((each / "summary.json").read_text()) for each in (undisturbed, folder))
    timed = {"command", "seconds_per_sample", "samples_check", "check"}
    assert {k: v for k, v in one.items() if k not in timed} == {k: v for k, v in other.items() if k not in timed}
    assert not [path for path in folder.rglob("*") if ".tmp" in path.name or path.name == ".lock"]


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_report_of_a_damaged_folder_is_the_same_page_or_one_line(finished: Path, data: st.DataObject) -> None:
    folder, whole = finished / "run", finished / "whole.html"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(finished / "undisturbed", folder)
    write_report(folder, whole, "title")
    names = damaged_files(data, folder)
    page = finished / "page.html"
    page.unlink(missing_ok=True)
    try:
        write_report(folder, page, "title")
    except InputError as error:
        assert names_file_and_remedy(str(error), folder)  # noqa: PT017  # either outcome is right
        assert not page.exists()
        return
    # What the page is made of is whole, or the numbers of the summary are those of another, equally well-formed run.
    if not {"summary.json", "config.yaml"} & set(names):
        expected = whole.read_text()
        if not (folder / "maps.npz").is_file():  # without maps there is no explorer of them to be linked
            expected = expected.replace(' <a href="explorer.html">Explorer</a>', "")
        assert page.read_text() == expected


@pytest.mark.parametrize("damage", [cut, line_removed, turned])
def test_a_report_does_not_pass_over_a_lost_or_moved_sample(finished: Path, damage: Damage) -> None:
    """Every line that is left is whole: only the summary knows how many there were."""
    curves = finished / "undisturbed" / "curves.jsonl"
    curves.write_bytes(damage(curves.read_bytes(), 0.99))
    with pytest.raises(InputError, match=r"curves\.jsonl is not what its summary\.json was made of: start its"):
        write_report(curves.parent, finished / "page.html", "title")
    assert not (finished / "page.html").exists()


READERS: dict[str, Callable[[Path], object]] = {
    "config.yaml": read_config,
    "curves.jsonl": read_samples,
    "summary.json": partial(read_summary, what={}),
    "maps.npz": read_maps,
}


@pytest.mark.parametrize("name", [*READERS, "samples.csv"])
def test_a_pipe_in_a_run_folder_is_not_waited_for(finished: Path, name: str) -> None:
    folder = shutil.move(finished / "undisturbed", finished / "run")
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(InputError, match=f"{name} is no file"):
        evaluate(configured(finished, *OPTIONS))
    if name in READERS:
        with pytest.raises(InputError):
            READERS[name](folder)


def test_maps_that_claim_to_fill_any_memory_are_damaged(finished: Path) -> None:
    """The header of an array says its shape; what follows is not there."""
    folder = finished / "undisturbed"
    with np.load(folder / "maps.npz") as kept:
        content = dict(kept)
    header = io.BytesIO()
    shape = {"descr": "<f8", "fortran_order": False, "shape": (10**13,)}
    np.lib.format.write_array_header_1_0(header, shape)  # type: ignore[arg-type]
    np.savez(folder / "maps.npz", **{name: array for name, array in content.items() if name != "map"})
    with zipfile.ZipFile(folder / "maps.npz", "a") as archive:
        archive.writestr("map.npy", header.getvalue())
    with pytest.raises(InputError, match=r"maps\.npz is damaged"):
        read_maps(folder)
