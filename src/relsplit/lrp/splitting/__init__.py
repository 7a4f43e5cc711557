"""How relevance is divided where a skip connection meets its residual branch, a file each, given by name or as object.

A file registers a class without arguments with ``@SPLITTINGS.register(name)``; all files of this folder are found by
themselves, and a file outside it counts when it is imported.
"""

from collections.abc import Callable

from relsplit.lrp.splitting.splitting import Splitting
from relsplit.registry import Registry

SPLITTINGS: Registry[Callable[[], Splitting]] = Registry("split", __name__)
