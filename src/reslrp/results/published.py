"""The paper's numbers, read from the data files beside this module.

``published.csv`` holds Tables 1-3 of the paper (arXiv 2407.09115) and Tables B and C of its supplement as fractions in
[0, 1]; its ``source`` column says where a row stands and the unit printed there. ``error_analysis.csv`` holds Table D.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources

import pandas as pd

from reslrp.results.summary import SCORES


@dataclass(frozen=True)
class PublishedScores:
    """One row of a published table, for one dataset.

    Attributes:
        row: the row's name in the paper ("iv"), or its number.
        mean: ``{"insertion", "deletion", "id_score"}`` to the published value, a fraction.
        std: the same keys to the standard deviation over five seeds, where the paper gives one.
        source: where the numbers stand.
    """

    row: str
    mean: dict[str, float]
    std: dict[str, float]
    source: str


@dataclass(frozen=True)
class PublishedFailures:
    """The paper's error analysis (Table D).

    Attributes:
        threshold: ID score up to which an explanation counts as failed.
        failures: number of samples that failed.
        share_of_samples: the same as a fraction.
        counts: category to number among the 100 worst samples.
        source: where the numbers stand.
    """

    threshold: float | None
    failures: int | None
    share_of_samples: float | None
    counts: dict[str, int]
    source: str


def published_scores(table: str, dataset: str) -> dict[str, PublishedScores]:
    """Rows of one published table by row name; empty when the paper has none for that dataset.

    Args:
        table: "1", "2", "3", "B" or "C".
        dataset: "cub" or "imagenet".
    """
    frame = _read("published.csv")
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


def published_failures() -> list[PublishedFailures]:
    """The published error analyses, the paper's first."""
    categories = ("insufficiently_attended", "over_attended", "wrongly_attended")
    return [
        PublishedFailures(
            threshold=float(row["threshold"]) if row["threshold"] else None,
            failures=int(row["failures"]) if row["failures"] else None,
            share_of_samples=float(row["share_of_samples"]) if row["share_of_samples"] else None,
            counts={category: int(row[category]) for category in categories},
            source=str(row["source"]),
        )
        for row in _read("error_analysis.csv").to_dict("records")
    ]


def _read(name: str) -> pd.DataFrame:
    with resources.files("reslrp.results").joinpath(name).open(encoding="utf-8") as file:
        return pd.read_csv(file, dtype=str, keep_default_na=False)
