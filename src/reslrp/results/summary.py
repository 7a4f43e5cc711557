"""From the rows of a run to the few numbers that a table shows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from reslrp.errors import InputError
from reslrp.results.append_log import write_atomically

SUMMARY = "summary.json"
SCORES = ("insertion", "deletion", "id_score")
_NOT_AVERAGED = ("sample_id", "path", "label", "predicted", "seconds")


def summarise(samples: pd.DataFrame, description: Mapping[str, Any]) -> dict[str, Any]:
    """Means and standard errors over samples, after what the run was.

    Args:
        samples: the rows of ``samples.csv``, one per sample.
        description: names, versions and the like; they come first.

    Returns:
        ``description``, then ``num_samples``, ``accuracy`` in [0, 1], and for every measured column its mean and, with
        the suffix ``_stderr``, the standard error of the mean (sample standard deviation / sqrt(n); NaN rows left out,
        null where fewer than two rows are left or it exceeds float64).
    """
    summary: dict[str, Any] = {**description, "num_samples": len(samples)}
    summary["accuracy"] = float((samples["label"] == samples["predicted"]).mean())
    measured = [*SCORES, *(name for name in samples.columns if name not in (*SCORES, *_NOT_AVERAGED))]
    for name in measured:
        values = samples[name].dropna().to_numpy(dtype=float)
        with np.errstate(over="ignore"):  # sums of the published LRP-epsilon reach 1e180
            error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
        summary[name] = float(values.mean()) if len(values) else None
        summary[f"{name}_stderr"] = error if error is not None and np.isfinite(error) else None
    summary["seconds_per_sample"] = float(samples["seconds"].median())
    return summary


def score_column(score: str, protocol: str, protocols: Sequence[str]) -> str:
    """Column that holds ``score`` ("insertion", "deletion", "id_score") under ``protocol``: the primary protocol's
    columns bear no suffix."""
    return score if protocol == protocols[0] else f"{score}_{protocol}"


def further_metrics(summary: Mapping[str, Any]) -> list[str]:
    """Names of the measured columns that are no score of a protocol: ``gini``, ``energy_in_box``, ..."""
    scores = {score_column(score, name, summary["protocols"]) for name in summary["protocols"] for score in SCORES}
    measured = (name.removesuffix("_stderr") for name in summary if name.endswith("_stderr"))
    return [name for name in measured if name not in (*scores, "probability", "relevance_sum")]


def write_summary(folder: Path, summary: Mapping[str, Any]) -> None:
    """Write ``summary.json`` atomically."""
    write_atomically(folder / SUMMARY, json.dumps(summary, indent=2, allow_nan=False) + "\n")


def read_summary(folder: Path) -> dict[str, Any]:
    """Read ``summary.json``.

    Raises:
        InputError: the folder has none, because the run is not finished or is no evaluation.
    """
    path = folder / SUMMARY
    if not path.exists():
        raise InputError(f"{folder} has no {SUMMARY}: finish its evaluation first")
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content
