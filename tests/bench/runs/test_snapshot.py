"""A run's samples are a value: read once, and never changed."""

import dataclasses
import io
import os
from collections import Counter
from pathlib import Path

import pytest

from relsplit.bench.configuration.settings import Settings
from relsplit.bench.evaluate.task import run
from relsplit.bench.runs.store import CURVES, SampleStore
from small_runs import configured

SMALL = ("explainer=edges", "metric=[]", "num_samples=3", "task.pictures=1")


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often a file of some name was opened to be read."""
    counted: Counter[str] = Counter()
    usual = io.open

    def counting(file: object, mode: str = "r", *args: object, **kwargs: object) -> object:
        if isinstance(file, str | os.PathLike) and "r" in mode:
            counted[Path(file).name] += 1
        return usual(file, mode, *args, **kwargs)  # type: ignore[call-overload]

    monkeypatch.setattr(io, "open", counting)  # pathlib's, too
    return counted


def test_an_evaluation_reads_its_log_to_make_the_summary_and_once_more_to_see_that_it_stayed(
    photographs: Path, reads: Counter[str]
) -> None:
    run(configured(photographs, *SMALL))
    assert reads[CURVES] == 2
    reads.clear()
    run(configured(photographs, *SMALL))  # finished
    assert reads[CURVES] == 1


def test_going_on_reads_what_is_there_once(photographs: Path, reads: Counter[str]) -> None:
    run(configured(photographs, *SMALL))
    log = photographs / "run" / CURVES
    log.write_text("".join(log.read_text().splitlines(keepends=True)[:2]))
    reads.clear()
    run(configured(photographs, *SMALL))
    assert reads[CURVES] == 4  # whether it is finished; what is left; and the two of any evaluation


def test_what_was_read_does_not_change(photographs: Path) -> None:
    settings: Settings = configured(photographs, *SMALL)
    run(settings)
    store = SampleStore(photographs / "run", settings.identity())
    measured = store.read()
    name = next(iter(measured.entries))
    with pytest.raises(TypeError):
        del measured.entries[name]  # type: ignore[attr-defined]
    with pytest.raises(dataclasses.FrozenInstanceError):
        measured.damaged = 1  # type: ignore[misc]
    (photographs / "run" / CURVES).write_text("")
    assert len(measured.entries) == len(measured.table()) == 3
    assert not store.read().entries
