"""The samples that a task explains, with the labels that their classes have in the network."""

from collections.abc import Callable, Sequence

from relsplit.bench.configuration.settings import Settings
from relsplit.bench.data.catalogue import Catalogue, Sample
from relsplit.bench.data.configured import read_catalogue
from relsplit.bench.data.samples import choose_samples
from relsplit.bench.models.learned_classes import labelled_as_learned

Choose = Callable[[Settings, Catalogue], Sequence[Sample]]
"""Chooses the samples of a task."""


def chosen_samples(settings: Settings, choose: Choose = choose_samples) -> tuple[Catalogue, tuple[Sample, ...]]:
    """Read the dataset, its labels in the network's order, and choose the samples.

    Raises:
        InputError: the dataset or the checkpoint cannot be used, or there are no samples.
    """
    catalogue = labelled_as_learned(settings, read_catalogue(settings.dataset))
    return catalogue, tuple(choose(settings, catalogue))
