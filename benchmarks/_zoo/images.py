"""One network of each family of timm."""

from collections.abc import Iterator
from pathlib import Path

import timm
import torch
from timm.data.config import resolve_data_config

from _zoo.case import Case, Family
from _zoo.vision import at_two_sizes

NAMES = (Path(__file__).parent / "timm.txt").read_text().split()


def _classifier(name: str) -> Iterator[Case]:
    torch.manual_seed(0)
    network = timm.create_model(name, pretrained=False)
    return at_two_sizes(network, resolve_data_config({}, model=network)["input_size"][-1])


FAMILIES = {
    "timm": Family(
        "timm",
        "One network of each family, a small one, at two image sizes where it takes two.",
        NAMES,
        _classifier,
        ("torch", "timm"),
    )
}
