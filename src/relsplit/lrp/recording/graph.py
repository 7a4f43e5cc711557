"""Autograd's graph of what is recorded, for relevance that is to be differentiated.

A recorder sees operations as the network calls them because autograd, which would take some of them apart, is left out.
Where a graph is asked for it is let in again for as long as one operation is carried out: what is recorded is the same
with a graph as without, and so are the numbers.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import reduce
from operator import or_
from typing import Any

import torch

_Key = torch._C.DispatchKey
# The last one is where views and writes in place are noted, which autograd's graph of them rests on.
_KEYS = (_Key.AutogradFunctionality, _Key.AutogradOther, _Key.AutogradNestedTensor, _Key.ADInplaceOrView)


def left_out() -> Any:
    """Return a context manager within which this thread's operations pass autograd by."""
    return torch._C._ExcludeDispatchKeyGuard(reduce(or_, map(torch._C.DispatchKeySet, _KEYS)))


@contextmanager
def let_in() -> Iterator[None]:
    """Within, this thread's operations are noted by autograd, wherever it was left out."""
    before = [torch._C._dispatch_tls_is_dispatch_key_excluded(key) for key in _KEYS]
    for key in _KEYS:
        torch._C._dispatch_tls_set_dispatch_key_excluded(key, False)
    try:
        yield
    finally:
        for key, was in zip(_KEYS, before, strict=True):
            torch._C._dispatch_tls_set_dispatch_key_excluded(key, was)
