"""Task ``explain``: maps and pictures of photographs, without a score."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, ListConfig

from relsplit.bench.configuration.configuration import resolved, run_folder
from relsplit.bench.configuration.settings import check_groups, check_targets
from relsplit.bench.data.catalogue import Catalogue, Sample
from relsplit.bench.data.configured import read_catalogue
from relsplit.bench.data.samples import choose_samples, chosen_samples
from relsplit.bench.explain.explained_network import explained_network
from relsplit.bench.explain.photographs import without_dataset
from relsplit.bench.explain.prepare import Prepared, prepare
from relsplit.bench.explain.sample_maps import sample_maps
from relsplit.bench.machine.terminal import say
from relsplit.bench.models.learned_classes import label_of
from relsplit.bench.runs.folder import check_folder, claim_folder, holding
from relsplit.bench.runs.identity import identified
from relsplit.bench.runs.maps import MAPS, Maps, read_maps, write_maps
from relsplit.bench.runs.pictures import write_pictures
from relsplit.bench.train.training_folder import is_to_be_trained
from relsplit.errors import IncompleteRun, InputError


def run(cfg: DictConfig) -> None:
    """Explain and say where the pictures are.

    Raises:
        InputError: as :func:`measure`.
        IncompleteRun: unreadable images were skipped (``dataset.on_bad_image=skip``).
    """
    measure(cfg)


def measure(cfg: DictConfig) -> Path:
    """Explain ``task.images`` (files), or the first samples that an evaluation would take.

    What is explained is the predicted class, or the one that ``task.target`` names.

    Returns:
        The run folder with maps.npz, config.yaml and pictures.

    Raises:
        InputError: the configuration, the data or a named file cannot be used; nothing was written.
        IncompleteRun: unreadable images were skipped; the maps of the others are written.
    """
    check_groups(cfg)
    own = photographs(cfg.task.images)
    if not own and (finished := explained_before(cfg)) is not None:
        say(f"explained before: {finished}")
        return finished
    check_targets(cfg)
    if own:
        cfg = configured_for_photographs(cfg)
    choose = (lambda cfg, catalogue: with_target(cfg, catalogue, own)) if own else shown_samples
    prepared = prepare(targeted(cfg), choose).on_device()
    folder = run_folder("explain", prepared.config)
    with holding(folder):
        explain(prepared, folder, bool(own))
    return folder


def shown_samples(cfg: DictConfig, catalogue: Catalogue) -> Sequence[Sample]:
    """Return the first samples that an evaluation would take, ``task.pictures`` of them."""
    return with_target(cfg, catalogue, choose_samples(cfg, catalogue)[: cfg.task.pictures])


def targeted(cfg: DictConfig) -> DictConfig:
    """Return the configuration with ``task.target``, if there is one, as the class that the explainer explains."""
    if cfg.task.target is None:
        return cfg
    changed = cfg.copy()
    changed.explainer.target = "label"
    return changed


def with_target(cfg: DictConfig, catalogue: Catalogue, samples: Sequence[Sample]) -> Sequence[Sample]:
    """Return samples with ``task.target``, if there is one, as their label.

    Raises:
        InputError: the network has no such class.
    """
    if cfg.task.target is None:
        return samples
    label = label_of(cfg.task.target, catalogue.class_names, "task.target")
    return [replace(sample, label=label) for sample in samples]


def explained_before(cfg: DictConfig) -> Path | None:
    """Return the folder that holds the maps of just the samples that are asked for, whole; None where none does.

    Nothing that the configuration names is imported for that, and no network is built.

    Raises:
        InputError: another process works in the folder, it belongs to another run, or the data cannot be used.
    """
    config = identified(resolved(targeted(cfg)))
    folder = run_folder("explain", config)
    check_folder(folder, config)
    if not (folder / MAPS).is_file():
        return None
    _, samples = chosen_samples(cfg, shown_samples)
    with holding(folder):
        return folder if shows(folder, [sample.sample_id for sample in samples]) else None


def explain(prepared: Prepared, folder: Path, own: bool) -> None:
    """Write the maps and pictures of the samples into a run folder.

    Args:
        prepared: the task's ingredients.
        folder: of the run.
        own: the samples are photographs of the user's own, whose class nobody said.

    Raises:
        InputError: the folder belongs to another run, or no image can be read.
        IncompleteRun: unreadable images were skipped.
    """
    check_folder(folder, prepared.config)
    samples, names = prepared.samples, prepared.catalogue.class_names
    size = prepared.config["task"]["batch_size"]
    maps = sample_maps(prepared.explainer, prepared.dataset, range(len(samples)), names, size)
    if prepared.config["task"]["target"] is not None:
        maps = named_as_explained(maps, names)
    elif own:
        maps = named_as_predicted(maps, names)
    claim_folder(folder, prepared.config)
    grid = write_pictures(folder, maps, title=prepared.title)
    write_maps(folder, maps)  # last: they say that the folder is whole
    say(f"{len(maps.sample_id)} maps of {network_in_words(prepared.config)}: {grid}")
    skipped = [sample for sample in samples if sample.sample_id not in set(maps.sample_id.tolist())]
    if skipped:
        raise IncompleteRun(
            f"{len(skipped)} of {len(samples)} images were skipped, because they cannot be read ({skipped[0].path})"
        )


def configured_for_photographs(cfg: DictConfig) -> DictConfig:
    """Return the configuration for photographs of the user's own, which need no dataset.

    Raises:
        InputError: the label is to be explained, which nobody said, or the network cannot be used.
    """
    if cfg.explainer.target == "label" and cfg.task.target is None:
        raise InputError(
            "explainer.target=label: nobody said which class task.images are of, use predicted or task.target=CLASS"
        )
    if is_to_be_trained(cfg):
        explained_network(cfg, read_catalogue(cfg))
    if cfg.model.name == "demo":
        say("warning: the demo network knows drawn birds only; model=resnet50_imagenet knows photographs")
    return without_dataset(cfg)


def shows(folder: Path, sample_ids: Sequence[str]) -> bool:
    """Say whether a folder holds the maps of just these samples, whole."""
    try:
        return list(read_maps(folder).sample_id) == list(sample_ids)
    except InputError:
        return False


def photographs(images: ListConfig | str | None) -> tuple[Sample, ...]:
    """Return files of the user's own as samples; their label is not known and not used (``target: predicted``).

    Raises:
        InputError: a file does not exist.
    """
    paths = [images] if isinstance(images, str) else list(images or [])
    missing = [path for path in paths if not Path(path).is_file()]
    if missing:
        raise InputError(f"task.images: there is no file {missing[0]}")
    return tuple(Sample(f"{index}-{Path(path).stem}", Path(path), 0, "test") for index, path in enumerate(paths))


def network_in_words(config: Mapping[str, Any]) -> str:
    """Return which network explained itself: "model=demo (best.ckpt)"."""
    model = config["model"]
    weights = model["checkpoint"] or model["weights"] or "its constructor's weights"
    return f"model={model['name']} ({weights})"


def named_as_explained(maps: Maps, class_names: Sequence[str]) -> Maps:
    """Return the maps of a class that ``task.target`` names, under its name and the predicted one's."""
    names = [
        f"explained: {class_names[label]}, predicted: {class_names[predicted]}"
        for label, predicted in zip(maps.label, maps.predicted, strict=True)
    ]
    return replace(maps, class_name=np.array(names))


def named_as_predicted(maps: Maps, class_names: Sequence[str]) -> Maps:
    """Return the maps of photographs whose class nobody said, under the predicted one's name."""
    names = np.array([f"predicted: {class_names[index]}" for index in maps.predicted])
    return replace(maps, label=maps.predicted, class_name=names)
