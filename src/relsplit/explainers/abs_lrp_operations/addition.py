"""Sums of activations, or of an activation and a constant."""

from typing import Any

from torch import Tensor

from relsplit.explainers.abs_lrp_operations import ABS_OPERATIONS
from relsplit.explainers.abs_lrp_operations.contributions import Contributions, of_sum
from relsplit.explainers.abs_lrp_operations.sharing import share
from relsplit.lrp.recording.again import Again
from relsplit.lrp.recording.call import Call


@ABS_OPERATIONS.register("add")
def addition(call: Call) -> Any:
    """Summands share by their positive parts; a constant takes nothing."""
    given, recorder, again = call.given(), call.recorder, Again(call, call.sources)
    scaled = [(given["self"], 1), (given["other"], given.get("alpha", 1))]
    scaled = [(summand, factor) for summand, factor in scaled if call.step(summand) is not None]
    factors = [factor for _, factor in scaled]
    if len(scaled) == 2:
        first, second = (step.index for _, step in call.sources)
        recorder.facts.residuals.append(recorder.ancestry.residual(first, second, recorder.path(), call.name))

    def contributions(*values: Tensor) -> Contributions:
        summands = [value * factor for value, factor in zip(values, factors, strict=True)]
        return of_sum(summands, again(values))

    return share(call, [summand for summand, _ in scaled], contributions)
