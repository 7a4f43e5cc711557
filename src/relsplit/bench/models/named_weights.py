"""Weights that a library has under a name, with the way in which images are prepared for them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torchvision
from hydra.utils import get_object
from torch import Tensor

from relsplit.bench.models.checkpoint import read_checkpoint
from relsplit.errors import InputError

TIMM = "timm.create_model"
"""``model._target_`` of timm's networks."""
PRETRAINED = "pretrained"
"""``model.weights`` of timm's networks: their name says which."""
_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Preprocessing:
    """How images become inputs of a pretrained network; the keys of a dataset's configuration.

    Attributes:
        resize: short side after resizing, in pixels.
        image_size: side of the centre crop, in pixels.
        mean: per channel, of pixel values in [0, 1].
        std: see ``mean``.
        interpolation: of the resizing; ``dataset.transform.interpolation``.
    """

    resize: int
    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str

    def overrides(self) -> str:
        """Return what to type so that a dataset's images are prepared in this way."""
        return (
            f"dataset.resize={self.resize} dataset.image_size={self.image_size} "
            f"'dataset.mean={_typed(self.mean)}' 'dataset.std={_typed(self.std)}'"
            + ("" if self.interpolation == "bilinear" else f" +dataset.transform.interpolation={self.interpolation}")
        )


def named_preprocessing(model: Mapping[str, Any]) -> Preprocessing | None:
    """Return what the weights of a model's configuration were trained with; None where no library says so.

    Args:
        model: with ``_target_`` and ``weights``; ``model_name`` for timm.
    """
    weights = model["weights"]
    if weights is None or Path(str(weights)).is_file():
        return None
    if model["_target_"] == TIMM:
        from timm.data.config import resolve_data_config

        found = resolve_data_config({}, pretrained_cfg=_timm_config(model).to_dict())
        side = int(found["input_size"][-1])
        resize = math.floor(side / found["crop_pct"])
        return Preprocessing(resize, side, tuple(found["mean"]), tuple(found["std"]), str(found["interpolation"]))
    transform = _torchvision_entry(model).transforms()
    return Preprocessing(
        int(transform.resize_size[0]),
        int(transform.crop_size[0]),
        tuple(transform.mean),
        tuple(transform.std),
        str(transform.interpolation.value),
    )


def checkpoint_preprocessing(model: Mapping[str, Any], interpolation: str) -> Preprocessing | None:
    """Return what the network of ``model.checkpoint`` was trained with; None where the file does not say it.

    Args:
        model: with ``checkpoint``.
        interpolation: of the resizing, which no checkpoint says.
    """
    path = Path(str(model["checkpoint"]))
    said = read_checkpoint(path).get("preprocessing") if path.is_file() else None
    try:
        mean, std = (tuple(float(value) for value in said[key]) for key in ("mean", "std"))  # type: ignore[index]
        return Preprocessing(int(said["resize"]), int(said["image_size"]), mean, std, interpolation)  # type: ignore[index]
    except (KeyError, TypeError, ValueError):
        return None


def check_preprocessing(model: Mapping[str, Any], dataset: Mapping[str, Any]) -> str | None:
    """Compare how a dataset prepares its images with what the network's weights expect.

    Args:
        model: see :func:`named_preprocessing`.
        dataset: with ``resize``, ``image_size``, ``mean``, ``std`` and ``transform``.

    Returns:
        A warning where the size or the interpolation differs, which a network copes with more or less; None where all
        is the same or nothing is known.

    Raises:
        InputError: mean or std differ, with which the network sees pictures of other colours.
    """
    interpolation = str(dict(dataset.get("transform") or {}).get("interpolation", "bilinear"))
    if model["checkpoint"] is None:
        expected = named_preprocessing(model)
    else:
        expected = checkpoint_preprocessing(model, interpolation)
    if expected is None:
        return None
    for key, wanted in (("mean", expected.mean), ("std", expected.std)):
        given = [float(value) for value in dataset[key]]
        if any(abs(a - b) > _TOLERANCE for a, b in zip(given, wanted, strict=True)):
            raise InputError(
                f"model={model['name']}: its weights expect images normalised with {key} {_typed(wanted)}, but "
                f"dataset.{key} is {_typed(given)}: say {expected.overrides()}"
            )
    prepared = (dataset["resize"], dataset["image_size"], interpolation)
    if prepared != (expected.resize, expected.image_size, expected.interpolation):
        return (
            f"warning: the weights of model={model['name']} are meant for images resized to {expected.resize} "
            f"({expected.interpolation}) and cut to {expected.image_size}, not {prepared[0]} ({prepared[2]}) and "
            f"{prepared[1]}: say {expected.overrides()}"
        )
    return None


def named_state(model: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the weights that ``model.weights`` names, downloaded once.

    Raises:
        InputError: there are none of this name, or they cannot be downloaded.
    """
    return _timm_state(model) if model["_target_"] == TIMM else _torchvision_state(model)


def _torchvision_entry(model: Mapping[str, Any]) -> Any:
    weights = str(model["weights"])
    constructor = get_object(model["_target_"])
    try:
        known = torchvision.models.get_model_weights(constructor)
    except ValueError as error:
        raise InputError(
            f"model.weights={weights}: no such file, and torchvision has no weights for {model['_target_']}; "
            "give the path of a file"
        ) from error
    if weights not in known.__members__:
        raise InputError(
            f"model.weights={weights}: unknown; torchvision has {', '.join(known.__members__)} "
            f"for {constructor.__name__}; name one of them or a file"
        )
    return known[weights]


def _torchvision_state(model: Mapping[str, Any]) -> dict[str, Tensor]:
    entry = _torchvision_entry(model)
    try:
        state: dict[str, Tensor] = entry.get_state_dict(progress=True, check_hash=True)
    except InputError:  # weights that are installed, not downloaded
        raise
    except Exception as error:  # torch meets a damaged file with a dozen unrelated types
        cache = Path(torch.hub.get_dir()) / "checkpoints" / Path(entry.url).name
        if cache.exists():
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InputError(
                f"model.weights={model['weights']}: {cache} cannot be read ({reason}); delete it, and it is downloaded "
                "again"
            ) from error
        raise InputError(
            f"model.weights={model['weights']}: download failed ({error}); put {entry.url} at {cache} or give "
            "model.weights=FILE"
        ) from error
    return state


def _timm_config(model: Mapping[str, Any]) -> Any:
    import timm

    if model["weights"] != PRETRAINED:
        raise InputError(
            f"model.weights={model['weights']}: give {PRETRAINED} (timm's own), null or the path of a file"
        )
    found = timm.get_pretrained_cfg(model["model_name"])
    if found is None or not found.has_weights:
        raise InputError(f"model.name={model['model_name']}: timm has no pretrained weights of this name")
    return found


def _timm_state(model: Mapping[str, Any]) -> dict[str, Tensor]:
    import timm

    _timm_config(model)
    try:
        state: dict[str, Tensor] = timm.create_model(model["model_name"], pretrained=True).state_dict()
    except Exception as error:  # of whatever client timm fetches with
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"model.weights={PRETRAINED}: timm cannot fetch {model['model_name']} ({reason}); give model.weights=FILE"
        ) from error
    return state


def _typed(values: Any) -> str:
    return "[" + ",".join(f"{value:g}" for value in values) + "]"
