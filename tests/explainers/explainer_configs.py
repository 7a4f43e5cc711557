"""Every explainer of conf/explainer, built as the tasks build it."""

from functools import cache
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import nn

CONF = Path(__file__).parents[2] / "conf"
STORED = "stored"  # explains nothing by itself
NAMES = sorted(path.stem for path in (CONF / "explainer").glob("*.yaml") if path.stem != STORED)
# The same method with less work, for the time these tests may take.
QUICK = {
    "integrated_gradients": {"steps": 4},
    "smooth_grad": {"samples": 3},
    "rise": {"samples": 12},
    "measured_pyramid": {"levels": 3},
}


@cache
def configuration(name: str) -> dict[str, Any]:
    """Resolved content of ``explainer=name``, and of the map that it chooses."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        chosen = compose("config", overrides=[f"explainer={name}"])
        content = [OmegaConf.to_container(chosen[group], resolve=True) for group in ("explainer", "map")]
    explainer, map_options = content
    assert isinstance(explainer, dict)
    return {**{str(key): value for key, value in explainer.items()}, "map": map_options}


def method_options(name: str) -> dict[str, Any]:
    """What the method is constructed with: all but the name, the explained class and the map."""
    return {key: value for key, value in configuration(name).items() if key not in ("name", "target", "map")}


def distinct_methods() -> list[str]:
    """One name for each method with its options: configurations that only differ in the map are one method."""
    methods: dict[str, str] = {}
    for name in NAMES:
        methods.setdefault(repr(method_options(name)), name)
    return sorted(methods.values())


def build(name: str, network: nn.Module) -> Any:
    """The explainer of ``explainer=name`` for ``network``, with QUICK's options."""
    options = method_options(name)
    for method, quick in QUICK.items():
        if name.startswith(method):
            options |= quick
    return instantiate(options, model=network)
