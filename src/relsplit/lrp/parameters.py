"""Relevance of a network's parameters: what passes every entry of a weight on relevance's way back.

The weights of a layer together have the relevance that passes the layer (with its bias, where the rule counts that
among the contributions); those of an embedding what arrives at the vectors that were looked up.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from relsplit.errors import InputError
from relsplit.lrp.layers.linear_layer import LinearLayer
from relsplit.lrp.layers.masked_weights import relevance_of_weights
from relsplit.lrp.recording.holders import geometry_of
from relsplit.lrp.rules.rule import Rule


class ParameterRelevance:
    """Gathers what passes the weights and biases of layers, all samples and all calls of a layer together.

    A weight is known by the parameter whose memory it is, or is a view of (a part, a transpose); one that is computed
    in the call (weight normalisation, pruning) by the name of its module and "weight".

    Args:
        network: whose module tree ran.
        names: of the parameters that are asked for; None: all that relevance passes.

    Raises:
        InputError: there is no such parameter.
    """

    def __init__(self, network: nn.Module, names: Sequence[str] | None) -> None:
        self._modules = dict(network.named_modules())
        self._parameters = dict(network.named_parameters())
        self._by_storage: dict[int, list[str]] = {}
        for name, parameter in self._parameters.items():
            self._by_storage.setdefault(parameter.untyped_storage()._cdata, []).append(name)
        self._wanted = None if names is None else list(names)
        for name in self._wanted or ():
            path, _, own = name.rpartition(".")
            if name not in self._parameters and self._own(path, own) is None:
                top = ", ".join(dict.fromkeys(known.partition(".")[0] for known in self._parameters))
                raise InputError(f"parameters: the network has no parameter {name!r}: its parameters are in {top}")
        self._found: dict[str, Tensor] = {}

    def propagated(
        self, path: str, rule: Rule, layer: LinearLayer, h: Tensor, relevance: Tensor, **facts: "bool | Tensor | None"
    ) -> Tensor:
        """Return the relevance of a layer's input, see :class:`relsplit.lrp.rules.rule.Rule`, and note its weights'.

        Args:
            path: of the module that the layer ran in.
            rule: of the layer.
            layer: with or without weights.
            h: its input.
            relevance: of its output.
            facts: further arguments of the rule.
        """
        weight = self._name(layer.weight, path, "weight")
        bias = self._name(layer.bias, path, "bias")
        if weight is None and bias is None:
            return rule.propagate(layer, h, relevance, **facts)  # type: ignore[arg-type]
        result, of_weight, of_bias = relevance_of_weights(rule, layer, h, relevance, **facts)  # type: ignore[arg-type]
        if weight is not None and layer.weight is not None:
            self._add(weight, layer.weight, of_weight)
        if bias is not None and layer.bias is not None and of_bias is not None:
            self._add(bias, layer.bias, of_bias)
        return result

    def looked_up(self, path: str, table: Tensor, tokens: Tensor, relevance: Tensor) -> None:
        """Note what arrived at vectors that were looked up.

        Args:
            path: of the module that looked them up.
            table: (V, ...) of all vectors.
            tokens: integers of any shape.
            relevance: of that shape and the vectors'.
        """
        name = self._name(table, path, "weight")
        if name is not None:
            rows = relevance.reshape(tokens.numel(), *table.shape[1:])
            self._add(name, table, relevance.new_zeros(table.shape).index_add_(0, tokens.flatten(), rows))

    def by_name(self) -> dict[str, Tensor]:
        """Return relevance by the names of parameters, each of its parameter's shape, in the network's order.

        Raises:
            InputError: no relevance passes one that was asked for, or any at all.
        """
        if not self._found and self._wanted is None:
            raise InputError(
                "parameters: relevance passes none that has a name: the weights and biases of convolutions, linear "
                "layers and embeddings have some, but not recurrent layers', normalisations' and packed ones"
            )
        for name in self._wanted or ():
            if name not in self._found:
                raise InputError(
                    f"parameters: no relevance passes {name!r}: it passes the weights and biases of convolutions, "
                    "linear layers and embeddings that lie on its way"
                )
        order = self._wanted or sorted(self._found, key=[*self._parameters, *self._found].index)
        return {name: self._found[name] for name in order}

    def _own(self, path: str, name: str) -> Tensor | None:
        """Return a tensor that a module has under a name, a parameter or not."""
        found = getattr(self._modules.get(path), name, None) if name in ("weight", "bias") else None
        return found if isinstance(found, Tensor) else None

    def _name(self, used: Tensor | None, path: str, own: str) -> str | None:
        """Return the name of what a layer used, if it has one and is asked for."""
        if used is None:
            return None
        name = f"{path}.{own}" if path else own
        for known in self._by_storage.get(used.untyped_storage()._cdata, ()):
            begin, size = int(self._parameters[known].storage_offset()), self._parameters[known].numel()
            if begin <= int(used.storage_offset()) < begin + size:
                name = known
                break
        else:
            computed = self._own(path, own)
            if computed is None or computed.numel() != used.numel():
                return None
        return name if self._wanted is None or name in self._wanted else None

    def _add(self, name: str, used: Tensor, relevance: Tensor) -> None:
        parameter = self._parameters.get(name)
        if parameter is not None and parameter.untyped_storage()._cdata == used.untyped_storage()._cdata:
            relevance = _of_whole(parameter, used, relevance)
        else:
            path, _, own = name.rpartition(".")
            computed = self._own(path, own)
            relevance = relevance.reshape(used.shape if computed is None else computed.shape)
        self._found[name] = self._found[name] + relevance if name in self._found else relevance


def _of_whole(parameter: Tensor, view: Tensor, relevance: Tensor) -> Tensor:
    """Return relevance of a view of a parameter as that of the parameter; an entry that is seen twice has the sum."""
    if geometry_of(parameter) == geometry_of(view):
        return relevance
    places = torch.arange(view.untyped_storage().nbytes() // view.element_size(), device=view.device)
    seen = places.as_strided(view.shape, view.stride(), view.storage_offset()).flatten()
    flat = relevance.new_zeros(len(places)).index_add_(0, seen, relevance.flatten())
    return flat.as_strided(parameter.shape, parameter.stride(), parameter.storage_offset()).clone()
