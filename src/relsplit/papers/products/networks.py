"""The same methods on one of a paper's networks, whatever that is for the dataset at hand."""

from collections.abc import Mapping, Sequence
from typing import Any

from relsplit.errors import InputError


def on_network(
    network: str,
    dataset: str,
    networks: Mapping[str, Mapping[str, Sequence[str]]],
    methods: Sequence[Mapping[str, Any]],
    controls: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """Return the rows of a table or figure about one network.

    Args:
        network: the paper's name of it.
        dataset: that is measured.
        networks: by dataset and network, the overrides that choose it.
        methods: each with ``label``, ``overrides`` and, where it does not work on all of them, ``networks``.
        controls: names of explainers, shown below a rule.

    Raises:
        InputError: the paper says of no network for the dataset.
    """
    chosen = networks.get(dataset, {}).get(network)
    if chosen is None:
        raise InputError(f"this paper's tables are made of dataset={', '.join(networks)}, not {dataset}")
    rows = [
        {"label": method["label"], "overrides": [*method["overrides"], *chosen]}
        for method in methods
        if network in method.get("networks", [network])
    ]
    rows += [
        {"label": name.replace("_", " "), "overrides": [f"explainer={name}", *chosen], "control": True}
        for name in controls
    ]
    return rows
