"""One configuration of each class of explainers."""

from explainer_configs import build, distinct_methods
from small_networks import small_network

TRANSFORMERS = ("attention_rollout", "transformer_attribution")
"""Explainers that need a transformer; theirs takes 64x64 pixels."""


def one_for_each_class(that_look_at_the_network: bool = False) -> list[str]:
    """The name of the first configuration of each class."""
    found: dict[type, str] = {}
    for name in distinct_methods():
        explainer = build(name, small_network(name))
        if explainer.forward_equivalents or not that_look_at_the_network:
            found.setdefault(type(explainer), name)
    return sorted(found.values())


def image_size(name: str) -> int:
    """Pixels along a side that suffice for the network of explainer ``name``."""
    return 64 if name in TRANSFORMERS else 32
