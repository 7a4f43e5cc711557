"""How relevance passes attention ``softmax(Q K^T) V``, given by name or as object.

A file registers a function without arguments that returns an :class:`relsplit.lrp.attention.treatment.Attention` with
``@ATTENTIONS.register(name)``; all files of this folder are found by themselves, and a file outside it counts when it
is imported.
"""

from collections.abc import Callable

from relsplit.lrp.attention.treatment import Attention
from relsplit.registry import Registry

ATTENTIONS: Registry[Callable[[], Attention]] = Registry("attention", __name__)
