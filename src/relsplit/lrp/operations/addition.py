"""Two activations meet: relevance is split between them (paper Eq. 4-5)."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from relsplit.lrp.operations import OPERATIONS
from relsplit.lrp.operations.context import Context
from relsplit.lrp.operations.operation import Evaluate, Operation, Passed, Values, minus, supported, times
from relsplit.lrp.operations.pass_through import pass_through
from relsplit.lrp.promise import promises_conservation
from relsplit.lrp.splitting.splitting import Splitting


@dataclass(frozen=True)
class Addition:
    """A skip connection meets its residual branch."""

    node: fx.Node
    evaluate: Evaluate
    skip: fx.Node
    branch: fx.Node
    negated: fx.Node | None  # the summand that is subtracted
    splitting: Splitting | None  # None: everything to the branch

    @property
    def sources(self) -> tuple[fx.Node, ...]:
        return (self.skip, self.branch)

    @property
    def conserves(self) -> bool:
        return self.splitting is None or promises_conservation(self.splitting)

    def forward(self, values: Values) -> tuple[Any, Any]:
        args, kwargs = values.arguments(self.node)
        skip, branch = values.of(self.skip), values.of(self.branch)
        share: Tensor | float = 0.0
        if self.splitting is not None:
            wide = torch.promote_types(torch.promote_types(skip.dtype, branch.dtype), torch.float32)
            signed_skip = (-skip if self.negated is self.skip else skip).to(wide)
            signed_branch = (-branch if self.negated is self.branch else branch).to(wide)
            share = self.splitting.share(*torch.broadcast_tensors(signed_skip, signed_branch))
        share = self._supported_share(share, values)
        return self.evaluate(*args, **kwargs), (share, skip.shape, branch.shape)

    def _supported_share(self, share: Tensor | float, values: Values) -> Tensor | float:
        """Where one summand is constant (a padded channel, a class token), the other one takes all."""
        skip, branch = values.support(self.skip), values.support(self.branch)
        if branch is not None:
            share = torch.where(branch > 0, share, 1.0)
        return share if skip is None else torch.where(skip > 0, share, 0.0)

    def backward(self, saved: Any, relevance: Tensor) -> Passed:
        share, skip_shape, branch_shape = saved
        if isinstance(share, float) and share == 0:
            return [(self.branch, relevance.sum_to_size(branch_shape))]
        down_skip = times(share, relevance) if getattr(self.splitting, "returns_new", False) else relevance * share
        down_branch = minus(relevance, down_skip)
        return [(self.skip, down_skip.sum_to_size(skip_shape)), (self.branch, down_branch.sum_to_size(branch_shape))]

    def support(self, values: Values) -> Tensor | None:
        skip, branch = values.support(self.skip), values.support(self.branch)
        return None if skip is None or branch is None else supported(torch.maximum(skip, branch) > 0)


@OPERATIONS.register("add")
@OPERATIONS.register("subtract")
def addition(node: fx.Node, context: Context) -> Operation | None:
    """Build the addition of two activations; with a constant summand relevance passes through."""
    residual = context.facts.residuals.get(node)
    if residual is None:
        return pass_through(node, context)
    negated = node.args[1] if context.kind(node) == "subtract" else None
    split = context.options.include_identity or not residual.identity
    return Addition(
        node,
        context.evaluate(node),
        residual.skip,
        residual.branch,
        negated if isinstance(negated, fx.Node) else None,
        context.options.splitting if split else None,
    )
