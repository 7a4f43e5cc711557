"""From a configuration to what every task that explains images needs: samples, network, explainer, all checked."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from torch import nn

from relsplit.data.catalogue import Catalogue, Sample
from relsplit.data.dataset import EvaluationDataset
from relsplit.data.manifest import read_manifest
from relsplit.data.sampling import class_balanced, most_balanced
from relsplit.errors import InputError
from relsplit.runs.identity import identified
from relsplit.tasks.setup.build import build
from relsplit.tasks.setup.catalogue import read_catalogue
from relsplit.tasks.setup.configuration import explainer_title, resolved
from relsplit.tasks.setup.explained_network import explained_network, labelled_as_learned
from relsplit.tasks.setup.explanation import ConfiguredExplainer
from relsplit.tasks.setup.lightning import chosen_device
from relsplit.tasks.setup.terminal import say


@dataclass(frozen=True)
class Prepared:
    """A task's ingredients.

    Attributes:
        config: the configuration as plain containers, with what identifies the run.
        catalogue: the dataset.
        samples: those that are to be explained, in order.
        dataset: the same as network inputs.
        network: to be explained, in eval mode, on the CPU until it is moved.
    """

    config: dict[str, Any]
    catalogue: Catalogue
    samples: tuple[Sample, ...]
    dataset: EvaluationDataset
    network: nn.Module

    @cached_property
    def explainer(self) -> ConfiguredExplainer:
        """The configured explainer of the network."""
        return ConfiguredExplainer(self.config, self.network)

    @property
    def title(self) -> str:
        """What is explained by what, in words."""
        return f"{explainer_title(self.config)} on {self.config['dataset']['name']}"

    def on_device(self) -> "Prepared":
        """Move the network to the configured device.

        Raises:
            InputError: the device is unknown or not to be had on this machine.
        """
        self.network.to(chosen_device(self.config["device"]))
        return self


Choose = Callable[[DictConfig, Catalogue], Sequence[Sample]]
"""Chooses the samples of a task."""


def choose_samples(cfg: DictConfig, catalogue: Catalogue) -> Sequence[Sample]:
    """Return the test samples that a manifest names, or a seeded class-balanced choice.

    Raises:
        InputError: the manifest cannot be used, or there are no samples.
    """
    candidates = catalogue.split("test")
    if cfg.dataset.manifest is not None:
        return read_manifest(Path(cfg.dataset.manifest), candidates, catalogue)
    if not candidates:
        raise InputError(f"dataset={cfg.dataset.name} has no test images: an evaluation explains these")
    sampling, most = cfg.dataset.sampling, most_balanced(candidates)
    if cfg.num_samples > most:
        say(f"num_samples={cfg.num_samples}: {most} of the test images are taken, equally many of every class")
    number = min(cfg.num_samples, most)
    return class_balanced(candidates, number, sampling.seed, sampling.style, catalogue.class_names)


def prepare(cfg: DictConfig, choose: Choose = choose_samples) -> Prepared:
    """Read the dataset, choose the samples and load the network.

    The dataset is read before a model is trained for it, as that takes minutes and wrong input ends the run.

    Args:
        cfg: the composed configuration.
        choose: chooses the samples.

    Raises:
        InputError: the configuration, the data or the model cannot be used; nothing was written.
    """
    catalogue = labelled_as_learned(cfg, read_catalogue(cfg))
    samples = tuple(choose(cfg, catalogue))
    dataset = EvaluationDataset(
        samples, build(resolved(cfg.dataset.transform), "dataset.transform"), cfg.dataset.on_bad_image
    )
    network = explained_network(cfg, catalogue)
    return Prepared(identified(resolved(cfg)), catalogue, samples, dataset, network)
