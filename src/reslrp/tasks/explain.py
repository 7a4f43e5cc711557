"""Task ``explain``: maps and pictures of photographs, without a score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from hydra.utils import instantiate
from omegaconf import DictConfig, ListConfig
from rich.console import Console

from reslrp.data.catalogue import Sample
from reslrp.data.dataset import EvaluationDataset
from reslrp.errors import InputError
from reslrp.options import whole_number
from reslrp.results.maps import MAPS, Maps, read_maps, write_maps
from reslrp.results.pictures import write_pictures
from reslrp.results.run_config import claim_folder
from reslrp.tasks.configuration import explainer_title, identified, resolved, run_folder
from reslrp.tasks.evaluate import check_numbers, choose_samples, read_catalogue
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
    check_numbers(cfg)
    catalogue = read_catalogue(cfg)
    own = photographs(cfg.task.images)
    if own and cfg.explainer.target == "label":
        raise InputError("explainer.target=label: nobody said which class task.images are of, use predicted")
    whole_number("task.pictures", cfg.task.pictures, 1)
    samples = own or choose_samples(cfg, catalogue)[: cfg.task.pictures]
    network = explained_network(cfg, catalogue).to(chosen_device(cfg.device))
    config = identified(resolved(cfg))
    folder = run_folder("explain", config)
    # A photograph of the user's own may have been replaced by another of the same name.
    if (
        not own
        and (folder / MAPS).exists()
        and list(read_maps(folder).sample_id) == [sample.sample_id for sample in samples]
    ):
        claim_folder(folder, config)
        console.print(f"explained before: {folder}", highlight=False, soft_wrap=True)
        return folder
    explainer = ConfiguredExplainer(config["explainer"], network)
    dataset = EvaluationDataset(samples, instantiate(cfg.dataset.transform), cfg.dataset.on_bad_image)
    maps = sample_maps(explainer, dataset, range(len(samples)), catalogue.class_names, cfg.task.batch_size)
    if own:
        maps = named_as_predicted(maps, catalogue.class_names)

    claim_folder(folder, config)
    write_maps(folder, maps)
    grid = write_pictures(folder, maps, title=f"{explainer_title(config)} on {config['dataset']['name']}")
    console.print(f"{len(samples)} maps: {grid}", highlight=False, soft_wrap=True)
    return folder


def photographs(images: ListConfig | str | None) -> tuple[Sample, ...]:
    """Files of the user's own as samples; their label is not known and not used (``target: predicted``).

    Raises:
        InputError: a file does not exist.
    """
    paths = [images] if isinstance(images, str) else list(images or [])
    missing = [path for path in paths if not Path(path).is_file()]
    if missing:
        raise InputError(f"task.images: there is no file {missing[0]}")
    return tuple(Sample(f"{index}-{Path(path).stem}", Path(path), 0, "test") for index, path in enumerate(paths))


def named_as_predicted(maps: Maps, class_names: Sequence[str]) -> Maps:
    """The maps of photographs whose class nobody said, under the predicted one's name."""
    names = np.array([f"predicted: {class_names[index]}" for index in maps.predicted])
    return replace(maps, label=maps.predicted, class_name=names)
