"""From a network and a photograph to a map, and to what the map rests on, in one call."""

import importlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from relsplit.attribution import AttributionMap
from relsplit.errors import InputError
from relsplit.explainers.class_evidence import ClassEvidence
from relsplit.explainers.explainer import Explainer
from relsplit.extras import with_extra
from relsplit.files import replacing
from relsplit.networks.shared_network import SharedNetwork

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True)
class Explanation:
    """The map of one image, and what it rests on.

    Attributes:
        relevance: (H, W), on the CPU. Under the default explainer it sums to ``probability``.
        target: the explained class.
        prediction: the class that the network predicts.
        probability: of the explained class.
        gap: distance of the sum of relevance from the probability, as a share of the probability; infinite where that
            is 0.
        image: what the network saw, (H, W, 3) uint8, on the CPU. Where no mean and standard deviation were found to
            undo the normalisation with, it is stretched from its darkest value to its brightest.
        categories: names of the classes, or None.
    """

    relevance: Tensor
    target: int
    prediction: int
    probability: float
    gap: float
    image: Tensor
    categories: Sequence[str] | None = None

    def __str__(self) -> str:
        """Say what is explained, how probable it is and how far the map conserves, in one line."""
        predicted = "as predicted" if self.prediction == self.target else f"predicted: {self._name(self.prediction)}"
        return f"{self._name(self.target)} ({predicted}): p = {self.probability:.4g}, gap {self.gap:.1e}"

    def overlay(self) -> "npt.NDArray[np.uint8]":
        """The image under its map, (H, W, 3) uint8, as :func:`relsplit.pictures.light_overlay` lays it.

        Raises:
            ModuleNotFoundError: matplotlib is not installed; it says how to.
        """
        blended = _of_pictures("relsplit.pictures.overlays").light_overlay(self.image.numpy(), self.relevance.numpy())
        picture: npt.NDArray[np.uint8] = (255 * blended).round().astype("uint8")
        return picture

    def save(self, path: str | Path) -> None:
        """Write the image and, beside it, the image under its map.

        Args:
            path: of the picture; its ending says the format, such as ``.png`` or ``.jpg``.

        Raises:
            ModuleNotFoundError: matplotlib or Pillow is not installed; it says how to.
            OSError: it cannot be written there.
            ValueError: an ending that no format has.
        """
        beside = torch.cat([self.image, torch.as_tensor(self.overlay())], dim=1)
        with replacing(Path(path)) as temporary:
            _of_pictures("PIL.Image").fromarray(beside.numpy()).save(temporary)

    def _name(self, label: int) -> str:
        return f"class {label}" if self.categories is None else f"{self.categories[label]} ({label})"


def explain(
    model: nn.Module,
    image: Any,
    target: int | None = None,
    transform: Callable[[Any], Any] | None = None,
    categories: Sequence[str] | None = None,
    explainer: Explainer | None = None,
) -> Explanation:
    """Explain what a network says of one photograph.

    Args:
        model: any network that LRP explains, on any device; it is left as it was.
        image: a photograph as PIL has it, or a tensor (C, H, W) or (1, C, H, W) as the network takes it.
        target: the class to explain; None: the predicted one.
        transform: makes the network's input (C, H, W) of a photograph. None: networks of timm bring theirs; torchvision
            has it with the weights, ``ResNet50_Weights.DEFAULT.transforms()``.
        categories: names of the classes, such as ``ResNet50_Weights.DEFAULT.meta["categories"]``.
        explainer: of this network; None: :class:`relsplit.explainers.ClassEvidence`, whose map shows what speaks for
            the class and against others, and sums to its probability.

    Returns:
        The map, what it rests on, and pictures of it.

    Raises:
        InputError: the image is none, a photograph comes without a transform, or it or the network cannot be explained.

    Examples:
        >>> from torch import nn
        >>> pooled = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)]
        >>> network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), *pooled)
        >>> explanation = explain(network, torch.rand(3, 32, 32), target=1)
        >>> explanation.relevance.shape, explanation.target, explanation.gap < 1e-5
        (torch.Size([32, 32]), 1, True)
    """
    images, normalisation = _as_input(model, image, transform)
    first = next(model.parameters(), images)
    images = images.to(first.device, first.dtype)
    answer = SharedNetwork(model).call(images).answer()
    classes = answer.classes(target)
    explained = int(classes[0])
    if categories is not None and len(categories) != answer.num_classes:
        raise InputError(f"categories: the network has {answer.num_classes} classes, and {len(categories)} are named")
    attribution = (ClassEvidence(model) if explainer is None else explainer).attribute(images, explained)
    relevance = AttributionMap()(attribution, images.shape[2:])[0].cpu()
    probability = float(answer.probability(classes)[0])
    distance = abs(float(relevance.double().sum()) - probability)
    return Explanation(
        relevance=relevance,
        target=explained,
        prediction=int(answer.predicted[0]),
        probability=probability,
        gap=distance / probability if probability else float("inf"),
        image=_shown(images[0].float().cpu(), normalisation),
        categories=categories,
    )


Normalisation = tuple[Tensor, Tensor]
"""Mean and standard deviation of each channel."""


def _as_input(
    model: nn.Module, image: Any, transform: Callable[[Any], Any] | None
) -> tuple[Tensor, Normalisation | None]:
    """The network's input (1, C, H, W), and how it was normalised, where that is known."""
    if isinstance(image, Tensor):
        if transform is not None:
            raise InputError("transform: it is for photographs; a tensor is taken as the network takes it")
        return _one_image(image, "image"), None
    if not hasattr(image, "convert"):
        raise InputError(
            f"image: expected a photograph of PIL, Image.open(path), or a tensor (C, H, W), not {type(image).__name__}"
        )
    transform = _own_transform(model) if transform is None else transform
    normalisation = _normalisation(transform)
    # Palettes, transparency and CMYK are no colours that a network knows.
    one_channel = normalisation is not None and len(normalisation[0]) == 1
    return _one_image(transform(image.convert("L" if one_channel else "RGB")), "transform"), normalisation


def _one_image(image: object, what: str) -> Tensor:
    if not isinstance(image, Tensor):
        raise InputError(f"{what}: it must give a tensor (C, H, W), not {type(image).__name__}")
    images = image[None] if image.ndim == 3 else image
    if images.ndim != 4 or len(images) != 1 or not images.is_floating_point():
        raise InputError(
            f"{what}: expected one image, a floating point tensor (C, H, W) or (1, C, H, W), not {tuple(image.shape)} "
            f"{image.dtype}"
        )
    return images


def _own_transform(model: nn.Module) -> Callable[[Any], Any]:
    if not hasattr(model, "pretrained_cfg"):
        raise InputError(
            "transform: a photograph needs what makes the network's input of it, as it was trained; with torchvision "
            "transform=ResNet50_Weights.DEFAULT.transforms(), for instance"
        )
    data = importlib.import_module("timm.data")
    transform: Callable[[Any], Any] = data.create_transform(**data.resolve_model_data_config(model), is_training=False)
    return transform


def _normalisation(transform: object) -> Normalisation | None:
    """The last normalisation among the steps of a transform of torchvision or timm."""
    for step in reversed(list(_steps(transform))):
        mean, std = getattr(step, "mean", None), getattr(step, "std", None)
        if mean is not None and std is not None:
            return torch.as_tensor(mean).flatten().float(), torch.as_tensor(std).flatten().float()
    return None


def _steps(transform: object) -> Iterator[object]:
    for step in getattr(transform, "transforms", ()):
        yield from _steps(step)
    yield transform


def _shown(image: Tensor, normalisation: Normalisation | None) -> Tensor:
    """An image (C, H, W) as (H, W, 3) uint8; other than three channels are shown as their mean."""
    if normalisation is None:
        low, high = image.aminmax()
        image = (image - low) / (high - low).clamp(min=torch.finfo(image.dtype).tiny)
    else:
        mean, std = normalisation
        image = image * std[:, None, None] + mean[:, None, None]
    colours = image if len(image) == 3 else image.mean(0, keepdim=True).expand(3, -1, -1)
    return (255 * colours).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).contiguous()


def _of_pictures(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise with_extra(error, "relsplit.pictures") from None
