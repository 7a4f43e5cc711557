"""What a table row rests on: the evaluation of one method, on one checkpoint or on several."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from relsplit.bench.runs.folder import read_config
from relsplit.bench.runs.records import SampleCurves
from relsplit.bench.runs.statistics import Values, standard_deviation, standard_error
from relsplit.bench.runs.store import read_curves, read_samples
from relsplit.bench.runs.summary import ERROR_BOUND, EVALUATION, FLAT, read_summary, score_column
from relsplit.errors import InputError


@dataclass(frozen=True)
class Measured:
    """One row of a table and the run folders that it was measured in.

    Attributes:
        label: the row's name in the table.
        folders: finished evaluation folders, one per checkpoint; all hold the same samples and protocols.
        paper_row: the row's name in the paper's table, None when the paper has no such row.
        control: whether the row is a control (random, center, edges, one_pixel) and not a method.
        command: how the row is evaluated on its own, without the table.
        traits: further properties of the row, used by the product that it belongs to.
    """

    label: str
    folders: tuple[Path, ...]
    paper_row: str | None = None
    control: bool = False
    command: str = ""
    traits: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def explainer(self) -> str:
        """Name of the explainer, as its configuration has it."""
        return str(read_config(self.folders[0])["explainer"]["name"])

    @cached_property
    def summaries(self) -> list[dict[str, Any]]:
        """``summary.json`` of each folder."""
        return [read_summary(folder, EVALUATION) for folder in self.folders]

    @cached_property
    def samples(self) -> list[pd.DataFrame]:
        """``samples.csv`` of each folder, indexed by sample id.

        Raises:
            InputError: the folders do not hold the same samples.
        """
        frames = [read_samples(folder).set_index("sample_id") for folder in self.folders]
        for frame, folder in zip(frames[1:], self.folders[1:], strict=True):
            if not frame.index.sort_values().equals(frames[0].index.sort_values()):
                raise InputError(f"{folder} and {self.folders[0]} hold different samples: evaluate the same ones")
        return [frame.loc[frames[0].index] for frame in frames]

    @cached_property
    def curves(self) -> list[list[SampleCurves]]:
        """Curves of each folder, under all protocols."""
        return [read_curves(folder) for folder in self.folders]

    @property
    def protocols(self) -> list[str]:
        """Names of the protocols that were scored, the primary first."""
        return list(self.summaries[0]["protocols"])

    @property
    def flat_maps(self) -> int:
        """How many of the maps are constant, so that their scores mean nothing."""
        return sum(int(frame[FLAT].sum()) for frame in self.samples)

    def scores(self, score: str, protocol: str) -> pd.Series:
        """One value per sample, indexed by sample id; with several checkpoints their mean."""
        return self.values(self._column(score, protocol))

    def check_column(self, column: str) -> None:
        """Check that the row was evaluated with the metric that gives a column.

        Raises:
            InputError: it was not.
        """
        for folder, frame in zip(self.folders, self.samples, strict=True):
            if column not in frame:
                raise InputError(
                    f"{folder} has no column {column}: evaluate {self.label!r} with the metric that gives it"
                )

    def values(self, column: str) -> pd.Series:
        """One value per sample of a column of ``samples.csv``, as :meth:`scores`.

        Raises:
            InputError: the row was evaluated without the metric that gives the column.
        """
        self.check_column(column)
        return sum((frame[column] for frame in self.samples[1:]), self.samples[0][column]) / len(self.samples)

    def mean(self, score: str, protocol: str) -> float:
        """Mean over the samples (and checkpoints)."""
        return float(self.scores(score, protocol).mean())

    def error(self, score: str, protocol: str) -> float:
        """Return the number after ±.

        Over several checkpoints the standard deviation of their means, as in the paper; for one checkpoint the standard
        error over its samples.
        """
        column = self._column(score, protocol)
        if len(self.samples) > 1:
            return standard_deviation(np.array([frame[column].mean() for frame in self.samples]))
        return standard_error(self.samples[0][column].to_numpy(dtype=float))

    def error_bound(self, score: str, protocol: str) -> float | None:
        """Return by what the mean may differ from that over whole curves, the largest of the checkpoints'.

        None where all curves are whole; see :func:`relsplit.bench.evaluate.refined_curves.refined_summary`.
        """
        column = self._column(f"{score}_{ERROR_BOUND}", protocol)
        return max((summary[column] for summary in self.summaries if column in summary), default=None)

    def _column(self, score: str, protocol: str) -> str:
        if protocol not in self.protocols:
            raise InputError(f"{self.folders[0]} was not scored under protocol {protocol!r}: it has {self.protocols}")
        return score_column(score, protocol, self.protocols)


def paired(a: Measured, b: Measured, score: str, protocol: str, b_protocol: str | None = None) -> tuple[Values, Values]:
    """The scores of two rows on the same samples in the same order.

    Args:
        a: first row.
        b: second row.
        score: "insertion", "deletion" or "id_score".
        protocol: that the scores are read under.
        b_protocol: that the second row's scores are read under, None for the same.

    Raises:
        InputError: the rows were measured on different samples.
    """
    return _in_one_order(a, b, a.scores(score, protocol), b.scores(score, b_protocol or protocol))


def paired_values(a: Measured, b: Measured, column: str) -> tuple[Values, Values]:
    """The values of two rows in a column of ``samples.csv``, as :func:`paired`, where both have one.

    Raises:
        InputError: see :func:`paired`, or a row without the column.
    """
    first, second = _in_one_order(a, b, a.values(column), b.values(column))
    both = ~(np.isnan(first) | np.isnan(second))
    return first[both], second[both]


def _in_one_order(a: Measured, b: Measured, first: pd.Series, second: pd.Series) -> tuple[Values, Values]:
    if not first.index.sort_values().equals(second.index.sort_values()):
        raise InputError(
            f"{a.label!r} ({a.folders[0]}) and {b.label!r} ({b.folders[0]}) were measured on different samples: "
            "evaluate both on the same ones"
        )
    return first.to_numpy(dtype=float), second.loc[first.index].to_numpy(dtype=float)


def common_protocols(rows: Sequence[Measured]) -> list[str]:
    """Protocols under which every row was scored, in the first row's order."""
    return [name for name in rows[0].protocols if all(name in row.protocols for row in rows)]
