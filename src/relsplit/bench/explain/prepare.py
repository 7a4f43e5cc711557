"""From a configuration to what every task that explains images needs: samples, network, explainer, all checked."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import get_args

from torch import nn

from relsplit.bench.configuration.identity import Identity
from relsplit.bench.configuration.settings import Settings
from relsplit.bench.data.catalogue import Catalogue, Sample
from relsplit.bench.data.dataset import EvaluationDataset
from relsplit.bench.data.labels import label_of
from relsplit.bench.data.samples import choose_samples
from relsplit.bench.explain.explained_network import explained_network
from relsplit.bench.explain.explanation import ConfiguredExplainer
from relsplit.bench.explain.samples import Choose, chosen_samples
from relsplit.bench.explain.stored_maps import StoredMaps
from relsplit.bench.machine.device import chosen_device
from relsplit.lrp.evidence import Rivals


@dataclass(frozen=True)
class Prepared:
    """A task's ingredients.

    Attributes:
        settings: of the task.
        identity: of the settings, now that the network has been trained where it was missing.
        catalogue: the dataset.
        samples: those that are to be explained, in order.
        dataset: the same as network inputs.
        network: to be explained, in eval mode, on the CPU until it is moved.
    """

    settings: Settings
    identity: Identity
    catalogue: Catalogue
    samples: tuple[Sample, ...]
    dataset: EvaluationDataset
    network: nn.Module

    @cached_property
    def explainer(self) -> ConfiguredExplainer:
        """The configured explainer of the network.

        Raises:
            InputError: an option cannot be used, or stored maps are not of these samples.
        """
        explainer = ConfiguredExplainer(self.settings, self.network)
        if isinstance(explainer.explainer, StoredMaps):
            explainer.explainer.check([sample.sample_id for sample in self.samples])
        return explainer

    @property
    def title(self) -> str:
        """What is explained by what, in words."""
        return self.settings.title

    def on_device(self) -> "Prepared":
        """Move the network to the configured device.

        Raises:
            InputError: the device is unknown or not to be had on this machine.
        """
        self.network.to(chosen_device(self.settings.device))
        return self


def prepare(settings: Settings, choose: Choose = choose_samples) -> Prepared:
    """Read the dataset, choose the samples and load the network.

    The dataset is read before a model is trained for it, as that takes minutes and wrong input ends the run.

    Args:
        settings: of the task.
        choose: chooses the samples.

    Raises:
        InputError: the configuration, the data or the model cannot be used; nothing was written.
    """
    return prepare_all([settings], choose)[0]


def prepare_all(several: Sequence[Settings], choose: Choose = choose_samples) -> list[Prepared]:
    """As :func:`prepare`, for settings that differ in the explainer alone: they share dataset and network.

    Args:
        several: settings of tasks.
        choose: chooses the samples.

    Raises:
        InputError: see :func:`prepare`.
    """
    first = several[0]
    catalogue, samples = chosen_samples(first, choose)
    transform = first.dataset.transform.build("dataset.transform")
    dataset = EvaluationDataset(samples, transform, first.dataset.on_bad_image)
    network = explained_network(first, catalogue, several[1:])
    several = [with_rival_by_number(each, catalogue) for each in several]
    return [Prepared(each, each.identity(), catalogue, samples, dataset, network) for each in several]


def with_rival_by_number(settings: Settings, catalogue: Catalogue) -> Settings:
    """Return the settings with the class that ``explainer.against`` names by its number.

    Raises:
        InputError: it names neither a class nor a kind of rivals.
    """
    against = settings.explainer.arguments.get("against")
    if not isinstance(against, str) or against in get_args(Rivals):
        return settings
    document = settings.document()
    document["explainer"]["against"] = label_of(against, catalogue.class_names, "explainer.against")
    return Settings.of(document)
