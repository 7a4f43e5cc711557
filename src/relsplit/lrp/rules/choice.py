"""Understand LRP's options ``rule`` and ``input_rule``: a name, an object, or a mapping from layer names."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import cast

from relsplit.errors import InputError
from relsplit.lrp.rules import RULES, STABILIZERS
from relsplit.lrp.rules.rule import Place, Rule, RuleChoice, reads_output
from relsplit.lrp.rules.z_plus import ZPlus


@dataclass(frozen=True)
class Everywhere:
    """One rule for all layers."""

    rule: Rule

    def rule_at(self, place: Place) -> Rule:
        """Return the rule, wherever the layer stands."""
        return self.rule

    def reads_output_at(self, place: Place) -> bool:
        """Say whether the rule uses what its layer made."""
        return reads_output(self.rule, place)


@dataclass(frozen=True)
class ByName:
    """The rule of the first pattern that the layer's path matches.

    A pattern is a path ("layer4.2.conv1"), a path's beginning ("layer4") or a wildcard ("layer?.*.conv2", "*").
    """

    choices: Mapping[str, RuleChoice]

    def rule_at(self, place: Place) -> Rule:
        """Return the rule of the layer at ``place``.

        Raises:
            InputError: no pattern matches.
        """
        choice = self._choice_at(place)
        if choice is None:
            raise InputError(
                f"rule: no pattern matches layer '{place.path}': add a last entry '*' with the rule for the rest"
            )
        return choice.rule_at(place)

    def reads_output_at(self, place: Place) -> bool:
        """Say whether the rule at ``place``, if it has one, uses what its layer made."""
        choice = self._choice_at(place)
        return choice is not None and reads_output(choice, place)

    def _choice_at(self, place: Place) -> RuleChoice | None:
        return next((choice for pattern, choice in self.choices.items() if _matches(pattern, place.path)), None)


def check_patterns(choice: RuleChoice, paths: Sequence[str]) -> None:
    """Check that every pattern of layer names fits one: what fits none is misspelt.

    Args:
        choice: of a network's rules.
        paths: of the network's modules.

    Raises:
        InputError: a pattern fits no layer.
    """
    for pattern in choice.choices if isinstance(choice, ByName) else ():
        if not any(_matches(pattern, path) for path in paths):
            known = ", ".join(list(dict.fromkeys(path.partition(".")[0] for path in paths))[:12])
            raise InputError(f"rule: no layer is called {pattern!r}: the network has {known}")


def _matches(pattern: str, path: str) -> bool:
    return fnmatchcase(path, pattern) or path.startswith(pattern + ".")


def rule_choice(
    rule: "str | Rule | RuleChoice | Mapping[str, str | Rule | RuleChoice]", stabilizer: float
) -> RuleChoice:
    """Understand the option ``rule``.

    Args:
        rule: a name of :data:`relsplit.lrp.rules.RULES`, a rule, a choice of rules, or a mapping from patterns of layer
            names (see :class:`ByName`) to these.
        stabilizer: added to denominators; for the rule called "epsilon" its epsilon, if not 0.

    Raises:
        InputError: an unknown name, or an object that is no rule.
    """
    if isinstance(rule, str):
        named = _made(RULES.get(rule, hint=", a rule object, or a mapping from layer names to these"), stabilizer)
        return named if isinstance(named, RuleChoice) else Everywhere(named)
    if isinstance(rule, Mapping):
        return ByName({pattern: rule_choice(each, stabilizer) for pattern, each in rule.items()})
    if isinstance(rule, RuleChoice):
        return rule
    return Everywhere(checked_rule("rule", rule))


def first_layer_rule(rule: "str | Rule", stabilizer: float) -> Rule:
    """Understand the option ``input_rule``: "activation" (z+ with the pixels), a name of a rule, or a rule.

    Raises:
        InputError: an unknown name, or an object that is no rule.
    """
    if rule == "activation":
        return ZPlus(stabilizer)
    if isinstance(rule, str):
        make = RULES.find(rule)
        found = None if make is None else _made(make, stabilizer)
        if isinstance(found, Rule):
            return found
        known = ", ".join(name for name in RULES.names() if isinstance(_made(RULES.get(name), stabilizer), Rule))
        raise InputError(f"input_rule must be activation (z_plus with the pixels), {known}, or a rule, not {rule!r}")
    return checked_rule("input_rule", rule)


def _made(make: Callable[..., Rule | RuleChoice], stabilizer: float) -> Rule | RuleChoice:
    """Make what has a name, with LRP's stabiliser unless that is 0: a rule's own default is then right."""
    options = inspect.signature(make).parameters
    for name in STABILIZERS:
        if name in options and (stabilizer or options[name].default is inspect.Parameter.empty):
            return make(**{name: stabilizer})
    return make()


def checked_rule(option: str, rule: object) -> Rule:
    """Return ``rule`` if it is one.

    Raises:
        InputError: it cannot propagate, or does not say whether it conserves relevance.
    """
    if hasattr(rule, "propagate") and hasattr(rule, "conserves"):
        return cast(Rule, rule)  # an isinstance of a protocol takes far longer
    missing = "attribute conserves (True or False)" if hasattr(rule, "propagate") else "method propagate"
    raise InputError(f"{option}: a {type(rule).__name__} has no {missing}: see relsplit.lrp.rules.rule.Rule")
