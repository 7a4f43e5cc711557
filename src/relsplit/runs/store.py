"""The folder of one evaluation: samples are appended as they are done, and a later start goes on from there.

``samples.csv`` is the one place that says which samples are done. A sample's curves are written before its row, so a
row always has its curves; curves without a row (the run was killed in between) are dropped at the next start. Every
process of a distributed run appends to files of its own, which are merged when the run starts and when it ends.
"""

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from relsplit.errors import InputError
from relsplit.files import append_lines, read_lines, replace_lines
from relsplit.runs.records import SampleCurves, SampleRecord, SkippedSample

SAMPLES, CURVES, SKIPPED = "samples.csv", "curves.jsonl", "skipped.jsonl"


class SampleStore:
    """Rows, curves and skipped samples of one run folder.

    Args:
        folder: an existing run folder (see :func:`relsplit.runs.identity.claim_folder`).
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def merge(self, order: Sequence[str] | None = None) -> None:
        """Bring the files of all processes together, each sample once.

        Args:
            order: sample ids in the order that the rows shall have; None keeps the order of arrival.
        """
        header, rows = self._read_rows()
        ids = [name for name in order if name in rows] if order is not None else list(rows)
        curves = self._read_json(CURVES)
        by_sample: dict[str, dict[str, str]] = {}
        for line in curves:
            entry = json.loads(line)
            by_sample.setdefault(entry["sample_id"], {})[entry["protocol"]] = line
        skipped = {json.loads(line)["sample_id"]: line for line in self._read_json(SKIPPED)}
        self._replace(CURVES, [line for name in ids for line in by_sample.get(name, {}).values()])
        self._replace(SAMPLES, [header, *(rows[name] for name in ids)] if header else [])
        self._replace(SKIPPED, [line for name, line in skipped.items() if name not in rows])
        for name in (SAMPLES, CURVES, SKIPPED):
            for shard in self._shards(name):
                shard.unlink()

    def done(self) -> set[str]:
        """Ids of the samples that have a row."""
        return set(self._read_rows()[1])

    def skipped(self) -> list[SkippedSample]:
        """Samples that were skipped because their image cannot be read."""
        return [SkippedSample(**json.loads(line)) for line in self._read_json(SKIPPED)]

    def samples(self) -> pd.DataFrame:
        """All rows, one per sample."""
        return read_samples(self.folder)

    def curves(self) -> list[SampleCurves]:
        """All curves."""
        return read_curves(self.folder)

    def append(
        self,
        records: Sequence[SampleRecord],
        curves: Iterable[SampleCurves],
        skipped: Iterable[SkippedSample] = (),
        rank: int = 0,
    ) -> None:
        """Write finished samples to the disk before returning.

        Args:
            records: one per sample; all of a run have the same columns.
            curves: of the same samples.
            skipped: samples whose image cannot be read.
            rank: number of the writing process.
        """
        skipped_lines = [json.dumps(asdict(sample)) for sample in skipped]
        if skipped_lines:
            append_lines(self._file(SKIPPED, rank), skipped_lines)
        if not records:
            return
        append_lines(self._file(CURVES, rank), [json.dumps(asdict(curve)) for curve in curves])
        rows = [record.row() for record in records]
        path = self._file(SAMPLES, rank)
        header = _csv_line(list(rows[0]))
        found = _first_line(path)
        if found not in ("", header):
            raise InputError(f"{path} has other columns than this run writes ({found}): choose another output_dir")
        append_lines(path, ([] if found else [header]) + [_csv_line(list(row.values())) for row in rows])

    def _file(self, name: str, rank: int) -> Path:
        stem, _, suffix = name.partition(".")
        return self.folder / (name if rank == 0 else f"{stem}.rank{rank}.{suffix}")

    def _replace(self, name: str, lines: list[str]) -> None:
        if lines:
            replace_lines(self.folder / name, lines)
        else:
            (self.folder / name).unlink(missing_ok=True)

    def _shards(self, name: str) -> list[Path]:
        stem, _, suffix = name.partition(".")
        return sorted(self.folder.glob(f"{stem}.rank*.{suffix}"))

    def _read_rows(self) -> tuple[str | None, dict[str, str]]:
        header: str | None = None
        rows: dict[str, str] = {}
        for path in (self.folder / SAMPLES, *self._shards(SAMPLES)):
            lines = read_lines(path)
            header = lines[0] if lines else header
            rows.update({next(csv.reader([line]))[0]: line for line in lines[1:]})
        return header, rows

    def _read_json(self, name: str) -> list[str]:
        return [line for path in (self.folder / name, *self._shards(name)) for line in read_lines(path)]


def read_samples(folder: Path) -> pd.DataFrame:
    """``samples.csv`` of a run folder, every number exactly as it was written; sample ids stay text."""
    text = pd.read_csv(folder / SAMPLES, dtype=str, keep_default_na=False)
    kinds: dict[str, type] = {"sample_id": str, "path": str, "label": int, "predicted": int}
    columns = {name: [kinds.get(name, float)(value) for value in text[name]] for name in text.columns}
    frame: pd.DataFrame = pd.DataFrame(columns)
    return frame


def read_curves(folder: Path) -> list[SampleCurves]:
    """``curves.jsonl`` of a run folder."""
    return [SampleCurves(**json.loads(line)) for line in read_lines(folder / CURVES)]


def _first_line(path: Path) -> str:
    """The header of a file that may be long; "" where there is none."""
    if not path.exists():
        return ""
    with path.open(encoding="utf-8") as file:
        return file.readline().rstrip("\n")


def _csv_line(values: Sequence[object]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="").writerow(values)
    return buffer.getvalue()
