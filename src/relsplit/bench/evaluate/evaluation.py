"""Measuring the samples of an evaluation that are left, and writing what belongs to the whole run."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from relsplit.bench.configuration.folders import run_folder
from relsplit.bench.configuration.identity import RESULTS_VERSION
from relsplit.bench.configuration.settings import Evaluate, Settings
from relsplit.bench.configuration.typed import typed_command
from relsplit.bench.data.catalogue import Sample
from relsplit.bench.data.manifest import write_manifest
from relsplit.bench.evaluate.evaluation_module import EvaluationModule
from relsplit.bench.evaluate.refined_curves import refined_summary
from relsplit.bench.evaluate.resumption import begin, is_summarised, lacks_maps, say_done
from relsplit.bench.explain.prepare import Prepared, prepare_all
from relsplit.bench.explain.sample_maps import sample_maps
from relsplit.bench.explain.stored_maps import StoredMaps
from relsplit.bench.machine.lightning import accelerator_name, evaluation_trainer, run_test
from relsplit.bench.machine.processes import first_process
from relsplit.bench.runs.dashboard import Dashboard, opened
from relsplit.bench.runs.evaluation_dashboard import evaluation_dashboard, publish, watched
from relsplit.bench.runs.folder import CONFIG, check_folder, holding
from relsplit.bench.runs.maps import chosen, write_maps
from relsplit.bench.runs.pictures import write_pictures
from relsplit.bench.runs.provenance import hardware, is_changed, own_code, versions
from relsplit.bench.runs.store import MeasuredSamples, SampleStore, samples_check
from relsplit.bench.runs.summary import SAMPLES_CHECK, summarise, write_summary
from relsplit.errors import IncompleteRun, InputError
from relsplit.networks.inference_copy import check_precision


def evaluate(several: Sequence[Settings]) -> list[Path]:
    """Evaluate what is not evaluated yet, in one pass over the images.

    Args:
        several: settings that differ in the explainer alone; what they name is checked.

    Returns:
        The run folder of each.

    Raises:
        InputError: a configuration or the data cannot be used; nothing was written.
    """
    methods = prepare_all(several)
    for method in methods:
        method.explainer  # noqa: B018  # wrong options of it show here
    check_batches(methods[0].settings, len(methods[0].samples))
    folders = [run_folder("evaluate", method.settings, method.identity) for method in methods]
    twice = next((folder for folder in folders if folders.count(folder) > 1), None)
    if twice is not None:
        raise InputError(f"task.explainers names the same evaluation twice, {twice}: leave one of them out")
    with ExitStack() as held:
        if first_process():  # not one that srun or torchrun started beside it
            for folder in sorted(folders):
                held.enter_context(holding(folder))
        stores = [SampleStore(folder, method.identity) for folder, method in zip(folders, methods, strict=True)]
        evaluate_what_is_left(methods, stores)
    return folders


def evaluate_what_is_left(methods: Sequence[Prepared], stores: Sequence[SampleStore]) -> None:
    """Go on with runs, or begin them; what belongs to a whole run is written by the first process.

    Raises:
        InputError: a folder belongs to another run, its rows were measured by other code or on other images, an
            image cannot be read, or the device does not compute in ``task.precision``.
    """
    settings, samples = methods[0].settings, methods[0].samples
    for store in stores:
        check_folder(store.folder, store.identity)
    machine = settings.trainer
    trainer = evaluation_trainer(settings.device, machine.devices, machine.num_nodes, machine.strategy)
    order = [sample.sample_id for sample in samples]
    runs = [(method.settings, store) for method, store in zip(methods, stores, strict=True)]
    begun = begin(runs, samples) if first_process() else [store.read() for store in stores]
    measured = [frozenset(each.entries) for each in begun]
    for method, store, known in zip(methods, stores, measured, strict=True):
        say_done(method.settings, store.folder, len(known), len(samples))
    task = settings.task_as(Evaluate)
    batches = fixed_batches(len(samples), task.batch_size)
    left = [batch for batch in batches if any(order[index] not in known for known in measured for index in batch)]
    if left:
        check_precision(task.precision, trainer.strategy.root_device, "task.")
        for method in methods:
            own = method.settings.explainer.arguments.get("precision", "fp32")
            check_precision(own, trainer.strategy.root_device, "explainer.")
    given = [(*run, known) for run, known in zip(runs, measured, strict=True)]
    module = EvaluationModule(methods[0].network, given, methods[0].dataset, left)
    if not first_process():
        if left:
            run_test(trainer, module)
        return
    unfinished = [
        (method, store, evaluation_dashboard(store.folder, method.settings, method.identity))
        for method, store, known in zip(methods, stores, begun, strict=True)
        if any(name not in known.entries for name in order)
        or not is_summarised(store.folder, method.identity, known.check)
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
    illustrated = {store.folder for _, store, _ in unfinished}
    for method, store, there in zip(methods, stores, begun, strict=True):
        if store.folder not in illustrated and lacks_maps(store.folder, method.settings, there):
            illustrate(store.folder, method.on_device(), there)


def finish(method: Prepared, store: SampleStore, trainer: pl.Trainer, dashboard: Dashboard) -> None:
    """Write what belongs to a whole run, whose samples are measured, and show it.

    Raises:
        IncompleteRun: not all of them are on the disk, or images or stored maps were replaced in the meantime.
    """
    measured = store.merge(store.read(), [sample.sample_id for sample in method.samples])
    check_all_there(store, method.samples, measured)
    check_same_maps(method, store)
    write_manifest(store.folder / "manifest.csv", method.samples, method.catalogue)
    illustrate(store.folder, method.on_device(), measured)
    cost = method.explainer.explainer.forward_equivalents
    summary = summarise(measured.table(), describe(method, cost, trainer, measured))
    summary |= refined_summary(measured.curves(), summary["protocols"])
    write_summary(store.folder, summary)
    check_unchanged(method, store, measured)
    publish(dashboard, store.folder, measured, summary)


def check_all_there(store: SampleStore, samples: Sequence[Sample], measured: MeasuredSamples) -> None:
    """Check that the disk holds all of a run whose samples were measured or skipped.

    Raises:
        IncompleteRun: it does not.
        InputError: all were skipped.
    """
    if not measured.entries and measured.skipped:
        raise InputError(f"{store.folder} holds no sample: none of the images could be read")
    there = measured.entries.keys() | measured.skipped.keys()
    lost = [sample for sample in samples if sample.sample_id not in there]
    if lost:
        raise changed_meanwhile(f"holds {len(samples) - len(lost)} of {len(samples)} samples", store)


def check_same_maps(method: Prepared, store: SampleStore) -> None:
    """Check that stored maps are still those of the run's identity: every process reads them after it was taken.

    Raises:
        IncompleteRun: they are not.
    """
    if isinstance(method.explainer.explainer, StoredMaps) and method.settings.identity().hash != method.identity.hash:
        maps = method.settings.explainer.arguments["maps"]
        raise IncompleteRun(
            f"{maps} was replaced or removed while the run went on, so {store.folder} may have scored either: "
            "delete that folder and start again"
        )


def check_unchanged(method: Prepared, store: SampleStore, measured: MeasuredSamples) -> None:
    """Check that the disk holds what a summary was made of, and that the images are still those that were seen.

    Raises:
        IncompleteRun: it does not, or they are not.
    """
    folder, samples = store.folder, method.samples
    if not (folder / CONFIG).is_file() or not is_summarised(folder, store.identity, samples_check(folder)):
        raise changed_meanwhile("does not hold what its summary was made of", store)
    replaced = [
        sample
        for sample in samples
        if sample.sample_id in measured.entries and is_changed(sample.path, measured.entries[sample.sample_id].image)
    ]
    if replaced and method.settings.task_as(Evaluate).on_change != "accept":
        raise IncompleteRun(
            f"{len(replaced)} of {len(samples)} images of {folder} were replaced while the run went on "
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


def check_batches(settings: Settings, count: int) -> None:
    """Check that every batch holds as many images as the metrics look at together.

    Args:
        settings: of the run.
        count: number of samples.

    Raises:
        InputError: one does not.
    """
    batch_size = settings.task_as(Evaluate).batch_size
    sizes = {len(batch) for batch in fixed_batches(count, batch_size)}
    for name, metric in settings.metric.items():
        together: int = getattr(metric.build(f"metric.{name}"), "images_together", 1)
        if any(size % together for size in sizes):
            raise InputError(
                f"metric={name} looks at {together} images together: choose multiples of {together} for num_samples "
                f"({count} here) and task.batch_size ({batch_size} here)"
            )


def describe(method: Prepared, cost: float, trainer: pl.Trainer, measured: MeasuredSamples) -> dict[str, Any]:
    """Return what the numbers of a summary belong to.

    Args:
        method: what was evaluated.
        cost: of one map, in forward passes.
        trainer: that ran the evaluation.
        measured: the samples of the run.
    """
    settings = method.settings
    task = settings.task_as(Evaluate)
    return {
        "explainer": settings.explainer.name,
        "split": settings.split_name,
        "dataset": settings.dataset.name,
        "model": settings.model.name,
        "protocol": next(iter(settings.protocol)),
        "protocols": list(settings.protocol),
        "seed": settings.seed,
        "precision": task.precision,
        "curve_tolerance": task.curve_tolerance,
        "forward_equivalents": cost,
        "skipped": [asdict(sample) for sample in measured.skipped.values()],
        "config_hash": method.identity.hash,
        "results_version": RESULTS_VERSION,
        "command": typed_command(),
        "versions": versions(),
        "hardware": hardware(accelerator_name(trainer.strategy.root_device), trainer.world_size),
        SAMPLES_CHECK: measured.check,
    }


def illustrate(folder: Path, prepared: Prepared, measured: MeasuredSamples) -> None:
    """Write maps.npz, of the first samples that can be read, and pictures of them.

    Whole batches are explained, as they were scored: what is computed together decides the last bits of a map.

    Args:
        folder: of the run.
        prepared: what was evaluated; ``task.pictures`` and ``task.maps`` say of how many samples.
        measured: the samples of the run.
    """
    task = prepared.settings.task_as(Evaluate)
    readable = [index for index, sample in enumerate(prepared.samples) if sample.sample_id in measured.entries]
    kept = readable[: max(task.pictures, task.maps or 0)]
    if not kept:
        return
    batches = fixed_batches(len(prepared.samples), task.batch_size)
    explained = [index for batch in batches if batch[0] <= kept[-1] for index in batch]
    names = prepared.catalogue.class_names
    maps = sample_maps(
        prepared.explainer, prepared.dataset, explained, names, task.batch_size, scored=task.scored_class
    )
    maps = chosen(maps, range(len(kept)))
    write_maps(folder, maps, own_code(prepared.settings.code()))
    if task.pictures:
        write_pictures(folder, chosen(maps, range(task.pictures)), measured.curves(), prepared.title)
