"""Attribution maps of a few samples with what a figure needs beside them, in one file."""

import tokenize
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from relsplit.bench.configuration.identity import Identity
from relsplit.bench.runs.folder import read_config
from relsplit.errors import InputError
from relsplit.files import replacing

MAPS = "maps.npz"
_RUN, _CODE = "run", "code"
"""Beside the maps in their file: the hash of the run that they belong to, and a digest of the user's own code."""
OF_DAMAGE = (
    OSError,
    ValueError,
    KeyError,
    EOFError,
    AttributeError,
    MemoryError,
    RuntimeError,
    SyntaxError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What NumPy raises on a damaged file: a header may ask for more than any machine has, or for a password, or be no
literal of Python's."""


@dataclass(frozen=True)
class Maps:
    """Explained samples, N of them, in the network's input coordinates.

    Attributes:
        sample_id: (N,) identifiers.
        image: (N, H, W, 3) uint8, RGB.
        map: (N, H, W) float, as it is scored (after channel reduction and heat quantization).
        region: (N, H, W) bool, the object's mask, or its box; all False where the data set has neither.
        label: (N,) ground-truth class.
        predicted: (N,) class with the highest score.
        probability: (N,) softmax probability of the explained class.
        class_name: (N,) name of the ground-truth class; where another class plays a part, every part and its class,
            a line each (see :func:`relsplit.bench.explain.sample_maps.in_words`).
    """

    sample_id: npt.NDArray[np.str_]
    image: npt.NDArray[np.uint8]
    map: npt.NDArray[np.floating]
    region: npt.NDArray[np.bool_]
    label: npt.NDArray[np.integer]
    predicted: npt.NDArray[np.integer]
    probability: npt.NDArray[np.floating]
    class_name: npt.NDArray[np.str_]


def write_maps(folder: Path, maps: Maps, code: str) -> Path:
    """Write ``maps.npz`` atomically into the folder of a run.

    Args:
        folder: of the run.
        maps: of samples of it.
        code: digest of the user's own code that they were made with, see
            :func:`relsplit.bench.runs.provenance.own_code`.
    """
    path = folder / MAPS
    content: dict[str, Any] = {field.name: getattr(maps, field.name) for field in fields(Maps)}
    content |= {_RUN: np.array(Identity(read_config(folder)).hash), _CODE: np.array(code)}
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **content)
    return path


def read_maps(folder: Path) -> Maps:
    """Read ``maps.npz``.

    Raises:
        InputError: the folder has none, or it is damaged, or of another run than the folder.
    """
    path = folder / MAPS
    if not path.is_file():
        raise InputError(f"{folder} has no {MAPS}: explain its samples first")
    try:
        with np.load(path, allow_pickle=False) as content:
            maps = Maps(**{field.name: content[field.name] for field in fields(Maps)})
            run = str(content[_RUN])
    except OF_DAMAGE as error:
        reason = " ".join(str(error).split())[:80]
        raise InputError(f"{path} is damaged ({reason}): delete it and explain its samples again") from error
    if run != Identity(read_config(folder)).hash:
        raise InputError(f"{path} is of another run than {folder}: delete it and explain its samples again")
    if len({len(getattr(maps, field.name)) for field in fields(Maps)}) != 1 or maps.map.shape != maps.region.shape:
        raise InputError(f"{path} is damaged (parts of different size): delete it and explain its samples again")
    return maps


def keeps_maps(folder: Path) -> bool:
    """Say whether there is a file of maps in a run folder."""
    return (folder / MAPS).is_file()


def kept_maps(folder: Path) -> int:
    """Return how many samples' maps a run folder keeps; 0 where the file is missing, damaged or of another run."""
    try:
        with np.load(folder / MAPS, allow_pickle=False) as content:
            is_own = str(content[_RUN]) == Identity(read_config(folder)).hash
            return len(content["sample_id"]) if is_own else 0
    except OF_DAMAGE:
        return 0


def are_made_with(folder: Path, code: str) -> bool:
    """Say whether the ``maps.npz`` of a folder, which can be read, was made with this code; see :func:`write_maps`."""
    with np.load(folder / MAPS, allow_pickle=False) as content:
        return _CODE in content and str(content[_CODE]) == code


def joined(parts: Sequence[Maps]) -> Maps:
    """Return maps of several batches as one."""
    return Maps(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in Maps.__dataclass_fields__})


def chosen(maps: Maps, positions: Sequence[int]) -> Maps:
    """Some of the samples.

    Raises:
        InputError: none of the positions exists.
    """
    there = [position for position in positions if position < len(maps.sample_id)]
    if not there:
        raise InputError(f"only {len(maps.sample_id)} samples were explained, the figure shows {list(positions)}")
    return Maps(**{field.name: getattr(maps, field.name)[there] for field in fields(Maps)})
