"""Protocols of the insertion and deletion metric: one small file each, plus one in conf/protocol.

A file registers a class with ``@PROTOCOLS.register(name)``; all files of this folder are found by themselves, and a
file outside it counts when it is imported.
"""

from collections.abc import Callable

from relsplit.metrics.insertion_deletion.protocols.protocol import Protocol
from relsplit.registry import Registry

PROTOCOLS: Registry[Callable[..., Protocol]] = Registry("protocol", __name__)
