"""Task ``evaluate``: explain class-balanced samples, score the maps, leave a run folder."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from reslrp.data.catalogue import Catalogue, Sample
from reslrp.data.dataset import EvaluationDataset
from reslrp.data.manifest import read_manifest, write_manifest
from reslrp.data.readable import check_readable
from reslrp.data.sampling import class_balanced
from reslrp.errors import IncompleteRun, InputError
from reslrp.options import one_of, whole_number
from reslrp.results.dashboard import publish
from reslrp.results.maps import write_maps
from reslrp.results.pictures import write_pictures
from reslrp.results.provenance import hardware, versions
from reslrp.results.run_config import claim_folder, config_hash
from reslrp.results.store import SampleStore
from reslrp.results.summary import SCORES, SUMMARY, read_summary, summarise, write_summary
from reslrp.tasks.configuration import explainer_title, identified, resolved, run_folder, split_name, typed_command
from reslrp.tasks.evaluation_module import EvaluationModule, accelerator_name
from reslrp.tasks.explained_network import explained_network
from reslrp.tasks.explaining import ConfiguredExplainer, build
from reslrp.tasks.lightning import evaluation_trainer, first_process, run_test
from reslrp.tasks.sample_maps import sample_maps

console = Console()
SCORED = ("label", "predicted")


def run(cfg: DictConfig) -> None:
    """Evaluate, print the scores and say where the results are.

    Raises:
        InputError: the configuration or the data cannot be used; nothing was written.
        IncompleteRun: unreadable images were skipped (``dataset.on_bad_image=skip``).
    """
    folder = evaluate(cfg)
    if not first_process():
        return
    summary = read_summary(folder)
    scores = "  ".join(f"{name} {summary[name]:.3f} ± {summary[f'{name}_stderr'] or 0:.3f}" for name in SCORES)
    console.print(
        f"{scores}  ({summary['num_samples']} samples, {summary['protocol']})\n{folder}",
        highlight=False,
        soft_wrap=True,
    )
    skipped = summary["skipped"]
    if skipped:
        raise IncompleteRun(
            f"{len(skipped)} of {len(skipped) + summary['num_samples']} samples were skipped, because their images "
            f"cannot be read ({skipped[0]['path']}: {skipped[0]['reason']}); {folder}/summary.json names them all"
        )


def evaluate(cfg: DictConfig) -> Path:
    """Evaluate what is not evaluated yet.

    Returns:
        The run folder: samples.csv, curves.jsonl, summary.json, config.yaml, manifest.csv, maps.npz and pictures.
    """
    check_settings(cfg)
    catalogue = read_catalogue(cfg)
    samples = choose_samples(cfg, catalogue)
    config = resolved(cfg)
    for group in ("protocol", "metric"):  # wrong options end the run here, before any work
        for name, options in config[group].items():
            build(options, f"{group}.{name}")
    network = explained_network(cfg, catalogue)
    config = identified(config)
    explainer = ConfiguredExplainer(config["explainer"], network)
    dataset = EvaluationDataset(samples, instantiate(cfg.dataset.transform), cfg.dataset.on_bad_image)
    trainer = evaluation_trainer(cfg)
    batches = fixed_batches(len(samples), config["task"]["batch_size"])

    folder = run_folder("evaluate", config)
    if cfg.dataset.on_bad_image == "error" and not folder.exists():
        check_readable(samples, cfg.dataset.num_workers)  # one bad image shall show before hours of work
    claim_folder(folder, config)
    store = SampleStore(folder)
    order = [sample.sample_id for sample in samples]
    if first_process():
        write_manifest(folder / "manifest.csv", samples, catalogue)
        store.merge(order)
    done = store.done()
    finished = (folder / SUMMARY).exists() and read_summary(folder)["num_samples"] == len(done)
    title = f"{explainer_title(config)} on {config['dataset']['name']}"
    console.print(
        f"[bold]{title}[/bold]: {len(done)} of {len(samples)} samples done, {folder}", highlight=False, soft_wrap=True
    )
    left = [batch for batch in batches if any(order[index] not in done for index in batch)]
    if left:
        run_test(trainer, EvaluationModule(network, config, dataset, left, store))
    if not first_process():  # srun or torchrun started this process beside the first one, which writes the rest
        return folder
    if left or not finished:
        store.merge(order)
        illustrate(store, cfg, explainer, dataset, catalogue, title)
        write_summary(folder, summarise(store.samples(), describe(config, explainer, trainer, store)))
        publish(folder, config, read_summary(folder))
    return folder


def check_numbers(cfg: DictConfig) -> None:
    """Raise InputError for numbers that are none, of whatever explains samples."""
    for key, minimum in {"num_samples": 1, "seed": 0, "task.batch_size": 1, "dataset.num_workers": 0}.items():
        whole_number(key, OmegaConf.select(cfg, key), minimum)


def check_settings(cfg: DictConfig) -> None:
    """Raise InputError for settings of an evaluation that have a wrong kind of value."""
    check_numbers(cfg)
    whole_number("task.pictures", cfg.task.pictures, 0)
    if cfg.task.forward_batch_size is not None:
        whole_number("task.forward_batch_size", cfg.task.forward_batch_size, 1)
    one_of("task.scored_class", cfg.task.scored_class, SCORED)
    if not cfg.protocol:
        raise InputError("protocol=[]: name at least one protocol of conf/protocol")


def read_catalogue(cfg: DictConfig) -> Catalogue:
    """The dataset. It is read before a model is trained for it, as that takes minutes and wrong input ends the run."""
    catalogue: Catalogue = build(OmegaConf.to_container(cfg.dataset.catalogue, resolve=True), "dataset.catalogue")  # type: ignore[arg-type]
    return catalogue


def choose_samples(cfg: DictConfig, catalogue: Catalogue) -> tuple[Sample, ...]:
    """The test samples that a manifest names, or a seeded class-balanced choice."""
    candidates = catalogue.split("test")
    if cfg.dataset.manifest is not None:
        return read_manifest(Path(cfg.dataset.manifest), candidates, catalogue)
    sampling = cfg.dataset.sampling
    return class_balanced(candidates, cfg.num_samples, sampling.seed, sampling.style, catalogue.class_names)


def fixed_batches(count: int, size: int) -> list[list[int]]:
    """Positions of ``count`` samples, ``size`` consecutive ones a batch.

    A batch is computed whole even if some of its samples are done: what is computed together decides the last bits of
    a number.
    """
    return [list(range(start, min(start + size, count))) for start in range(0, count, size)]


def describe(
    config: dict[str, Any], explainer: ConfiguredExplainer, trainer: pl.Trainer, store: SampleStore
) -> dict[str, Any]:
    """What the numbers of a summary belong to."""
    return {
        "explainer": config["explainer"]["name"],
        "split": split_name(config),
        "dataset": config["dataset"]["name"],
        "model": config["model"]["name"],
        "protocol": next(iter(config["protocol"])),
        "protocols": list(config["protocol"]),
        "seed": config["seed"],
        "forward_equivalents": explainer.explainer.forward_equivalents,
        "skipped": [asdict(sample) for sample in store.skipped()],
        "config_hash": config_hash(config),
        "command": typed_command(),
        "versions": versions(),
        "hardware": hardware(accelerator_name(trainer.strategy.root_device), trainer.world_size),
    }


def illustrate(
    store: SampleStore,
    cfg: DictConfig,
    explainer: ConfiguredExplainer,
    dataset: EvaluationDataset,
    catalogue: Catalogue,
    title: str,
) -> None:
    """Write maps.npz and the pictures of the first samples that can be read; with ``task.pictures=0`` neither."""
    done = store.done()
    shown = [index for index, sample in enumerate(dataset.samples) if sample.sample_id in done][: cfg.task.pictures]
    if shown:
        maps = sample_maps(explainer, dataset, shown, catalogue.class_names, cfg.task.batch_size)
        write_maps(store.folder, maps)
        write_pictures(store.folder, maps, store.curves(), title)
