"""What a node of the graph does with relevance on its way back: one file per way, chosen by the node's kind.

A file declares which kinds of nodes it handles with ``@OPERATIONS.register(kind)`` on a function
``(node, context) -> operation``, or None where it cannot handle the node. All files of this folder are found by
themselves.
"""

from collections.abc import Callable

from torch import fx

from relsplit.lrp.operations.context import Context
from relsplit.lrp.operations.operation import Operation
from relsplit.registry import Registry

BuildOperation = Callable[[fx.Node, Context], Operation | None]

OPERATIONS: Registry[BuildOperation] = Registry("operation", __name__)
