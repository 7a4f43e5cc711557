"""Propagation rules of linear layers, a file each; what is named here can be given by name in ``LRP(rule=...)``.

A file registers ``(stabilizer) -> rule`` with ``@RULES.register(name)``; all files of this folder are found by
themselves, and a file outside it counts when it is imported.
"""

from collections.abc import Callable

from relsplit.lrp.rules.rule import Rule, RuleChoice
from relsplit.registry import Registry

RULES: Registry[Callable[[float], Rule | RuleChoice]] = Registry("rule", __name__)
