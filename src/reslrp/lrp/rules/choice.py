"""Which rule a layer gets: one for all, by name, or by depth."""

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Protocol, runtime_checkable

from reslrp.errors import InputError
from reslrp.lrp.rules.alpha_beta import AlphaBeta
from reslrp.lrp.rules.epsilon import Epsilon
from reslrp.lrp.rules.gamma import Gamma
from reslrp.lrp.rules.rule import Rule
from reslrp.lrp.rules.z_plus import ZPlus


@dataclass(frozen=True)
class Place:
    """Where a layer stands: its module's path, and how many residual additions the graph has before it."""

    path: str
    residuals_before: int


@runtime_checkable
class RuleChoice(Protocol):
    """Chooses a rule for every layer."""

    def rule_at(self, place: Place) -> Rule:
        """Return the rule of the layer at ``place``."""


@dataclass(frozen=True)
class Everywhere:
    """One rule for all layers."""

    rule: Rule

    def rule_at(self, place: Place) -> Rule:
        return self.rule


@dataclass(frozen=True)
class Mixture:
    """``lower`` up to the ``blocks``-th residual block, ``upper`` after it.

    The paper's Table C: z+ up to the eighth Bottleneck, epsilon after it.
    """

    lower: Rule
    upper: Rule
    blocks: int = 8

    def rule_at(self, place: Place) -> Rule:
        return self.lower if place.residuals_before < self.blocks else self.upper


@dataclass(frozen=True)
class ByName:
    """The rule of the first pattern that the layer's path matches.

    A pattern is a path ("layer4.2.conv1"), a path's beginning ("layer4") or a wildcard ("layer?.*.conv2", "*").
    """

    rules: Mapping[str, Rule]

    def rule_at(self, place: Place) -> Rule:
        for pattern, rule in self.rules.items():
            if fnmatchcase(place.path, pattern) or place.path.startswith(pattern + "."):
                return rule
        raise InputError(
            f"rule: no pattern matches layer '{place.path}': add a last entry '*' with the rule for the rest"
        )


def named_rule(name: str, stabilizer: float) -> Rule:
    """Return the rule called ``name``; the stabiliser is the z+ denominators' (for epsilon: its epsilon, if not 0)."""
    if name in ("z_plus", "alpha1_beta0"):
        return ZPlus(stabilizer)
    if name == "epsilon":
        return Epsilon(stabilizer) if stabilizer else Epsilon()
    if name == "gamma":
        return Gamma(stabilizer=stabilizer)
    if name == "alpha2_beta1":
        return AlphaBeta(stabilizer=stabilizer)
    raise InputError(
        f"rule: {name!r} is unknown: use 'z_plus', 'epsilon', 'gamma', 'alpha2_beta1', 'mixture', a rule object, or a "
        "mapping from layer names to these"
    )


def rule_choice(rule: "str | Rule | RuleChoice | Mapping[str, str | Rule]", stabilizer: float) -> RuleChoice:
    """Understand LRP's ``rule`` option."""
    if rule == "mixture":
        return Mixture(named_rule("z_plus", stabilizer), named_rule("epsilon", stabilizer))
    if isinstance(rule, str):
        return Everywhere(named_rule(rule, stabilizer))
    if isinstance(rule, Mapping):
        return ByName({key: named_rule(r, stabilizer) if isinstance(r, str) else r for key, r in rule.items()})
    if isinstance(rule, RuleChoice):
        return rule
    if isinstance(rule, Rule):
        return Everywhere(rule)
    raise InputError(f"rule: a {type(rule).__name__} has no 'propagate' method: see reslrp.lrp.rules.rule.Rule")
