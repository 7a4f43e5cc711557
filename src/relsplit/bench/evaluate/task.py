"""Task ``evaluate``: explain class-balanced samples, score the maps, leave a run folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from relsplit.bench.configuration.each_explainer import check_together, each_explainer
from relsplit.bench.configuration.settings import check_groups, check_targets
from relsplit.bench.data.configured import datasets_kept
from relsplit.bench.evaluate.expected_accuracy import accuracy_line
from relsplit.bench.evaluate.resumption import finished_folder
from relsplit.bench.machine.processes import first_process
from relsplit.bench.machine.terminal import say
from relsplit.bench.runs.folder import read_config
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


def run(cfg: DictConfig) -> None:
    """Evaluate, print the scores and say where the results are.

    Raises:
        InputError: the configuration or the data cannot be used; nothing was written.
        IncompleteRun: unreadable images were skipped (``dataset.on_bad_image=skip``).
    """
    check_groups(cfg)
    folders = measure_together(each_explainer(cfg))
    if not first_process():
        return
    incomplete = [lacking for folder in folders if (lacking := said(folder))]
    if incomplete:
        raise IncompleteRun("; ".join(incomplete))


def said(folder: Path) -> str:
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
    say(accuracy_line(summary["accuracy"], summary["num_samples"], read_config(folder)))
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


def measure(cfg: DictConfig) -> Path:
    """Evaluate what is not evaluated yet.

    Returns:
        The run folder: samples.csv, curves.jsonl, summary.json, config.yaml, manifest.csv, maps.npz and pictures.

    Raises:
        InputError: the configuration or the data cannot be used; nothing was written.
    """
    return measure_together([cfg])[0]


def measure_together(cfgs: Sequence[DictConfig]) -> list[Path]:
    """As :func:`measure`, for configurations that differ in the explainer alone: one pass over the images for all.

    Those that are finished are left out of the pass, and a batch is explained by those that have not measured it yet.

    Args:
        cfgs: composed configurations; ``explainer``, ``map``, ``split`` and ``output_dir`` may differ.

    Returns:
        The run folder of each.

    Raises:
        InputError: as :func:`measure`, or they differ in something else.
    """
    for cfg in cfgs:
        check_groups(cfg)
    check_together(cfgs)
    with datasets_kept():
        folders = {index: folder for index, cfg in enumerate(cfgs) if (folder := finished_folder(cfg)) is not None}
        left = [index for index in range(len(cfgs)) if index not in folders]
        for index in left:
            check_targets(cfgs[index])
        if left:
            # Here and not above: a finished evaluation answers before Lightning and the explainers' libraries are
            # imported.
            from relsplit.bench.evaluate.evaluation import evaluate

            folders |= dict(zip(left, evaluate([cfgs[index] for index in left]), strict=True))
    return [folders[index] for index in range(len(cfgs))]
