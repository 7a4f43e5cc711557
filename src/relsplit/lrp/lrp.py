"""LRP for residual networks: the class that users hold."""

import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, Literal, TypeVar, overload

import torch
from torch import Tensor, fx, nn

from relsplit.checks import checked_images, checked_target
from relsplit.errors import InputError
from relsplit.lrp.attention import ATTENTIONS
from relsplit.lrp.attention.treatment import Attention
from relsplit.lrp.conservation import TOLERATED, Conservation, Ledger, Observer, Sums, relative_gap
from relsplit.lrp.graph.outputs import OutputChoice
from relsplit.lrp.graph.tracing import UnsupportedModelError
from relsplit.lrp.layers.kept import samples_read_together
from relsplit.lrp.leaf_rules import LeafRule, leaf_rules
from relsplit.lrp.operations.context import MaxPool, Options
from relsplit.lrp.operations.operation import Passed
from relsplit.lrp.program import Program
from relsplit.lrp.programs import Programs
from relsplit.lrp.rules.choice import first_layer_rule, rule_choice
from relsplit.lrp.rules.quotient import Stabilizer
from relsplit.lrp.rules.rule import Rule, RuleChoice
from relsplit.lrp.splitting import SPLITTINGS
from relsplit.lrp.splitting.splitting import Splitting
from relsplit.lrp.stages import ALL, stages
from relsplit.lrp.start import Start, StartFunction, check_finite, computed_start, start_relevance
from relsplit.lrp.walk import ForwardPass
from relsplit.networks.views import eval_view
from relsplit.options import checked_options

Observed = TypeVar("Observed", bound=Observer | None)
Observe = Callable[[Program, Tensor], Observed]
Target = int | Tensor | StartFunction
"""One class, a class for each image, or a function from the output to its relevance."""


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
        model: any network that takes (N, C, H, W) images and returns (N, classes) scores. It is traced by torch.fx
            once; where that fails (control flow, attention modules), torch.export compiles it for each shape of images
            on first use, in seconds.
        split: relevance splitting where a skip connection meets its residual branch: "ratio" (paper Eq. 5, the proposed
            method), "symmetric" (Eq. 4), "proportional" (signed shares, as plain LRP does), "gamma" (signed shares that
            favour the sum's sign) or an object with a method ``share(skip, branch)``, see
            :class:`relsplit.lrp.splitting.splitting.Splitting`.
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
        start: the relevance of the explained class: its "probability", its "logit", or "one"; or a function from the
            scores (N, classes) to their relevance, of the same shape (contrastive, several classes, a regression).
        leaves: rules for modules (by class, or its name) or functions that cannot be traced: "pass",
            "input_times_gradient", "block" or a function (see ``relsplit.lrp.leaf_rules``).
        attention: how relevance passes ``softmax(Q K^T) V``: "ratio" (to the values by their magnitude, conserves),
            "z_plus" and "flow" (conserve, too), "cp_lrp" (Ali et al. 2022), "attn_lrp" (Achtibat et al. 2024), or an
            :class:`relsplit.lrp.attention.treatment.Attention`.
        output: which part of the model's output is explained if it returns several: a name, an index, or a function.
            None finds the obvious one (the only one, or "logits").

    Raises:
        InputError: an option that does not exist.
        UnsupportedModelError: the model can neither be traced nor exported.
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
        start: "Start | StartFunction" = "probability",
        leaves: "Mapping[Any, str | LeafRule] | None" = None,
        attention: "str | Attention" = "ratio",
        output: "OutputChoice | None" = None,
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
            attention=_attention(attention),
        )
        self._programs = Programs(model, self._options, output)
        self._warned = False

    @overload
    def attribute(self, images: Tensor, target: "Target | None" = ..., return_sums: Literal[False] = ...) -> Tensor: ...

    @overload
    def attribute(
        self, images: Tensor, target: "Target | None" = ..., *, return_sums: Literal[True]
    ) -> tuple[Tensor, dict[str, Tensor]]: ...

    @overload
    def attribute(
        self, images: Tensor, target: "Target | None" = ..., return_sums: bool = ..., *, at: str | Sequence[str]
    ) -> Any: ...

    def attribute(
        self,
        images: Tensor,
        target: "Target | None" = None,
        return_sums: bool = False,
        *,
        at: "str | Sequence[str] | None" = None,
    ) -> "Tensor | dict[str, Tensor] | tuple[Tensor | dict[str, Tensor], dict[str, Tensor]]":
        """Return the relevance of every pixel, or of what modules hand on.

        Warns once if relevance is not conserved to 1e-4 though every rule promises to, and names the step.

        Args:
            images: (N, C, H, W), floating point, on the model's device.
            target: the explained class: None (the predicted one), one index, or a tensor of N indices; or a function
                from the output (N, ...) of any shape to its relevance, of the same shape (an embedding, the pixels of
                one class of a segmentation), in place of ``start``.
            return_sums: also return the relevance sums inside the network.
            at: where relevance is read instead of at the pixels: the path of a module ("layer3"), for the relevance of
                its output (all of it, unless a skip connection leads around the module); several paths; or "all": the
                last place of every resolution that all relevance passes, by the path of its module, the pixels as
                "input".

        Returns:
            (N, C, H, W), detached, float32 (float64 for float64 images); with ``at`` of the shape of the module's
            output, with several a dictionary of these. With ``return_sums`` also a dictionary of (N,) sums: "input",
            the input of every residual block by the name of its module ("layer1.0", ...), and "output", the relevance
            that the map started from. Each equals "output" where relevance is conserved.

        Raises:
            InputError: images that are no tensor, not of rank 4, not floating point, empty, with NaN or infinite
                pixels, or that the model does not accept; a model whose output is not (N, classes); a target that
                is no class; a module that does not exist, or that relevance does not pass.
            UnsupportedModelError: the model holds an operation without a rule (named in the message).
        """
        with _plain(checked_images(images)) as images:
            run = self.observed(images, target, partial(_watch, return_sums=return_sums, at=at, images=images))
            if run.program.conserves and not self._warned:
                gap = relative_gap(run.start.flatten(1).sum(1), run.relevance.flatten(1).sum(1))
                if gap > TOLERATED:
                    self._warn(gap, images, target)
        watch = run.observer
        if watch is None:
            return run.relevance
        relevance: Tensor | dict[str, Tensor] = run.relevance
        if watch.inside is not None:
            found = watch.inside.by_name()
            relevance = found[at] if isinstance(at, str) and at != ALL else found
        return relevance if watch.sums is None else (relevance, watch.sums.by_name())

    def check(self, images: Tensor, target: "Target | None" = None) -> Conservation:
        """Follow relevance step by step: where is it conserved, where is it lost, and what does it cost?

        Args:
            images: see :meth:`attribute`.
            target: see :meth:`attribute`.

        Returns:
            The sums at every block, the steps that lose or add relevance, and the cost; print it for a table.

        Raises:
            InputError: see :meth:`attribute`.
        """
        with _plain(checked_images(images)) as images:
            run = self.observed(images, target, Ledger)
            network = eval_view(self.model)
            forward, whole = _seconds(lambda: network(images)), _seconds(lambda: self.attribute(images, target))
        return run.observer.conservation(forwards=whole / forward)

    def observed(self, images: Tensor, target: "Target | None", observe: "Observe[Observed]") -> "Run[Observed]":
        """Explain ``images`` while somebody looks on; for methods that build on relevance inside the network.

        Args:
            images: (N, C, H, W), checked, no inference tensor.
            target: see :meth:`attribute`.
            observe: makes the observer, whose ``visit`` is told at each step what has arrived and what is passed on;
                without one (None) the walk writes over what it has passed, which is faster.

        Returns:
            The program, the relevance at both ends, and the observer.

        Raises:
            InputError: see :meth:`attribute`.
        """
        program = self._programs.get(images)
        try:
            return self._walk(program, images, target, observe)
        except UnsupportedModelError as error:
            return self._walk(self._programs.instead_of(program, images, error), images, target, observe)

    def program(self, images: Tensor) -> Program:
        """Return the compiled network that explains ``images`` (N, C, H, W).

        Raises:
            UnsupportedModelError: it holds an operation without a rule.
        """
        return self._programs.get(images)

    def _walk(
        self,
        program: Program,
        images: Tensor,
        target: "Target | None",
        observe: "Observe[Observed]",
    ) -> "Run[Observed]":
        with self._weights_looked_at(images.device):
            forward = ForwardPass(program, _fast_layout(images))
            start = self._start(forward.output, target, len(images))
            observer = observe(program, start)
            relevance = forward.propagate(start, None if observer is None else observer.visit)
        return Run(program, start, relevance.contiguous(), observer)

    def _weights_looked_at(self, device: torch.device) -> AbstractContextManager[None]:
        """Look for changed weights once, where every look would stop the GPU; a CPU looks at each as it comes to it."""
        if device.type != "cuda":
            return nullcontext()
        return samples_read_together([*self.model.parameters(), *self.model.buffers()])

    def _start(self, output: Any, target: "Target | None", count: int) -> Tensor:
        """Return the relevance that the map starts from, of the output's shape."""
        if not isinstance(output, Tensor) or output.dim() == 0 or output.shape[0] != count:
            found = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise InputError(f"model: its output must be class scores of shape ({count}, classes), not {found}")
        check_finite(output)
        if callable(target):
            return computed_start(output, target, "target")
        if output.dim() != 2:
            raise InputError(
                f"model: its output must be class scores of shape ({count}, classes), not {tuple(output.shape)}; "
                "for any other output give a function from it to its relevance as target"
            )
        if callable(self.start):
            return computed_start(output, self.start, "start")
        chosen = output.argmax(1) if target is None else checked_target(target, count, output.shape[1], output.device)
        return start_relevance(output, chosen, self.start)

    def _warn(self, gap: float, images: Tensor, target: "Target | None") -> None:
        self._warned = True
        leaks = self.observed(images, target, Ledger).observer.leaks
        where = "".join(f", first {abs(leak.share):.1e} of it at {leak.where}" for leak in leaks[:1])
        warnings.warn(
            f"LRP: relevance is not conserved, the map's sum is off by {gap:.1e} of the start{where}: "
            "LRP.check(images) shows every step",
            stacklevel=3,
        )


@dataclass(frozen=True)
class Run(Generic[Observed]):
    """One map on its way: from ``start`` (the output's relevance) to ``relevance`` (the images')."""

    program: Program
    start: Tensor
    relevance: Tensor
    observer: Observed


def _watch(
    program: Program, start: Tensor, return_sums: bool, at: str | Sequence[str] | None, images: Tensor
) -> "_Watch | None":
    return _Watch(program, start, return_sums, at, images) if return_sums or at is not None else None


class _Watch:
    """Looks at what :meth:`LRP.attribute` is asked for."""

    def __init__(
        self, program: Program, start: Tensor, return_sums: bool, at: str | Sequence[str] | None, images: Tensor
    ) -> None:
        self.sums = Sums(program, start) if return_sums else None
        self.inside = None if at is None else stages(program, at, images.shape[2:])

    def visit(self, node: fx.Node, relevance: Tensor, passed: Passed) -> None:
        """Show what has arrived at a node to all that look on."""
        for observer in (self.sums, self.inside):
            if observer is not None:
                observer.visit(node, relevance, passed)


@contextmanager
def _plain(images: Tensor) -> Iterator[Tensor]:
    """No gradients; no inference tensors, which cannot take part in the transposes of index maps."""
    with torch.inference_mode(False), torch.no_grad():
        yield images.clone() if images.is_inference() else images


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


def _attention(attention: "str | Attention") -> Attention:
    if isinstance(attention, str):
        return ATTENTIONS.get(attention, hint=", or an Attention(rule)")()
    if not isinstance(attention, Attention):
        raise InputError(f"attention: a {type(attention).__name__} is no relsplit.lrp.attention.treatment.Attention")
    return attention


def _seconds(action: Callable[[], object]) -> float:
    """Return the shortest of three durations."""
    durations = []
    for _ in range(3):
        begin = time.perf_counter()
        action()
        durations.append(time.perf_counter() - begin)
    return min(durations)
