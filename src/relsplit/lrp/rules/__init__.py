"""Propagation rules of linear layers, a file each; what is named here can be given by name in ``LRP(rule=...)``.

A file registers a class, or a function that returns a rule or a choice of rules, with ``@RULES.register(name)``. It is
called with LRP's ``stabilizer`` where it has an option of that name (or ``epsilon``), unless that is 0 and the option
has a default. All files of this folder are found by themselves, and a file outside it counts when it is imported.
"""

from collections.abc import Callable

from relsplit.lrp.rules.rule import Rule, RuleChoice
from relsplit.registry import Registry

RULES: Registry[Callable[..., Rule | RuleChoice]] = Registry("rule", __name__)

STABILIZERS = ("stabilizer", "epsilon")
"""What rules call what they add to denominators."""
