"""Which samples of the configured dataset a task explains."""

from collections.abc import Callable, Sequence
from pathlib import Path

from omegaconf import DictConfig

from relsplit.bench.data.catalogue import Catalogue, Sample
from relsplit.bench.data.configured import labelled_as_learned, read_catalogue
from relsplit.bench.data.manifest import read_manifest
from relsplit.bench.data.sampling import candidates, class_balanced, most_balanced
from relsplit.bench.machine.terminal import say
from relsplit.errors import InputError

Choose = Callable[[DictConfig, Catalogue], Sequence[Sample]]
"""Chooses the samples of a task."""


def choose_samples(cfg: DictConfig, catalogue: Catalogue) -> Sequence[Sample]:
    """Return the test samples that a manifest names, or a seeded class-balanced choice.

    Raises:
        InputError: the manifest cannot be used, or there are no samples.
    """
    images = catalogue.split("test")
    if cfg.dataset.manifest is not None:
        return read_manifest(Path(cfg.dataset.manifest), images, catalogue)
    sampling = cfg.dataset.sampling
    possible = candidates(images, sampling.seed, sampling.style)
    if not possible:
        raise InputError(f"dataset={cfg.dataset.name} has no test images: an evaluation explains these")
    most = most_balanced(possible)
    if cfg.num_samples > most:
        say(f"num_samples={cfg.num_samples}: {most} of the test images are taken, equally many of every class")
    number = min(cfg.num_samples, most)
    return class_balanced(images, number, sampling.seed, sampling.style, catalogue.class_names)


def chosen_samples(cfg: DictConfig, choose: Choose = choose_samples) -> tuple[Catalogue, tuple[Sample, ...]]:
    """Read the dataset, its labels in the network's order, and choose the samples.

    Raises:
        InputError: the dataset or the checkpoint cannot be used, or there are no samples.
    """
    catalogue = labelled_as_learned(cfg, read_catalogue(cfg))
    return catalogue, tuple(choose(cfg, catalogue))
