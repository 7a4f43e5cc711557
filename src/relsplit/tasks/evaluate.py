"""Task ``evaluate``: explain class-balanced samples, score the maps, leave a run folder."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig
from rich.console import Console

from relsplit.checks import one_of, whole_number
from relsplit.data.manifest import write_manifest
from relsplit.data.readable import check_readable
from relsplit.errors import IncompleteRun, InputError
from relsplit.runs.dashboard import publish
from relsplit.runs.identity import claim_folder, config_hash
from relsplit.runs.maps import write_maps
from relsplit.runs.pictures import write_pictures
from relsplit.runs.provenance import hardware, versions
from relsplit.runs.records import SCORES
from relsplit.runs.store import SampleStore
from relsplit.runs.summary import SUMMARY, further_metrics, read_summary, score_column, summarise, write_summary
from relsplit.tasks.setup.build import build
from relsplit.tasks.setup.configuration import resolved, run_folder, split_name, typed_command
from relsplit.tasks.setup.evaluation_module import EvaluationModule
from relsplit.tasks.setup.lightning import accelerator_name, evaluation_trainer, first_process, run_test
from relsplit.tasks.setup.prepare import Prepared, prepare
from relsplit.tasks.setup.sample_maps import sample_maps

console = Console()
SCORED = ("label", "predicted")


def run(cfg: DictConfig) -> None:
    """Evaluate, print the scores and say where the results are.

    Raises:
        InputError: the configuration or the data cannot be used; nothing was written.
        IncompleteRun: unreadable images were skipped (``dataset.on_bad_image=skip``).
    """
    folder = measure(cfg)
    if not first_process():
        return
    summary = read_summary(folder)
    for protocol in summary["protocols"]:
        say(scores_line(summary, [score_column(name, protocol, summary["protocols"]) for name in SCORES], protocol))
    if further := further_metrics(summary):
        say(scores_line(summary, further, "further metrics"))
    say(f"{summary['num_samples']} samples: {folder}")
    skipped = summary["skipped"]
    if skipped:
        raise IncompleteRun(
            f"{len(skipped)} of {len(skipped) + summary['num_samples']} samples were skipped, because their images "
            f"cannot be read ({skipped[0]['path']}: {skipped[0]['reason']}); {folder}/summary.json names them all"
        )


def scores_line(summary: dict[str, Any], columns: Sequence[str], name: str) -> str:
    """Return means ± standard errors of some columns in one line; columns without a value are left out."""
    known = [column for column in columns if summary[column] is not None]
    values = [f"{column} {summary[column]:.3f} ± {summary[f'{column}_stderr'] or 0:.3f}" for column in known]
    return f"{name}: {', '.join(values)}"


def say(text: str) -> None:
    """Print a line that a narrow terminal wraps."""
    console.print(text, highlight=False, soft_wrap=True)


def measure(cfg: DictConfig) -> Path:
    """Evaluate what is not evaluated yet.

    Returns:
        The run folder: samples.csv, curves.jsonl, summary.json, config.yaml, manifest.csv, maps.npz and pictures.

    Raises:
        InputError: the configuration or the data cannot be used; nothing was written.
    """
    check_settings(cfg)
    prepared = prepare(cfg)
    config, samples = prepared.config, prepared.samples
    explainer = prepared.explainer  # wrong options of it show here
    trainer = evaluation_trainer(cfg)
    batches = fixed_batches(len(samples), config["task"]["batch_size"])

    folder = run_folder("evaluate", config)
    if cfg.dataset.on_bad_image == "error" and not folder.exists():
        check_readable(samples, cfg.dataset.num_workers)  # one bad image shall show before hours of work
    claim_folder(folder, config)
    store = SampleStore(folder)
    order = [sample.sample_id for sample in samples]
    if first_process():
        write_manifest(folder / "manifest.csv", samples, prepared.catalogue)
        store.merge(order)
    done = store.done()
    finished = (folder / SUMMARY).exists() and read_summary(folder)["num_samples"] == len(done)
    protocols = ", ".join(config["protocol"])
    say(f"[bold]{prepared.title}, {protocols}[/bold]: {len(done)} of {len(samples)} samples done, {folder}")
    left = [batch for batch in batches if any(order[index] not in done for index in batch)]
    if left:
        run_test(trainer, EvaluationModule(prepared.network, config, prepared.dataset, left, store))
    if not first_process():  # srun or torchrun started this process beside the first one, which writes the rest
        return folder
    if left or not finished:
        store.merge(order)
        illustrate(store, prepared.on_device())
        cost = explainer.explainer.forward_equivalents
        write_summary(folder, summarise(store.samples(), describe(config, cost, trainer, store)))
        publish(folder, config, read_summary(folder))
    return folder


def check_settings(cfg: DictConfig) -> None:
    """Check what is an evaluation's own, before any work.

    Raises:
        InputError: a setting, or an option of a protocol or a metric, has a value that cannot be used.
    """
    whole_number("task.pictures", cfg.task.pictures, 0)
    if cfg.task.forward_batch_size is not None:
        whole_number("task.forward_batch_size", cfg.task.forward_batch_size, 1)
    one_of("task.scored_class", cfg.task.scored_class, SCORED)
    if not cfg.protocol:
        raise InputError("protocol=[]: name at least one protocol of conf/protocol")
    for group in ("protocol", "metric"):
        for name, options in resolved(cfg[group]).items():
            build(options, f"{group}.{name}")


def fixed_batches(count: int, size: int) -> list[list[int]]:
    """Return the positions of ``count`` samples, ``size`` consecutive ones a batch.

    A batch is computed whole even if some of its samples are done: what is computed together decides the last bits of
    a number.
    """
    return [list(range(start, min(start + size, count))) for start in range(0, count, size)]


def describe(config: dict[str, Any], cost: float, trainer: pl.Trainer, store: SampleStore) -> dict[str, Any]:
    """Return what the numbers of a summary belong to.

    Args:
        config: of the run.
        cost: of one map, in forward passes.
        trainer: that ran the evaluation.
        store: of the run.
    """
    return {
        "explainer": config["explainer"]["name"],
        "split": split_name(config),
        "dataset": config["dataset"]["name"],
        "model": config["model"]["name"],
        "protocol": next(iter(config["protocol"])),
        "protocols": list(config["protocol"]),
        "seed": config["seed"],
        "forward_equivalents": cost,
        "skipped": [asdict(sample) for sample in store.skipped()],
        "config_hash": config_hash(config),
        "results_version": config["results_version"],
        "command": typed_command(),
        "versions": versions(),
        "hardware": hardware(accelerator_name(trainer.strategy.root_device), trainer.world_size),
    }


def illustrate(store: SampleStore, prepared: Prepared) -> None:
    """Write maps.npz and the pictures of the first samples that can be read; with ``task.pictures=0`` neither."""
    done, task = store.done(), prepared.config["task"]
    readable = [index for index, sample in enumerate(prepared.samples) if sample.sample_id in done]
    if shown := readable[: task["pictures"]]:
        names = prepared.catalogue.class_names
        maps = sample_maps(prepared.explainer, prepared.dataset, shown, names, task["batch_size"])
        write_maps(store.folder, maps)
        write_pictures(store.folder, maps, store.curves(), prepared.title)
