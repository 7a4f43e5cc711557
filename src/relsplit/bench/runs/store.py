"""The samples of one evaluation: appended as they are done, and a later start goes on from there.

``curves.jsonl`` is the one place that says which samples are done. A line of it is all that was measured of a sample:
its row, its curves, what it was measured with, the image, the run that it belongs to, and a checksum over these; a line
that is torn, damaged or another run's counts for nothing, and its sample is measured again. Every process of a
distributed run appends to a file of its own, and these are merged when the run starts and when it ends. ``samples.csv``
holds the rows for people and other programs; it grows beside it and is written anew from it whenever the two differ.
"""

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from relsplit.bench.machine.logs import append_lines, checksum, read_lines
from relsplit.bench.runs.folder import CONFIG, claim_folder
from relsplit.bench.runs.identity import config_hash
from relsplit.bench.runs.records import SampleCurves, SampleRecord, SkippedSample
from relsplit.bench.runs.summary import SAMPLES_CHECK, SUMMARY, read_summary
from relsplit.errors import IncompleteRun, InputError
from relsplit.files import write_text

SAMPLES, CURVES, SKIPPED = "samples.csv", "curves.jsonl", "skipped.jsonl"
REMEDY = "start its evaluation again, which measures what is missing"


@dataclass(frozen=True)
class Entry:
    """All that was measured of one sample.

    Attributes:
        row: of ``samples.csv``, by column; NaN where a metric has no value.
        curves: under every protocol.
        made_with: digests of the code and of the libraries, see :func:`relsplit.bench.runs.provenance.made_with`.
        image: of the image file, see :func:`relsplit.bench.data.image_reading.read_file`.
        run: hash of the configuration of the run that measured it.
    """

    row: dict[str, Any]
    curves: list[SampleCurves]
    made_with: dict[str, str]
    image: dict[str, Any]
    run: str

    @property
    def sample_id(self) -> str:
        """Identifier within the dataset."""
        return str(self.row["sample_id"])


class SampleStore:
    """Rows, curves and skipped samples of one run folder.

    Args:
        folder: the run folder.
        config: of the run; the folder is claimed for it when the first samples are appended.
    """

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        self.folder = folder
        self.config = config
        self.run = config_hash(config)
        self._claimed = (folder / CONFIG).exists()

    def entries(self) -> dict[str, Entry]:
        """Return what was measured, by sample id; what is damaged or another run's is left out."""
        return self._read()[0]

    def damaged(self) -> int:
        """Return how many whole lines cannot be read, or are another run's."""
        return self._read()[1]

    def whole_entries(self, order: Sequence[str]) -> dict[str, Entry] | None:
        """Return what was measured where these are the samples, undamaged, and :meth:`merge` would change no file.

        Args:
            order: sample ids in the order of the rows.
        """
        entries, damaged = self._read()
        if damaged or list(entries) != list(order) or self._shards(CURVES) or (self.folder / SKIPPED).exists():
            return None
        return entries if self._is_table_of(list(entries.values())) else None

    def forget_skipped(self) -> None:
        """Remove what earlier starts have skipped: this one tries it again."""
        for path in (self.folder / SKIPPED, *self._shards(SKIPPED)):
            path.unlink(missing_ok=True)

    def merge(self, order: Sequence[str], leave_out: Iterable[str] = ()) -> None:
        """Bring the files of all processes together, each sample once.

        Args:
            order: sample ids in the order that the rows shall have; others are left out.
            leave_out: sample ids that are to be measured again.
        """
        entries, left_out = self.entries(), set(leave_out)
        kept = [entries[name] for name in order if name in entries and name not in left_out]
        done = {entry.sample_id for entry in kept}
        skipped = {line["sample_id"]: line for line in self._skipped_lines()}
        self._replace(CURVES, [_line(entry) for entry in kept])
        self._replace(SKIPPED, [json.dumps(line) for name, line in skipped.items() if name not in done])
        path = self.folder / SAMPLES
        if not kept:
            path.unlink(missing_ok=True)
        elif not self._is_table_of(kept):
            write_text(path, _csv_text(kept))
        for name in (CURVES, SKIPPED):
            for shard in self._shards(name):
                shard.unlink()

    def skipped(self) -> list[SkippedSample]:
        """Return the samples that were skipped because their image cannot be read."""
        return [SkippedSample(**line) for line in self._skipped_lines()]

    def samples(self) -> pd.DataFrame:
        """Return all rows, one per sample.

        Raises:
            InputError: there is none.
        """
        entries = self.entries()
        if not entries:
            raise InputError(f"{self.folder} holds no sample: none of the images could be read")
        return _table(list(entries.values()))

    def curves(self) -> list[SampleCurves]:
        """Return all curves."""
        return [curve for entry in self.entries().values() for curve in entry.curves]

    def append(
        self,
        records: Sequence[SampleRecord],
        curves: Iterable[SampleCurves],
        made_with: Mapping[str, str],
        images: Mapping[str, Mapping[str, Any]],
        skipped: Iterable[SkippedSample] = (),
        rank: int = 0,
    ) -> None:
        """Write finished samples to the disk before returning.

        Args:
            records: one per sample; all of a run have the same columns.
            curves: of the same samples.
            made_with: see :class:`Entry`.
            images: fingerprint of every sample's image file, by sample id.
            skipped: samples whose image cannot be read.
            rank: number of the writing process.

        Raises:
            IncompleteRun: the folder was renamed or removed since the run began.
        """
        if not (self.folder / CONFIG).exists():
            if self._claimed:  # it is not claimed again: what was measured before would be missing
                raise IncompleteRun(
                    f"{self.folder} was renamed, or lost its {CONFIG}, while the run went on: put it back"
                )
            claim_folder(self.folder, self.config)
        self._claimed = True
        skipped_lines = [json.dumps(asdict(sample)) for sample in skipped]
        if skipped_lines:
            append_lines(self._file(SKIPPED, rank), skipped_lines)
        if not records:
            return
        of_sample: dict[str, list[SampleCurves]] = {}
        for curve in curves:
            of_sample.setdefault(curve.sample_id, []).append(curve)
        entries = [
            Entry(
                record.row(),
                of_sample[record.sample_id],
                dict(made_with),
                dict(images[record.sample_id]),
                self.run,
            )
            for record in records
        ]
        append_lines(self._file(CURVES, rank), [_line(entry) for entry in entries])
        if rank == 0:
            path = self.folder / SAMPLES
            lines = _csv_lines([entry.row for entry in entries], header=not path.exists())
            with path.open("a", encoding="utf-8", errors="surrogateescape", newline="") as file:
                file.writelines(lines)

    def _is_table_of(self, entries: Sequence[Entry]) -> bool:
        path = self.folder / SAMPLES
        return path.exists() and path.read_bytes() == _csv_text(entries).encode("utf-8", "surrogateescape")

    def _read(self) -> tuple[dict[str, Entry], int]:
        return _read_entries([_text(path) for path in (self.folder / CURVES, *self._shards(CURVES))], self.run)

    def _skipped_lines(self) -> list[dict[str, Any]]:
        found = []
        for path in (self.folder / SKIPPED, *self._shards(SKIPPED)):
            for line in read_lines(path):
                try:
                    content = json.loads(line)
                    found.append({key: str(content[key]) for key in ("sample_id", "path", "reason")})
                except (ValueError, KeyError, TypeError):
                    continue  # damaged: the sample is read, and skipped, again
        return found

    def _file(self, name: str, rank: int) -> Path:
        stem, _, suffix = name.partition(".")
        return self.folder / (name if rank == 0 else f"{stem}.rank{rank}.{suffix}")

    def _replace(self, name: str, lines: list[str]) -> None:
        path = self.folder / name
        text = "".join(f"{line}\n" for line in lines)
        if not lines:
            path.unlink(missing_ok=True)
        elif not path.exists() or path.read_bytes() != text.encode():
            write_text(path, text)

    def _shards(self, name: str) -> list[Path]:
        stem, _, suffix = name.partition(".")
        return sorted(self.folder.glob(f"{stem}.rank*.{suffix}"))


class Journal:
    """The rows of a run that goes on, read as they come, whichever process writes them.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: dict[str, dict[str, Any]] = {}
        self._read: dict[Path, int] = {}

    def is_longer(self) -> bool:
        """Read what was appended since the last time into ``rows``; say whether there was anything."""
        before = len(self.rows)
        stem, _, suffix = CURVES.partition(".")
        for path in self.folder.glob(f"{stem}*.{suffix}"):
            with path.open("rb") as file:
                file.seek(self._read.get(path, 0))
                text, newline, _ = file.read().rpartition(b"\n")
            self._read[path] = self._read.get(path, 0) + len(text) + len(newline)
            for line in text.decode("utf-8", errors="backslashreplace").split("\n"):
                if entry := _entry(line):
                    self.rows[entry.sample_id] = entry.row
        return len(self.rows) > before


def read_samples(folder: Path) -> pd.DataFrame:
    """Return the rows of a run folder, every number exactly as it was measured.

    Raises:
        InputError: the folder has no samples, some of them are damaged, or they are not those that its summary was made
            of.
    """
    return _table(_whole(folder))


def read_curves(folder: Path) -> list[SampleCurves]:
    """Return the curves of a run folder.

    Raises:
        InputError: as :func:`read_samples`.
    """
    return [curve for entry in _whole(folder) for curve in entry.curves]


def samples_check(folder: Path) -> str:
    """Return a checksum over all samples of a run folder, for its summary: a line that is gone leaves no trace."""
    return checksum(_text(folder / CURVES))


def _whole(folder: Path) -> list[Entry]:
    text = _text(folder / CURVES)
    entries, damaged = _read_entries([text])
    if damaged or not entries:
        what = f"{damaged} damaged lines in {CURVES}" if damaged else f"no {CURVES}"
        raise InputError(f"{folder} has {what}: {REMEDY}")
    runs = {entry.run for entry in entries.values()}
    if len(runs) > 1:
        raise InputError(f"{folder}/{CURVES} holds samples of {len(runs)} runs: {REMEDY}")
    if (folder / SUMMARY).exists():
        summary = read_summary(folder, {})
        if summary.get(SAMPLES_CHECK) != checksum(text) or summary.get("config_hash") not in runs:
            raise InputError(f"{folder}/{CURVES} is not what its {SUMMARY} was made of: {REMEDY}")
    return list(entries.values())


def _table(entries: Sequence[Entry]) -> pd.DataFrame:
    rows = [entry.row for entry in entries]
    table: pd.DataFrame = pd.DataFrame({name: [row[name] for row in rows] for name in rows[0]})
    return table


def _read_entries(texts: Iterable[str], run: str | None = None) -> tuple[dict[str, Entry], int]:
    """What was measured, of a run or (None) of any, and how many whole lines say nothing of it."""
    entries: dict[str, Entry] = {}
    damaged = 0
    for text in texts:
        for line in text.split("\n")[:-1]:  # a line that does not end was not written to its end
            entry = _entry(line)
            if entry is None or run not in (None, entry.run):
                damaged += 1
            else:
                entries[entry.sample_id] = entry
    return entries, damaged


def _text(path: Path) -> str:
    """What a file holds, if it is there; bytes that are no text stay visible, so that their line counts as damaged."""
    return path.read_text(encoding="utf-8", errors="backslashreplace") if path.exists() else ""


def _line(entry: Entry) -> str:
    row = {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in entry.row.items()}
    curves = [
        {"protocol": c.protocol, "fraction": c.fraction, "insertion": c.insertion, "deletion": c.deletion}
        | ({} if c.checks is None else {"checks": c.checks})
        for c in entry.curves
    ]
    content = {"row": row, "curves": curves, "made_with": entry.made_with, "image": entry.image, "run": entry.run}
    text = json.dumps(content)
    return f'{text[:-1]}, "check": "{checksum(text)}"}}'


def _entry(line: str) -> Entry | None:
    """What a line holds; None where it is damaged."""
    text, separator, check = line.rpartition(', "check": "')
    if not separator or check != f'{checksum(text + "}")}"}}':
        return None
    content = json.loads(text + "}")
    row = {key: math.nan if value is None else value for key, value in content["row"].items()}
    curves = [SampleCurves(str(row["sample_id"]), **curve) for curve in content["curves"]]
    return Entry(row, curves, content["made_with"], content["image"], content.get("run", ""))


def _csv_text(entries: Sequence[Entry]) -> str:
    return "".join(_csv_lines([entry.row for entry in entries], header=True))


def _csv_lines(rows: Sequence[Mapping[str, Any]], header: bool) -> list[str]:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    if header and rows:
        writer.writerow(rows[0])
    for row in rows:
        writer.writerow(row.values())
    return [buffer.getvalue()]
