"""Task ``explain``: maps and pictures of photographs, without a score."""

from __future__ import annotations

from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import Console

from reslrp.data.catalogue import Sample
from reslrp.data.dataset import EvaluationDataset
from reslrp.errors import InputError
from reslrp.results.maps import MAPS, read_maps, write_maps
from reslrp.results.pictures import write_pictures
from reslrp.results.run_config import claim_folder
from reslrp.tasks.configuration import explainer_title, identified, resolved, run_folder
from reslrp.tasks.evaluate import choose_samples, read_catalogue
from reslrp.tasks.explained_network import explained_network
from reslrp.tasks.explaining import ConfiguredExplainer
from reslrp.tasks.lightning import chosen_device
from reslrp.tasks.sample_maps import sample_maps

console = Console()


def run(cfg: DictConfig) -> Path:
    """Explain ``task.images`` (files), or the first samples that an evaluation would take.

    Returns:
        The run folder with maps.npz, config.yaml and pictures.

    Raises:
        InputError: the configuration, the data or a named file cannot be used; nothing was written.
    """
    catalogue = read_catalogue(cfg)
    samples = photographs(cfg.task.images) if cfg.task.images else choose_samples(cfg, catalogue)[: cfg.task.pictures]
    network = explained_network(cfg, catalogue).to(chosen_device(cfg.device))
    config = identified(resolved(cfg))
    folder = run_folder("explain", config)
    if (folder / MAPS).exists() and list(read_maps(folder).sample_id) == [sample.sample_id for sample in samples]:
        claim_folder(folder, config)
        console.print(f"explained before: {folder}", highlight=False, soft_wrap=True)
        return folder
    explainer = ConfiguredExplainer(config["explainer"], network)
    dataset = EvaluationDataset(samples, instantiate(cfg.dataset.transform), cfg.dataset.on_bad_image)
    maps = sample_maps(explainer, dataset, range(len(samples)), catalogue.class_names, cfg.task.batch_size)

    claim_folder(folder, config)
    write_maps(folder, maps)
    grid = write_pictures(folder, maps, title=f"{explainer_title(config)} on {config['dataset']['name']}")
    console.print(f"{len(samples)} maps: {grid}", highlight=False, soft_wrap=True)
    return folder


def photographs(paths: list[str]) -> tuple[Sample, ...]:
    """Files of the user's own as samples; their label is not known and not used (``target: predicted``).

    Raises:
        InputError: a file does not exist.
    """
    missing = [path for path in paths if not Path(path).is_file()]
    if missing:
        raise InputError(f"task.images: there is no file {missing[0]}")
    return tuple(Sample(f"{index}-{Path(path).stem}", Path(path), 0, "test") for index, path in enumerate(paths))
