"""Measuring the samples of an evaluation that are left, and writing what belongs to the whole run."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig

from relsplit.data.manifest import write_manifest
from relsplit.errors import InputError
from relsplit.networks.inference_copy import check_precision
from relsplit.runs.dashboard import opened
from relsplit.runs.evaluation_dashboard import evaluation_dashboard, publish, watched
from relsplit.runs.folder import check_folder, holding
from relsplit.runs.identity import config_hash
from relsplit.runs.maps import write_maps
from relsplit.runs.pictures import write_pictures
from relsplit.runs.provenance import hardware, versions
from relsplit.runs.store import SampleStore, samples_check
from relsplit.runs.summary import SAMPLES_CHECK, summarise, write_summary
from relsplit.tasks.setup.build import build
from relsplit.tasks.setup.configuration import explainer_title, run_folder, split_name, typed_command
from relsplit.tasks.setup.evaluation_module import EvaluationModule
from relsplit.tasks.setup.lightning import accelerator_name, evaluation_trainer, run_test
from relsplit.tasks.setup.prepare import Prepared, prepare
from relsplit.tasks.setup.processes import first_process
from relsplit.tasks.setup.refined_curves import refined_summary
from relsplit.tasks.setup.resumption import begin, is_summarised, say_done
from relsplit.tasks.setup.sample_maps import sample_maps


def evaluate(cfg: DictConfig) -> Path:
    """Evaluate what is not evaluated yet.

    Args:
        cfg: a configuration whose settings are checked.

    Returns:
        The run folder.

    Raises:
        InputError: the configuration or the data cannot be used; nothing was written.
    """
    prepared = prepare(cfg)
    prepared.explainer  # noqa: B018  # wrong options of it show here
    check_batches(prepared.config, len(prepared.samples))
    folder = run_folder("evaluate", prepared.config)
    if not first_process():  # srun or torchrun started this process beside the first one, which holds the folder
        evaluate_what_is_left(cfg, prepared, folder)
        return folder
    with holding(folder):
        evaluate_what_is_left(cfg, prepared, folder)
    return folder


def evaluate_what_is_left(cfg: DictConfig, prepared: Prepared, folder: Path) -> None:
    """Go on with a run, or begin it; what belongs to the whole run is written by the first process.

    Raises:
        InputError: the folder belongs to another run, its rows were measured by other code or on other images, an
            image cannot be read, or the device does not compute in ``task.precision``.
    """
    config, samples = prepared.config, prepared.samples
    check_folder(folder, config)
    trainer = evaluation_trainer(cfg)
    store = SampleStore(folder, config)
    order = [sample.sample_id for sample in samples]
    if first_process():
        begin(store, samples, config)
    done = set(store.entries())
    say_done(config, folder, len(done), len(samples))
    batches = fixed_batches(len(samples), config["task"]["batch_size"])
    left = [batch for batch in batches if any(order[index] not in done for index in batch)]
    if left:
        for group in ("task", "explainer"):
            check_precision(config[group].get("precision", "fp32"), trainer.strategy.root_device, f"{group}.")
    module = EvaluationModule(prepared.network, config, prepared.dataset, left, store)
    if not first_process():
        if left:
            run_test(trainer, module)
        return
    if not left and is_summarised(folder, len(done)):
        return
    with opened(evaluation_dashboard(folder, config, explainer_title(config))) as dashboard:
        if left:
            with watched(dashboard, folder, len(samples)):
                run_test(trainer, module)
        store.merge(order)
        write_manifest(folder / "manifest.csv", samples, prepared.catalogue)
        illustrate(store, prepared.on_device())
        cost = prepared.explainer.explainer.forward_equivalents
        summary = summarise(store.samples(), describe(config, cost, trainer, store))
        summary |= refined_summary(store.curves(), summary["protocols"])
        write_summary(folder, summary)
        publish(dashboard, folder, summary)


def fixed_batches(count: int, size: int) -> list[list[int]]:
    """Return the positions of ``count`` samples, ``size`` consecutive ones a batch.

    A batch is computed whole even if some of its samples are done: what is computed together decides the last bits of
    a number.
    """
    return [list(range(start, min(start + size, count))) for start in range(0, count, size)]


def check_batches(config: dict[str, Any], count: int) -> None:
    """Check that every batch holds as many images as the metrics look at together.

    Args:
        config: of the run.
        count: number of samples.

    Raises:
        InputError: one does not.
    """
    sizes = {len(batch) for batch in fixed_batches(count, config["task"]["batch_size"])}
    for name, options in config["metric"].items():
        together: int = getattr(build(options, f"metric.{name}"), "images_together", 1)
        if any(size % together for size in sizes):
            raise InputError(
                f"metric={name} looks at {together} images together: choose multiples of {together} for num_samples "
                f"({count} here) and task.batch_size ({config['task']['batch_size']} here)"
            )


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
        "precision": config["task"]["precision"],
        "curve_tolerance": config["task"]["curve_tolerance"],
        "forward_equivalents": cost,
        "skipped": [asdict(sample) for sample in store.skipped()],
        "config_hash": config_hash(config),
        "results_version": config["results_version"],
        "command": typed_command(),
        "versions": versions(),
        "hardware": hardware(accelerator_name(trainer.strategy.root_device), trainer.world_size),
        SAMPLES_CHECK: samples_check(store.folder),
    }


def illustrate(store: SampleStore, prepared: Prepared) -> None:
    """Write maps.npz and the pictures of the first samples that can be read; with ``task.pictures=0`` neither."""
    done, task = store.entries(), prepared.config["task"]
    readable = [index for index, sample in enumerate(prepared.samples) if sample.sample_id in done]
    if shown := readable[: task["pictures"]]:
        names = prepared.catalogue.class_names
        maps = sample_maps(prepared.explainer, prepared.dataset, shown, names, task["batch_size"])
        write_maps(store.folder, maps)
        write_pictures(store.folder, maps, store.curves(), prepared.title)
