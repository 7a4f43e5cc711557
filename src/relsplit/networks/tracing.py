"""A network as a graph of what its modules and functions are called with (torch.fx), without touching anything global.

``torch.fx.symbolic_trace`` replaces ``nn.Module.__call__`` for as long as it traces, for every network of the process:
another thread's predictions end in a NameError meanwhile. Here only the classes of a copy's own modules are replaced.
"""

from typing import Any

from torch import Tensor, fx, nn

from relsplit.networks.views import shared_copy


def traced(network: nn.Module, kind: type[fx.GraphModule] = fx.GraphModule) -> fx.GraphModule:
    """Return the calls that ``network`` makes, with activations out of place.

    A trace knows nothing of what a forward pass makes of values, types and modes: whoever uses it has to compare its
    answer with the network's.

    Args:
        network: in eval mode; it is not changed, and its weights are shared.
        kind: of graph to return.

    Raises:
        Exception: any; the network's own code is run.
    """
    root = shared_copy(network)
    kinds = [(module, type(module)) for module in root.modules()]
    tracer = _Tracer()
    try:
        for module, plain in kinds:
            module.__class__ = tracer.recorded(plain)
        graph = tracer.trace(root)
    finally:
        for module, plain in kinds:
            module.__class__ = plain
    return kind(root, graph, class_name=type(network).__name__)


class _Tracer(fx.Tracer):
    """fx's tracer, for a tree of modules whose classes record their calls by themselves."""

    def __init__(self) -> None:
        super().__init__()
        self._recorded: dict[type[nn.Module], type[nn.Module]] = {}
        self._parameters: dict[str, fx.Proxy] = {}

    def recorded(self, kind: type[nn.Module]) -> type[nn.Module]:
        """Return a class like ``kind`` whose calls, and whose parameters where they are read, become nodes."""
        if kind not in self._recorded:
            call: Any = kind.__call__
            read: Any = kind.__getattr__

            def record(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
                if module not in (self.submodule_paths or {}):  # a slice of a Sequential, which holds ones that are
                    return call(module, *args, **kwargs)
                return self.call_module(module, lambda *a, **k: call(module, *a, **k), args, kwargs)

            def read_recorded(module: nn.Module, name: str) -> Any:
                return self.getattr(name, read(module, name), self._parameters)

            contents = {"__call__": record, "__getattr__": read_recorded, "__module__": kind.__module__}
            self._recorded[kind] = type(kind.__name__, (kind,), contents)
        return self._recorded[kind]

    def trace(self, root: Any, concrete_args: Any = None) -> fx.Graph:
        self.root = root
        self.root_module_name = type(root).__name__
        self.submodule_paths = {module: name for name, module in root.named_modules()}
        self.graph = fx.Graph()
        self.tensor_attrs = {
            value: f"{path}.{name}" if path else name
            for path, module in root.named_modules()
            for name, value in vars(module).items()
            if isinstance(value, Tensor)
        }
        images = self.create_proxy("placeholder", "images", (), {})
        output = type(root).__mro__[1].__call__(root, images)
        self.create_node("output", "output", (self.create_arg(output),), {})
        self.submodule_paths = None
        return self.graph
