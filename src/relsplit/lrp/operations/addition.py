"""Two activations meet: relevance is split between them (paper Eq. 4-5)."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from relsplit.lrp.operations import OPERATIONS
from relsplit.lrp.operations.context import Context
from relsplit.lrp.operations.operation import Evaluate, Operation, Passed, Values
from relsplit.lrp.operations.pass_through import pass_through
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
        return (self.branch,) if self.splitting is None else (self.skip, self.branch)

    def forward(self, values: Values) -> tuple[Any, Any]:
        args, kwargs = values.arguments(self.node)
        skip, branch = values.of(self.skip), values.of(self.branch)
        share: Tensor | float = 0.0
        if self.splitting is not None:
            wide = torch.promote_types(torch.promote_types(skip.dtype, branch.dtype), torch.float32)
            signed_skip = (-skip if self.negated is self.skip else skip).to(wide)
            signed_branch = (-branch if self.negated is self.branch else branch).to(wide)
            share = self.splitting.share(signed_skip, signed_branch)
        return self.evaluate(*args, **kwargs), (share, skip.shape, branch.shape)

    def backward(self, saved: Any, relevance: Tensor) -> Passed:
        share, skip_shape, branch_shape = saved
        if isinstance(share, float) and share == 0:
            return [(self.branch, relevance.sum_to_size(branch_shape))]
        down_skip = relevance * share
        down_branch = relevance - down_skip
        return [(self.skip, down_skip.sum_to_size(skip_shape)), (self.branch, down_branch.sum_to_size(branch_shape))]


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
