"""Weights that a library has under a name, with the way in which images are prepared for them."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torchvision
from hydra.utils import get_object
from torch import Tensor

from relsplit.bench.configuration.parts import Named
from relsplit.bench.configuration.settings import Dataset, Model
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


def named_preprocessing(model: Model) -> Preprocessing | None:
    """Return what the weights that a model names were trained with; None where no library says so."""
    weights = model.weights
    if weights is None or Path(weights).is_file():
        return None
    if model.import_path == TIMM:
        from timm.data.config import resolve_data_config

        found = resolve_data_config({}, pretrained_cfg=_timm_config(model, weights).to_dict())
        side = int(found["input_size"][-1])
        resize = math.floor(side / found["crop_pct"])
        return Preprocessing(resize, side, tuple(found["mean"]), tuple(found["std"]), str(found["interpolation"]))
    transform = _torchvision_entry(model, weights).transforms()
    return Preprocessing(
        int(transform.resize_size[0]),
        int(transform.crop_size[0]),
        tuple(transform.mean),
        tuple(transform.std),
        str(transform.interpolation.value),
    )


def checkpoint_preprocessing(path: Path, interpolation: str) -> Preprocessing | None:
    """Return what the network of a checkpoint was trained with; None where the file is not there or does not say it.

    Args:
        path: of the checkpoint.
        interpolation: of the resizing, which no checkpoint says.
    """
    said = read_checkpoint(path).get("preprocessing") if path.is_file() else None
    try:
        mean, std = (tuple(float(value) for value in said[key]) for key in ("mean", "std"))  # type: ignore[index]
        return Preprocessing(int(said["resize"]), int(said["image_size"]), mean, std, interpolation)  # type: ignore[index]
    except (KeyError, TypeError, ValueError):
        return None


def check_preprocessing(model: Model, dataset: Dataset) -> str | None:
    """Compare how a dataset prepares its images with what the network's weights expect.

    Returns:
        A line where the size or the interpolation differs, which a network copes with more or less, or where a file of
        the user's does not say what it expects; None where all is the same, or the parameters are random.

    Raises:
        InputError: mean or std differ, with which the network sees pictures of other colours.
    """
    interpolation = str(dataset.transform.arguments.get("interpolation", "bilinear"))
    if model.checkpoint is None:
        expected = named_preprocessing(model)
    else:
        expected = checkpoint_preprocessing(Path(model.checkpoint), interpolation)
    if expected is None:
        return _prepared_as_configured(model, dataset)
    for key, wanted, given in (("mean", expected.mean, dataset.mean), ("std", expected.std, dataset.std)):
        if any(abs(a - b) > _TOLERANCE for a, b in zip(given, wanted, strict=True)):
            raise InputError(
                f"model={model.name}: its weights expect images normalised with {key} {_typed(wanted)}, but "
                f"dataset.{key} is {_typed(given)}: say {expected.overrides()}"
            )
    prepared = (dataset.resize, dataset.image_size, interpolation)
    if prepared != (expected.resize, expected.image_size, expected.interpolation):
        return (
            f"warning: the weights of model={model.name} are meant for images resized to {expected.resize} "
            f"({expected.interpolation}) and cut to {expected.image_size}, not {prepared[0]} ({prepared[2]}) and "
            f"{prepared[1]}: say {expected.overrides()}"
        )
    return None


def _prepared_as_configured(model: Model, dataset: Dataset) -> str | None:
    """What is done to images of a network whose file does not say it; other colours would pass in silence."""
    file = model.checkpoint or model.weights
    if file is None or not Path(file).is_file():
        return None
    return (
        f"model={model.name}: {file} does not say how images are prepared: they are resized to {dataset.resize}, cut "
        f"to {dataset.image_size} and normalised with mean {_typed(dataset.mean)} and std {_typed(dataset.std)}; where "
        "it was trained with others, say dataset.resize, image_size, mean and std"
    )


def named_state(constructor: Named, weights: str) -> dict[str, Tensor]:
    """Return weights by their name, downloaded once.

    Args:
        constructor: of the network that they are of, one of torchvision's or timm's.
        weights: their name.

    Raises:
        InputError: there are none of this name, or they cannot be downloaded.
    """
    return (_timm_state if constructor.import_path == TIMM else _torchvision_state)(constructor, weights)


def _torchvision_entry(constructor: Named, weights: str) -> Any:
    function = get_object(constructor.import_path)
    try:
        known = torchvision.models.get_model_weights(function)
    except ValueError as error:
        raise InputError(
            f"model.weights={weights}: no such file, and torchvision has no weights for {constructor.import_path}; "
            "give the path of a file"
        ) from error
    if weights not in known.__members__:
        raise InputError(
            f"model.weights={weights}: unknown; torchvision has {', '.join(known.__members__)} "
            f"for {function.__name__}; name one of them or a file"
        )
    return known[weights]


def _torchvision_state(constructor: Named, weights: str) -> dict[str, Tensor]:
    entry = _torchvision_entry(constructor, weights)
    try:
        state: dict[str, Tensor] = entry.get_state_dict(progress=True, check_hash=True)
    except InputError:  # weights that are installed, not downloaded
        raise
    except Exception as error:  # torch meets a damaged file with a dozen unrelated types
        cache = Path(torch.hub.get_dir()) / "checkpoints" / Path(entry.url).name
        if cache.exists():
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InputError(
                f"model.weights={weights}: {cache} cannot be read ({reason}); delete it, and it is downloaded again"
            ) from error
        raise InputError(
            f"model.weights={weights}: download failed ({error}); put {entry.url} at {cache} or give model.weights=FILE"
        ) from error
    return state


def _timm_config(constructor: Named, weights: str) -> Any:
    import timm

    name = constructor.arguments["model_name"]
    if weights != PRETRAINED:
        raise InputError(f"model.weights={weights}: give {PRETRAINED} (timm's own), null or the path of a file")
    found = timm.get_pretrained_cfg(name)
    if found is None or not found.has_weights:
        raise InputError(f"model.name={name}: timm has no pretrained weights of this name")
    return found


def _timm_state(constructor: Named, weights: str) -> dict[str, Tensor]:
    import timm

    _timm_config(constructor, weights)
    name = constructor.arguments["model_name"]
    try:
        state: dict[str, Tensor] = timm.create_model(name, pretrained=True).state_dict()
    except Exception as error:  # of whatever client timm fetches with
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"model.weights={PRETRAINED}: timm cannot fetch {name} ({reason}); give model.weights=FILE"
        ) from error
    return state


def _typed(values: Any) -> str:
    return "[" + ",".join(f"{value:g}" for value in values) + "]"
