"""From a configuration to what every task that explains images needs: samples, network, explainer, all checked."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from omegaconf import DictConfig
from torch import nn

from relsplit.bench.configuration.build import build
from relsplit.bench.configuration.configuration import resolved, run_title
from relsplit.bench.data.catalogue import Catalogue, Sample
from relsplit.bench.data.dataset import EvaluationDataset
from relsplit.bench.data.samples import Choose, choose_samples, chosen_samples
from relsplit.bench.explain.explained_network import explained_network
from relsplit.bench.explain.explanation import ConfiguredExplainer
from relsplit.bench.machine.device import chosen_device
from relsplit.bench.runs.identity import identified


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
        return run_title(self.config)

    def on_device(self) -> "Prepared":
        """Move the network to the configured device.

        Raises:
            InputError: the device is unknown or not to be had on this machine.
        """
        self.network.to(chosen_device(self.config["device"]))
        return self


def prepare(cfg: DictConfig, choose: Choose = choose_samples) -> Prepared:
    """Read the dataset, choose the samples and load the network.

    The dataset is read before a model is trained for it, as that takes minutes and wrong input ends the run.

    Args:
        cfg: the composed configuration.
        choose: chooses the samples.

    Raises:
        InputError: the configuration, the data or the model cannot be used; nothing was written.
    """
    return prepare_all([cfg], choose)[0]


def prepare_all(cfgs: Sequence[DictConfig], choose: Choose = choose_samples) -> list[Prepared]:
    """As :func:`prepare`, for configurations that differ in the explainer alone: they share dataset and network.

    Args:
        cfgs: the composed configurations.
        choose: chooses the samples.

    Raises:
        InputError: see :func:`prepare`.
    """
    cfg = cfgs[0]
    catalogue, samples = chosen_samples(cfg, choose)
    dataset = EvaluationDataset(
        samples, build(resolved(cfg.dataset.transform), "dataset.transform"), cfg.dataset.on_bad_image
    )
    network = explained_network(cfg, catalogue, cfgs[1:])
    return [Prepared(identified(resolved(each)), catalogue, samples, dataset, network) for each in cfgs]
