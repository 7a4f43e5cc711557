"""From the rows of a run to the few numbers that a table shows."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from relsplit.bench.configuration.folders import SUMMARY
from relsplit.bench.machine.logs import checksum
from relsplit.bench.runs.records import SCORES
from relsplit.bench.runs.statistics import standard_error
from relsplit.errors import InputError
from relsplit.files import write_text

CHECK, SAMPLES_CHECK = "check", "samples_check"
FLAT = "flat_map"
ERROR_BOUND, EVALUATED_POINTS = "error_bound", "evaluated_points"
"""What a summary says of refined curves, see :func:`relsplit.bench.evaluate.refined_curves.refined_summary`."""
REMEDY = "delete it and start its run again, which goes on where it ended"
EVALUATION = {
    "explainer": str,
    "split": str | None,
    "dataset": str,
    "model": str,
    "protocol": str,
    "protocols": list,
    "seed": int,
    "num_samples": int,
    "accuracy": float,
    "forward_equivalents": int | float | None,
    "seconds_per_sample": float,
    "flat_maps": int,
    "skipped": list,
    "config_hash": str,
    SAMPLES_CHECK: str,
    "versions": dict,
    "hardware": dict,
    **dict.fromkeys(SCORES, float),
}
TRAINING = {"accuracy": float, "class_names": list}
_NOT_AVERAGED = ("sample_id", "path", "label", "predicted", "seconds", FLAT)


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
        error = standard_error(values)
        summary[name] = float(values.mean()) if len(values) else None
        summary[f"{name}_stderr"] = None if math.isnan(error) else error
    summary["flat_maps"] = int(samples[FLAT].sum())
    summary["seconds_per_sample"] = float(samples["seconds"].median())
    return summary


def score_column(score: str, protocol: str, protocols: Sequence[str]) -> str:
    """Return the column that holds ``score`` under ``protocol``: the primary protocol's columns bear no suffix."""
    return score if protocol == protocols[0] else f"{score}_{protocol}"


def further_metrics(summary: Mapping[str, Any]) -> list[str]:
    """Names of the measured columns that are no score of a protocol: ``gini``, ``energy_in_box``, ..."""
    scores = {score_column(score, name, summary["protocols"]) for name in summary["protocols"] for score in SCORES}
    measured = (name.removesuffix("_stderr") for name in summary if name.endswith("_stderr"))
    return [name for name in measured if name not in (*scores, "probability", "relevance_sum")]


def write_summary(folder: Path, summary: Mapping[str, Any]) -> None:
    """Write ``summary.json`` atomically, with a checksum over it."""
    content = {**summary, CHECK: _check(summary)}
    write_text(folder / SUMMARY, json.dumps(content, indent=2, allow_nan=False) + "\n")


def read_summary(folder: Path, what: Mapping[str, Any]) -> dict[str, Any]:
    """Read ``summary.json``.

    Args:
        folder: of the run.
        what: keys that the kind of run leaves, and their types: ``EVALUATION`` or ``TRAINING``.

    Raises:
        InputError: the folder has none, because the run is not finished or is of another kind, or it is damaged.
    """
    path = folder / SUMMARY
    try:
        if path.exists() and not path.is_file():
            raise ValueError("it is no file")  # a pipe would be waited for
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        wrong = [key for key, kind in what.items() if not isinstance(content[key], kind)]
    except FileNotFoundError:
        raise InputError(f"{folder} has no {SUMMARY}: finish its run first") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is damaged ({' '.join(str(error).split())[:80]}): {REMEDY}") from error
    if wrong:
        raise InputError(f"{path} is damaged ({wrong[0]}={content[wrong[0]]!r}): {REMEDY}")
    check = content.pop(CHECK, None)
    if check is not None and check != _check(content):
        raise InputError(f"{path} is damaged (it has changed since it was written): {REMEDY}")
    return content


def _check(summary: Mapping[str, Any]) -> str:
    return checksum(json.dumps(summary))
