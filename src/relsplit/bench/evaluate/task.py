"""Task ``evaluate``: explain class-balanced samples, score the maps, leave a run folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from relsplit.bench.configuration.code import check_code
from relsplit.bench.configuration.settings import Settings
from relsplit.bench.configuration.typed import check_together, each_explainer
from relsplit.bench.data.configured import datasets_read_once
from relsplit.bench.evaluate.expected_accuracy import accuracy_line
from relsplit.bench.evaluate.resumption import finished_folder
from relsplit.bench.machine.processes import first_process
from relsplit.bench.machine.terminal import say
from relsplit.bench.runs.records import SCORES
from relsplit.bench.runs.summary import (
    ERROR_BOUND,
    EVALUATED_POINTS,
    EVALUATION,
    further_metrics,
    read_summary,
    score_column,
)
from relsplit.errors import IncompleteRun


def run(settings: Settings) -> None:
    """Evaluate, print the scores and say where the results are.

    Raises:
        InputError: the configuration or the data cannot be used; nothing was written.
        IncompleteRun: unreadable images were skipped (``dataset.on_bad_image=skip``).
    """
    several = each_explainer(settings)
    folders = measure_together(several)
    if not first_process():
        return
    lacking = []
    for folder, each in zip(folders, several, strict=True):
        if len(several) > 1:
            say(f"{folder.name}:")
        lacking.append(report_scores(folder, each))
    incomplete = [each for each in lacking if each]
    if incomplete:
        raise IncompleteRun("; ".join(incomplete))


def report_scores(folder: Path, settings: Settings) -> str:
    """Say what a finished evaluation measured; return what it lacks, in words ("" for nothing)."""
    summary = read_summary(folder, EVALUATION)
    for protocol in summary["protocols"]:
        say(scores_line(summary, [score_column(name, protocol, summary["protocols"]) for name in SCORES], protocol))
        if line := refinement_line(summary, protocol):
            say(line)
    if further := further_metrics(summary):
        say(scores_line(summary, further, "further metrics"))
    if summary["flat_maps"]:
        say(f"warning: {summary['flat_maps']} maps are constant: their scores mean nothing (flat_map in samples.csv)")
    say(accuracy_line(summary["accuracy"], summary["num_samples"], settings.model))
    say(f"{summary['num_samples']} samples: {folder}")
    skipped = summary["skipped"]
    if not skipped:
        return ""
    return (
        f"{len(skipped)} of {len(skipped) + summary['num_samples']} samples were skipped, because their images "
        f"cannot be read ({skipped[0]['path']}: {skipped[0]['reason']}); {folder}/summary.json names them all"
    )


def scores_line(summary: dict[str, Any], columns: Sequence[str], name: str) -> str:
    """Return means ± standard errors of some columns in one line; columns without a value are left out."""
    known = [column for column in columns if summary[column] is not None]
    values = [f"{column} {summary[column]:.3f} ± {summary[f'{column}_stderr'] or 0:.3f}" for column in known]
    return f"{name}: {', '.join(values)}"


def refinement_line(summary: dict[str, Any], protocol: str) -> str | None:
    """Return how much of a protocol's curves was evaluated, and the bound on its mean ID score; None where all was."""
    points = summary.get(score_column(EVALUATED_POINTS, protocol, summary["protocols"]))
    if points is None:
        return None
    bound = summary[score_column(f"id_score_{ERROR_BOUND}", protocol, summary["protocols"])]
    return f"{protocol}: {points:.0%} of the points evaluated, mean id_score within {bound:.4f} of all points' (95 %)"


def measure(settings: Settings) -> Path:
    """Evaluate what is not evaluated yet.

    Returns:
        The run folder: samples.csv, curves.jsonl, summary.json, config.yaml, manifest.csv, maps.npz and pictures.

    Raises:
        InputError: the configuration or the data cannot be used; nothing was written.
    """
    return measure_together([settings])[0]


def measure_together(several: Sequence[Settings]) -> list[Path]:
    """As :func:`measure`, for settings that differ in the explainer alone: one pass over the images for all.

    Those that are finished are left out of the pass, and a batch is explained by those that have not measured it yet.

    Args:
        several: ``explainer``, ``map``, ``split`` and ``output_dir`` may differ.

    Returns:
        The run folder of each.

    Raises:
        InputError: as :func:`measure`, or they differ in something else.
    """
    check_together(several)
    with datasets_read_once():
        folders = {index: folder for index, each in enumerate(several) if (folder := finished_folder(each)) is not None}
        left = [index for index in range(len(several)) if index not in folders]
        for index in left:
            check_code(several[index])
        if left:
            # Here and not above: a finished evaluation answers before Lightning and the explainers' libraries are
            # imported.
            from relsplit.bench.evaluate.evaluation import evaluate

            folders |= dict(zip(left, evaluate([several[index] for index in left]), strict=True))
    return [folders[index] for index in range(len(several))]
