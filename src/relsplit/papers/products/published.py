"""A paper's own numbers, read from the paper's folder of data.

``published.csv`` holds the paper's tables as fractions; its ``source`` column says where a row stands and the unit
printed there. ``error_analysis.csv`` holds its counts of failures, where it has any.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from relsplit.bench.runs.records import SCORES
from relsplit.errors import InputError
from relsplit.papers.products.failures_file import NAMES


@dataclass(frozen=True)
class PublishedScores:
    """One row of a published table, for one dataset.

    Attributes:
        row: the row's name in the paper ("iv"), or its number.
        mean: ``{"insertion", "deletion", "id_score"}`` to the published value, a fraction.
        std: the same keys to the standard deviation over seeds, where the paper gives one.
        source: where the numbers stand.
    """

    row: str
    mean: dict[str, float]
    std: dict[str, float]
    source: str


@dataclass(frozen=True)
class PublishedFailures:
    """A published error analysis.

    Attributes:
        threshold: ID score up to which an explanation counts as failed.
        failures: number of samples that failed.
        share_of_samples: the same as a fraction.
        counts: category to number among the worst samples.
        source: where the numbers stand.
    """

    threshold: float | None
    failures: int | None
    share_of_samples: float | None
    counts: dict[str, int]
    source: str


@dataclass(frozen=True)
class PublishedTable:
    """One published table beside measurements on some dataset.

    Attributes:
        rows: by their names in the paper.
        dataset: that the paper measured.
        protocol: that the paper measured under.
    """

    rows: dict[str, PublishedScores]
    dataset: str
    protocol: str


@dataclass(frozen=True)
class Paper:
    """A paper: a folder of data, ``conf/experiment/<name>/``.

    Attributes:
        name: of the folder.
        title: of the report on it.
        protocol: that the paper's numbers were measured under.
        folder: that holds ``published.csv`` and ``error_analysis.csv``, if the paper has such numbers.
        datasets: that the paper has numbers for.
        beside: the dataset whose published values are shown, for orientation, beside one that the paper does not have;
            None for none.
        checkpoint_seeds: training seeds of the checkpoints that a row is the mean of, by dataset.
    """

    name: str
    title: str
    protocol: str
    folder: Path
    datasets: Sequence[str] = ()
    beside: str | None = None
    checkpoint_seeds: Mapping[str, Sequence[int]] = field(default_factory=dict)

    def scores(self, table: str, dataset: str) -> dict[str, PublishedScores]:
        """Return the rows of one published table by row name; empty where the paper has none for that dataset.

        Args:
            table: the paper's name of the table, as in the column ``table``.
            dataset: as in the column ``dataset``.
        """
        frame = self._read("published.csv")
        if frame is None:
            return {}
        frame = frame[(frame["table"] == table) & (frame["dataset"] == dataset)]
        return {
            str(row["row"]): PublishedScores(
                row=str(row["row"]),
                mean={score: float(row[score]) for score in SCORES},
                std={score: float(row[f"{score}_std"]) for score in SCORES if row[f"{score}_std"]},
                source=str(row["source"]),
            )
            for row in frame.to_dict("records")
        }

    def failures(self) -> list[PublishedFailures]:
        """Return the published error analyses, in the file's order."""
        frame = self._read("error_analysis.csv")
        return [
            PublishedFailures(
                threshold=float(row["threshold"]) if row["threshold"] else None,
                failures=int(row["failures"]) if row["failures"] else None,
                share_of_samples=float(row["share_of_samples"]) if row["share_of_samples"] else None,
                counts={category: int(row[category]) for category in NAMES},
                source=str(row["source"]),
            )
            for row in ([] if frame is None else frame.to_dict("records"))
        ]

    def table(self, name: str, dataset: str) -> PublishedTable | None:
        """Return the published table that stands beside measurements on ``dataset``, None where there is none.

        Args:
            name: the paper's name of the table, as in the column ``table``.
            dataset: that is measured.
        """
        for shown in (dataset if dataset in self.datasets else None, self.beside):
            rows = {} if shown is None else self.scores(name, shown)
            if shown is not None and rows:
                return PublishedTable(rows, shown, self.protocol)
        return None

    def _read(self, name: str) -> pd.DataFrame | None:
        if not (self.folder / name).is_file():
            return None
        try:
            frame: pd.DataFrame = pd.read_csv(self.folder / name, dtype=str, keep_default_na=False)
        except (OSError, ValueError) as error:
            raise InputError(f"{self.folder / name} cannot be read: {error}") from error
        return frame
