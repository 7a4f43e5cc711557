"""Measuring the samples of an evaluation that are left, and writing what belongs to the whole run."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig

from relsplit.bench.configuration.build import build
from relsplit.bench.configuration.configuration import explainer_title, run_folder, split_name, typed_command
from relsplit.bench.data.catalogue import Sample
from relsplit.bench.data.manifest import write_manifest
from relsplit.bench.evaluate.evaluation_module import EvaluationModule
from relsplit.bench.evaluate.refined_curves import refined_summary
from relsplit.bench.evaluate.resumption import begin, is_summarised, say_done
from relsplit.bench.explain.prepare import Prepared, prepare_all
from relsplit.bench.explain.sample_maps import sample_maps
from relsplit.bench.machine.lightning import accelerator_name, evaluation_trainer, run_test
from relsplit.bench.machine.processes import first_process
from relsplit.bench.runs.dashboard import Dashboard, opened
from relsplit.bench.runs.evaluation_dashboard import evaluation_dashboard, publish, watched
from relsplit.bench.runs.folder import CONFIG, check_folder, holding
from relsplit.bench.runs.identity import config_hash
from relsplit.bench.runs.maps import write_maps
from relsplit.bench.runs.pictures import write_pictures
from relsplit.bench.runs.provenance import hardware, is_changed, versions
from relsplit.bench.runs.store import Entry, SampleStore, samples_check
from relsplit.bench.runs.summary import SAMPLES_CHECK, summarise, write_summary
from relsplit.errors import IncompleteRun, InputError
from relsplit.networks.inference_copy import check_precision


def evaluate(cfgs: Sequence[DictConfig]) -> list[Path]:
    """Evaluate what is not evaluated yet, in one pass over the images.

    Args:
        cfgs: configurations whose settings are checked, and which differ in the explainer alone.

    Returns:
        The run folder of each.

    Raises:
        InputError: a configuration or the data cannot be used; nothing was written.
    """
    methods = prepare_all(cfgs)
    for method in methods:
        method.explainer  # noqa: B018  # wrong options of it show here
    check_batches(methods[0].config, len(methods[0].samples))
    folders = [run_folder("evaluate", method.config) for method in methods]
    twice = next((folder for folder in folders if folders.count(folder) > 1), None)
    if twice is not None:
        raise InputError(f"task.explainers names the same evaluation twice, {twice}: leave one of them out")
    with ExitStack() as held:
        if first_process():  # not one that srun or torchrun started beside it
            for folder in sorted(folders):
                held.enter_context(holding(folder))
        stores = [SampleStore(folder, method.config) for folder, method in zip(folders, methods, strict=True)]
        evaluate_what_is_left(cfgs[0], methods, stores)
    return folders


def evaluate_what_is_left(cfg: DictConfig, methods: Sequence[Prepared], stores: Sequence[SampleStore]) -> None:
    """Go on with runs, or begin them; what belongs to a whole run is written by the first process.

    Raises:
        InputError: a folder belongs to another run, its rows were measured by other code or on other images, an
            image cannot be read, or the device does not compute in ``task.precision``.
    """
    config, samples = methods[0].config, methods[0].samples
    for store in stores:
        check_folder(store.folder, store.config)
    trainer = evaluation_trainer(cfg)
    order = [sample.sample_id for sample in samples]
    if first_process():
        begin(stores, samples)
    measured = [set(store.entries()) for store in stores]
    for method, store, known in zip(methods, stores, measured, strict=True):
        say_done(method.config, store.folder, len(known), len(samples))
    batches = fixed_batches(len(samples), config["task"]["batch_size"])
    left = [batch for batch in batches if any(order[index] not in known for known in measured for index in batch)]
    if left:
        groups = [("task", config["task"]), *(("explainer", method.config["explainer"]) for method in methods)]
        for group, settings in groups:
            check_precision(settings.get("precision", "fp32"), trainer.strategy.root_device, f"{group}.")
    module = EvaluationModule(methods[0].network, stores, methods[0].dataset, left)
    if not first_process():
        if left:
            run_test(trainer, module)
        return
    unfinished = [
        (method, store, evaluation_dashboard(store.folder, method.config, explainer_title(method.config)))
        for method, store, known in zip(methods, stores, measured, strict=True)
        if any(name not in known for name in order) or not is_summarised(store.folder, method.config)
    ]
    with ExitStack() as shown:
        for *_, dashboard in unfinished:
            shown.enter_context(opened(dashboard))
        if left:
            with ExitStack() as looking:
                for _, store, dashboard in unfinished:
                    looking.enter_context(watched(dashboard, store.folder, len(samples)))
                run_test(trainer, module)
        for method, store, dashboard in unfinished:
            finish(method, store, trainer, dashboard)


def finish(method: Prepared, store: SampleStore, trainer: pl.Trainer, dashboard: Dashboard) -> None:
    """Write what belongs to a whole run, whose samples are measured, and show it.

    Raises:
        IncompleteRun: not all of them are on the disk, or images were replaced in the meantime.
    """
    store.merge([sample.sample_id for sample in method.samples])
    check = samples_check(store.folder)
    entries = entries_on_disk(store, method.samples)
    write_manifest(store.folder / "manifest.csv", method.samples, method.catalogue)
    illustrate(store, method.on_device())
    cost = method.explainer.explainer.forward_equivalents
    summary = summarise(store.samples(), describe(method.config, cost, trainer, store, check))
    summary |= refined_summary(store.curves(), summary["protocols"])
    write_summary(store.folder, summary)
    check_unchanged(store, method.samples, entries)
    publish(dashboard, store.folder, summary)


def entries_on_disk(store: SampleStore, samples: Sequence[Sample]) -> dict[str, Entry]:
    """Return what the disk holds of a run whose samples were measured or skipped.

    Raises:
        IncompleteRun: it does not hold all of them.
    """
    entries, skipped = store.entries(), {sample.sample_id for sample in store.skipped()}
    lost = [sample for sample in samples if sample.sample_id not in entries and sample.sample_id not in skipped]
    if lost:
        raise changed_meanwhile(f"holds {len(samples) - len(lost)} of {len(samples)} samples", store)
    return entries


def check_unchanged(store: SampleStore, samples: Sequence[Sample], entries: Mapping[str, Entry]) -> None:
    """Check that the disk holds what a summary was made of, and that the images are still those that were seen.

    Raises:
        IncompleteRun: it does not, or they are not.
    """
    if not (store.folder / CONFIG).is_file() or not is_summarised(store.folder, store.config):
        raise changed_meanwhile("does not hold what its summary was made of", store)
    replaced = [
        sample
        for sample in samples
        if sample.sample_id in entries and is_changed(sample.path, entries[sample.sample_id].image)
    ]
    if replaced and store.config["task"]["on_change"] != "accept":
        raise IncompleteRun(
            f"{len(replaced)} of {len(samples)} images of {store.folder} were replaced while the run went on "
            f"({replaced[0].path}): start the same command with task.on_change=anew, which measures them again"
        )


def changed_meanwhile(what: str, store: SampleStore) -> IncompleteRun:
    """Say that somebody else worked in a run's folder."""
    return IncompleteRun(
        f"{store.folder} {what}: files in it were changed, moved or removed while the run went on; start the same "
        "command, which measures what is missing"
    )


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


def describe(
    config: dict[str, Any], cost: float, trainer: pl.Trainer, store: SampleStore, check: str
) -> dict[str, Any]:
    """Return what the numbers of a summary belong to.

    Args:
        config: of the run.
        cost: of one map, in forward passes.
        trainer: that ran the evaluation.
        store: of the run.
        check: of its samples, see :func:`relsplit.bench.runs.store.samples_check`.
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
        SAMPLES_CHECK: check,
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
