"""Which samples of the configured dataset an evaluation takes."""

from collections.abc import Sequence
from pathlib import Path

from relsplit.bench.configuration.settings import Settings
from relsplit.bench.data.catalogue import Catalogue, Sample
from relsplit.bench.data.manifest import read_manifest
from relsplit.bench.data.sampling import candidates, class_balanced, most_balanced
from relsplit.bench.machine.terminal import say
from relsplit.errors import InputError


def choose_samples(settings: Settings, catalogue: Catalogue) -> Sequence[Sample]:
    """Return the test samples that a manifest names, or a seeded class-balanced choice.

    Raises:
        InputError: the manifest cannot be used, or there are no samples.
    """
    images = catalogue.split("test")
    if settings.dataset.manifest is not None:
        return read_manifest(Path(settings.dataset.manifest), images, catalogue)
    sampling = settings.dataset.sampling
    possible = candidates(images, sampling.seed, sampling.style)
    if not possible:
        raise InputError(f"dataset={settings.dataset.name} has no test images: an evaluation explains these")
    most = most_balanced(possible)
    if settings.num_samples > most:
        say(f"num_samples={settings.num_samples}: {most} of the test images are taken, equally many of every class")
    number = min(settings.num_samples, most)
    return class_balanced(images, number, sampling.seed, sampling.style, catalogue.class_names)
