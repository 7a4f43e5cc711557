"""A model compiled for propagation."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import fx

from relsplit.lrp.operations.operation import Operation


@dataclass(frozen=True)
class Program:
    """A model compiled for propagation. Immutable, so that threads can share it."""

    image: fx.Node
    output: fx.Node
    operations: Mapping[fx.Node, Operation]
    partial: frozenset[fx.Node]  # nodes with entries that may not depend on the image
    releases: Mapping[fx.Node, tuple[fx.Node, ...]]  # what is read for the last time at a node
    conserves: bool  # every step promises to pass on what it received
    places: Mapping[fx.Node, tuple[str, ...]]  # names of the places where the relevance sum is reported
