"""What the curves of a run's samples showed the network at each of their points."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from omegaconf import OmegaConf

from relsplit.baseline import BaselineImage
from relsplit.bench.configuration.composition import resolved
from relsplit.bench.configuration.identity import without_identity
from relsplit.bench.configuration.settings import Settings
from relsplit.bench.data.transforms import Normalization
from relsplit.bench.explain.sample_maps import pixels
from relsplit.bench.runs.folder import read_config
from relsplit.bench.runs.maps import Maps
from relsplit.metrics.insertion_deletion.bands import Bands, bands_of
from relsplit.metrics.insertion_deletion.protocols.protocol import Protocol
from relsplit.metrics.order import ordered


@dataclass(frozen=True)
class MaskedPoints:
    """Masks and baselines of N samples.

    Attributes:
        bands: of each sample, by the side of the blocks that move as one; those of single pixels are always there.
        patch: side of the blocks, by protocol.
        baseline: what pixels are replaced with, by protocol: (1, 1, 1, 3) uint8 where one colour serves all samples,
            else (N, H, W, 3).
    """

    bands: list[dict[int, Bands]]
    patch: Mapping[str, int]
    baseline: Mapping[str, npt.NDArray[np.uint8]]


def masked_points(run: Path, maps: Maps, levels: npt.NDArray[np.integer]) -> MaskedPoints:
    """Return how the protocols of a finished evaluation mask its images.

    Args:
        run: folder of the evaluation.
        maps: of samples of it.
        levels: (N, H, W), see :func:`relsplit.metrics.insertion_deletion.bands.bands_of`.

    Raises:
        InputError: the folder's configuration is damaged, or names a protocol that is there no more.
    """
    settings = Settings.of(resolved(OmegaConf.create(without_identity(read_config(run)))))
    protocols: dict[str, Protocol] = {name: each.build(f"protocol.{name}") for name, each in settings.protocol.items()}
    scored = ordered(torch.from_numpy(maps.map))
    bands: list[dict[int, Bands]] = [{} for _ in maps.sample_id]
    for patch in sorted({1, *(protocol.patch for protocol in protocols.values())}):
        own = {name: protocol for name, protocol in protocols.items() if protocol.patch == patch}
        found = bands_of(scored, own, patch, torch.from_numpy(levels) if patch == 1 else None)
        for each, of_sample in zip(bands, found, strict=True):
            each[patch] = of_sample
    mean, std = settings.dataset.mean, settings.dataset.std
    normalization = Normalization(mean, std)
    images = torch.from_numpy(maps.image).permute(0, 3, 1, 2).float().div(255)
    images = images.sub(normalization.mean).div(normalization.std)
    return MaskedPoints(
        bands,
        {name: protocol.patch for name, protocol in protocols.items()},
        {
            name: pixels(BaselineImage(protocol.baseline, mean, std).of(images), normalization)
            for name, protocol in protocols.items()
        },
    )
