"""LRP for residual networks: the class that users hold."""

from collections.abc import Mapping
from typing import Any, Literal, overload

import torch
from torch import Tensor, nn

from relsplit.checks import checked_images, checked_target
from relsplit.errors import InputError
from relsplit.lrp.compiler import compile_model
from relsplit.lrp.graph.tracing import trace
from relsplit.lrp.leaf_rules import LeafRule, leaf_rules
from relsplit.lrp.operations.context import MaxPool, Options
from relsplit.lrp.precision import full_precision
from relsplit.lrp.program import Program
from relsplit.lrp.rules.choice import first_layer_rule, rule_choice
from relsplit.lrp.rules.quotient import Stabilizer
from relsplit.lrp.rules.rule import Rule, RuleChoice
from relsplit.lrp.splitting import SPLITTINGS
from relsplit.lrp.splitting.splitting import Splitting
from relsplit.lrp.start import Start, start_relevance
from relsplit.lrp.walk import ForwardPass
from relsplit.options import checked_options


@checked_options
class LRP:
    """Layer-wise relevance propagation with conservation for residual networks.

    One forward pass and one walk back over the traced model give the relevance of every pixel; per image its sum is the
    probability of the explained class. The model is never changed, neither its weights, nor its mode, nor its hooks.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from relsplit import LRP
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
        >>> images = torch.rand(2, 3, 16, 16)
        >>> relevance, sums = LRP(model, split="ratio").attribute(images, return_sums=True)
        >>> relevance.shape
        torch.Size([2, 3, 16, 16])
        >>> torch.allclose(relevance.sum((1, 2, 3)), sums["output"])  # the probability of the predicted class
        True

    Args:
        model: any network that torch.fx can trace, taking (N, C, H, W) images and returning (N, classes) scores.
        split: relevance splitting where a skip connection meets its residual branch: "ratio" (paper Eq. 5, the proposed
            method), "symmetric" (Eq. 4), "proportional" (signed shares, as plain LRP does) or an object with a method
            ``share(skip, branch)``, see :class:`relsplit.lrp.splitting.splitting.Splitting`.
        include_identity: whether a skip connection without layers receives relevance (True: the proposed method).
        rule: "z_plus", "epsilon", "gamma", "alpha2_beta1", "mixture" (z+ up to the eighth residual block, epsilon after
            it; paper Table C), a rule object, or a mapping from layer names (or their beginnings, or wildcards) to
            these.
        input_rule: the first layer's rule: "ones" (the image is replaced by ones, as in the released code),
            "activation" (z+ with the pixels themselves), "flat", or a rule object such as ``ZBox(low, high)``.
        max_pool: "average" over the pool's own windows (conserves), "winner" (conserves), or "average_2x2" (the
            released code's 2x2 windows, which lose relevance on 3x3 pools).
        stabilizer: added to denominators. 0 is strictly conservative: units without any positive contribution spread
            their relevance evenly over their receptive field. 1e-5 is the released code: such relevance is lost.
        start: the relevance of the explained class: its "probability", its "logit", or "one".
        leaves: rules for modules (by class, or its name) or functions that cannot be traced: "pass",
            "input_times_gradient", "block" or a function (see ``relsplit.lrp.leaf_rules``).

    Raises:
        InputError: an option that does not exist.
        UnsupportedModelError: the model cannot be traced, or holds an operation without a rule (named in the message).
    """

    forward_equivalents = 3.0
    """The forward pass, and per layer the normalisation z = W+ h and the transposed W+."""

    def __init__(
        self,
        model: nn.Module,
        split: "str | Splitting" = "ratio",
        include_identity: bool = True,
        *,
        rule: "str | Rule | RuleChoice | Mapping[str, str | Rule]" = "z_plus",
        input_rule: "str | Rule" = "ones",
        max_pool: MaxPool = "average",
        stabilizer: Stabilizer = 0.0,
        start: Start = "probability",
        leaves: "Mapping[Any, str | LeafRule] | None" = None,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise InputError(f"model: expected a torch.nn.Module, not {type(model).__name__}")
        self.model = model
        self.start = start
        self._options = Options(
            rules=rule_choice(rule, stabilizer),
            input_rule=first_layer_rule(input_rule, stabilizer),
            splitting=_splitting(split),
            include_identity=include_identity,
            max_pool=max_pool,
            leaves=leaf_rules(leaves or {}, model),
        )
        self._compiled = self._compile()

    @overload
    def attribute(
        self, images: Tensor, target: "int | Tensor | None" = ..., return_sums: Literal[False] = ...
    ) -> Tensor: ...

    @overload
    def attribute(
        self, images: Tensor, target: "int | Tensor | None" = ..., *, return_sums: Literal[True]
    ) -> tuple[Tensor, dict[str, Tensor]]: ...

    def attribute(
        self, images: Tensor, target: "int | Tensor | None" = None, return_sums: bool = False
    ) -> "Tensor | tuple[Tensor, dict[str, Tensor]]":
        """Return the relevance of every pixel.

        Args:
            images: (N, C, H, W), floating point, on the model's device.
            target: the explained class: None (the predicted one), one index, or a tensor of N indices.
            return_sums: also return the relevance sums inside the network.

        Returns:
            (N, C, H, W), detached, float32 (float64 for float64 images); with ``return_sums`` also a dictionary of (N,)
            sums: "input", the input of every residual block by the name of its module ("layer1.0", ...), and "output",
            the relevance that the map started from. Each equals "output" where relevance is conserved.

        Raises:
            InputError: images that are no tensor, not of rank 4, not floating point, empty, with NaN or infinite
                pixels, or that the model does not accept; a model whose output is not (N, classes); a target that
                is no class.
        """
        images = checked_images(images)
        program = self._program()
        # Inference tensors cannot take part in the transposes of index maps, and their version is not counted.
        with torch.inference_mode(False), torch.no_grad():
            images = images.clone() if images.is_inference() else images
            run = _forward(program, _fast_layout(images))
            logits = run.output
            if not isinstance(logits, Tensor) or logits.dim() != 2 or logits.shape[0] != images.shape[0]:
                found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
                raise InputError(
                    f"model: its output must be class scores of shape ({images.shape[0]}, classes), not {found}"
                )
            if not torch.isfinite(logits).all():
                raise InputError("model: it answers with NaN or infinite scores: check its weights and the images")
            # Relevance is carried in float32 at least: half precision would not conserve it.
            logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
            count, classes = logits.shape
            chosen = logits.argmax(1) if target is None else checked_target(target, count, classes, logits.device)
            relevance = start_relevance(logits, chosen, self.start)
            with torch.autocast(images.device.type, enabled=False), full_precision(images.device):
                result, sums = run.propagate(relevance, with_sums=return_sums)
                result = result.contiguous()
        return (result, sums) if return_sums else result

    def _program(self) -> Program:
        """Return the compiled model, compiled anew if modules have been exchanged since."""
        modules, program = self._compiled
        if modules != tuple(self.model.modules()):
            self._compiled = self._compile()
            program = self._compiled[1]
        return program

    def _compile(self) -> tuple[tuple[nn.Module, ...], Program]:
        modules = tuple(self.model.modules())
        return modules, compile_model(trace(self.model, self._options.leaves), self._options)


def _forward(program: Program, images: Tensor) -> ForwardPass:
    try:
        return ForwardPass(program, images)
    except InputError:
        raise
    except (RuntimeError, ValueError, IndexError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        reason = " ".join(str(error).split())[:300]
        raise InputError(
            f"images: the model does not accept shape {tuple(images.shape)}, {images.dtype} on {images.device}: "
            f"{reason}"
        ) from error


def _fast_layout(images: Tensor) -> Tensor:
    """On a CPU, channels last in memory: measured a tenth faster from three images on, and slower for fewer."""
    if images.device.type != "cpu" or len(images) < 3:
        return images
    return images.contiguous(memory_format=torch.channels_last)


def _splitting(split: "str | Splitting") -> Splitting:
    if isinstance(split, str):
        return SPLITTINGS.get(split, hint=", or an object with a method share(skip, branch)")()
    if not hasattr(split, "share"):
        raise InputError(f"split: a {type(split).__name__} has no method share(skip, branch)")
    return split
