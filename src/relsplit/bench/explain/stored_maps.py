"""Maps that were made elsewhere, as an explainer: an evaluation scores them beside its own."""

import csv
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from relsplit.checks import as_tensor, finite_maps
from relsplit.errors import InputError
from relsplit.options import checked_options


@checked_options
class StoredMaps:
    """The maps of a file, for the samples of a run.

    Which map is whose says the sample's identifier: the column ``sample_id`` of a run's ``manifest.csv``.

    Args:
        model: unused: nobody knows which network the maps are of.
        maps: a ``.npz`` with ``sample_id`` (M,) and ``map``, or a ``.npy`` with the maps alone: (M, H, W) or
            (M, C, H, W), real, of any size; each is enlarged to its image.
        manifest: for a ``.npy``, the manifest whose lines are its rows; unused for a ``.npz``.

    Raises:
        InputError: a file cannot be read, does not say whose its maps are, or holds no maps.
    """

    forward_equivalents = 0.0
    """The network is not used."""

    def __init__(self, model: nn.Module, maps: str, manifest: str | None = None) -> None:
        self._path = Path(maps)
        content = _read(self._path)
        if isinstance(content, np.ndarray):
            if manifest is None:
                raise InputError(
                    f"explainer.maps: {maps} does not say whose its maps are: give explainer.manifest=FILE, the "
                    "manifest whose lines are its rows, or a .npz with sample_id and map"
                )
            names, self._maps = _sample_ids(Path(manifest)), content
        else:
            lacking = [name for name in ("sample_id", "map") if name not in content]
            if lacking:
                raise InputError(f"explainer.maps: {maps} has no {lacking[0]}, only {', '.join(content) or 'nothing'}")
            names, self._maps = [str(name) for name in content["sample_id"].ravel()], content["map"]
        if self._maps.ndim not in (3, 4) or 0 in self._maps.shape:
            raise InputError(f"explainer.maps: {maps} holds {self._maps.shape}, not maps (M, H, W) or (M, C, H, W)")
        if self._maps.dtype.kind not in "fiub" or not np.isfinite(self._maps).all():
            raise InputError(
                f"explainer.maps: {maps} holds {self._maps.dtype} with NaN or infinity, or no real numbers"
            )
        if len(names) != len(self._maps):
            source = maps if manifest is None or not isinstance(content, np.ndarray) else manifest
            raise InputError(
                f"explainer.maps: {source} names {len(names)} samples for {len(self._maps)} maps of {maps}"
            )
        self._rows = {name: row for row, name in enumerate(names)}
        if len(self._rows) != len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise InputError(f"explainer.maps: {maps} has several maps of sample {twice}")

    def check(self, sample_ids: Sequence[str]) -> None:
        """Check that there is a map of each sample.

        Raises:
            InputError: there is not.
        """
        lacking = [name for name in sample_ids if name not in self._rows]
        if lacking:
            raise InputError(
                f"explainer.maps: {self._path} has no map of {len(lacking)} of {len(sample_ids)} samples "
                f"({lacking[0]}): each needs one, under the sample_id that manifest.csv gives it"
            )

    def of_samples(self, sample_ids: Sequence[str]) -> Tensor:
        """Return the maps of samples, (N, H, W) or (N, C, H, W).

        Raises:
            InputError: one of them has no map.
        """
        self.check(sample_ids)
        return finite_maps(as_tensor(self._maps[[self._rows[name] for name in sample_ids]]))

    def attribute(self, images: Tensor, target: Tensor | int | None = None) -> Tensor:
        """There are maps of samples, not of images.

        Raises:
            InputError: always.
        """
        raise InputError(
            "explainer=stored has maps of the run's samples alone: leave out the metrics that explain other images or "
            "networks"
        )


def _read(path: Path) -> Any:
    """A mapping for an archive, an array for a file of one."""
    if not path.is_file():
        raise InputError(f"explainer.maps: there is no file {path}")
    try:
        content = np.load(path, allow_pickle=False)
        if isinstance(content, np.ndarray):
            return content
        with content:
            return {name: content[name] for name in content.files if name in ("sample_id", "map")}
    except (OSError, ValueError, EOFError, MemoryError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())[:80]
        raise InputError(f"explainer.maps: {path} is no .npy or .npz of numbers ({reason})") from error


def _sample_ids(manifest: Path) -> list[str]:
    """What a manifest calls its samples, in order."""
    if not manifest.is_file():
        raise InputError(f"explainer.manifest: there is no file {manifest}")
    with manifest.open(encoding="utf-8", errors="backslashreplace", newline="") as file:
        lines = csv.DictReader(file)
        if "sample_id" not in (lines.fieldnames or ()):
            raise InputError(f"explainer.manifest: {manifest} has no column sample_id, so it is no manifest")
        return [line["sample_id"] for line in lines]
