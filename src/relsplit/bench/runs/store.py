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
from types import MappingProxyType
from typing import Any

import pandas as pd

from relsplit.bench.configuration.folders import SUMMARY
from relsplit.bench.configuration.identity import Identity
from relsplit.bench.machine.logs import append_lines, checksum, read_lines, read_text
from relsplit.bench.runs.folder import CONFIG, claim_folder
from relsplit.bench.runs.records import SampleCurves, SampleRecord, SkippedSample
from relsplit.bench.runs.summary import SAMPLES_CHECK, read_summary
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

    row: Mapping[str, Any]
    curves: Sequence[SampleCurves]
    made_with: Mapping[str, str]
    image: Mapping[str, Any]
    run: str

    @property
    def sample_id(self) -> str:
        """Identifier within the dataset."""
        return str(self.row["sample_id"])


@dataclass(frozen=True)
class MeasuredSamples:
    """What a run folder holds of its samples, as it was read once.

    Attributes:
        entries: what was measured, by sample id; what is damaged or another run's is left out.
        skipped: samples whose image cannot be read, by sample id.
        damaged: how many whole lines cannot be read, or are another run's.
        log: text of the file that says what is measured.
        is_in_order: whether one process wrote all of it, none was skipped, and ``samples.csv`` is the table of it.
    """

    entries: Mapping[str, Entry]
    skipped: Mapping[str, SkippedSample]
    damaged: int
    log: str
    is_in_order: bool

    @property
    def check(self) -> str:
        """Checksum over the log, for the run's summary: a line that is gone leaves no other trace."""
        return checksum(self.log)

    def are(self, order: Sequence[str]) -> bool:
        """Say whether these are just the samples of a run, undamaged: :meth:`SampleStore.merge` would change no file.

        Args:
            order: sample ids in the order of the rows.
        """
        return self.is_in_order and not self.damaged and list(self.entries) == list(order)

    def table(self) -> pd.DataFrame:
        """Return all rows, one per sample; there must be one."""
        return _table(list(self.entries.values()))

    def curves(self) -> list[SampleCurves]:
        """Return all curves."""
        return [curve for entry in self.entries.values() for curve in entry.curves]


class SampleStore:
    """Rows, curves and skipped samples of one run folder.

    Args:
        folder: the run folder.
        identity: of the run; the folder is claimed for it when the first samples are appended.
    """

    def __init__(self, folder: Path, identity: Identity) -> None:
        self.folder = folder
        self.identity = identity
        self._claimed = (folder / CONFIG).exists()

    def read(self) -> MeasuredSamples:
        """Return what the folder holds now; every file is read once."""
        shards = self._shards(CURVES)
        texts = [read_text(path) for path in (self.folder / CURVES, *shards)]
        entries, damaged = _read_entries(texts, self.identity.hash)
        skipped = {sample.sample_id: sample for sample in self._skipped()}
        in_order = not shards and not (self.folder / SKIPPED).exists() and self._is_table_of(list(entries.values()))
        return MeasuredSamples(MappingProxyType(entries), MappingProxyType(skipped), damaged, texts[0], in_order)

    def merge(self, samples: MeasuredSamples, order: Sequence[str]) -> MeasuredSamples:
        """Bring the files of all processes together, each sample once; return what the folder holds then.

        Args:
            samples: that were read from the folder; what is not among them is left out.
            order: sample ids in the order that the rows shall have; others are left out.
        """
        entries = {name: samples.entries[name] for name in order if name in samples.entries}
        skipped = {name: sample for name, sample in samples.skipped.items() if name not in entries}
        log = "".join(f"{_line(entry)}\n" for entry in entries.values())
        if log != samples.log:
            self._write(CURVES, log)
        self._write(SKIPPED, "".join(f"{json.dumps(asdict(sample))}\n" for sample in skipped.values()))
        path = self.folder / SAMPLES
        if not entries:
            path.unlink(missing_ok=True)
        elif not self._is_table_of(list(entries.values())):
            write_text(path, _csv_text(list(entries.values())))
        for name in (CURVES, SKIPPED):
            for shard in self._shards(name):
                shard.unlink()
        return MeasuredSamples(MappingProxyType(entries), MappingProxyType(skipped), 0, log, not skipped)

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
            claim_folder(self.folder, self.identity)
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
                self.identity.hash,
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

    def _skipped(self) -> list[SkippedSample]:
        found = []
        for path in (self.folder / SKIPPED, *self._shards(SKIPPED)):
            for line in read_lines(path):
                try:
                    content = json.loads(line)
                    found.append(SkippedSample(*(str(content[key]) for key in ("sample_id", "path", "reason"))))
                except (ValueError, KeyError, TypeError):
                    continue  # damaged: the sample is read, and skipped, again
        return found

    def _file(self, name: str, rank: int) -> Path:
        stem, _, suffix = name.partition(".")
        return self.folder / (name if rank == 0 else f"{stem}.rank{rank}.{suffix}")

    def _write(self, name: str, text: str) -> None:
        """Let a file hold this; without text there is none."""
        if text:
            write_text(self.folder / name, text)
        else:
            (self.folder / name).unlink(missing_ok=True)

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
        self.rows: dict[str, Mapping[str, Any]] = {}
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
    return checksum(read_text(folder / CURVES))


def _whole(folder: Path) -> list[Entry]:
    text = read_text(folder / CURVES)
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
