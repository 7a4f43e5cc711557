"""absLRP: relative absolute magnitude layer-wise relevance propagation (Vukadin et al., 2024)."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relsplit.errors import InputError, UnsupportedModelError
from relsplit.explainers.abs_lrp_operations import KINDS
from relsplit.explainers.abs_lrp_operations.sharing import Sharing
from relsplit.explainers.shared.rivals import check_has_rivals
from relsplit.lrp.operations.compound import attention_weights
from relsplit.lrp.recording.network import Network, Recording
from relsplit.lrp.recording.recorder import Recorder
from relsplit.lrp.start import check_finite, computed_start
from relsplit.lrp.walk import Watch, walk_back
from relsplit.networks.answer import Answer, AnswerReader, Scores
from relsplit.networks.inputs import checked_inputs
from relsplit.networks.outputs import OutputChoice
from relsplit.options import checked_options
from relsplit.targets.target import Target, TargetFunction, taken_apart


@checked_options
class AbsLRP:
    """Relevance by positive contributions, relative to the magnitude of what they contribute to.

    A step with output y gives its input x the relevance ``x * d/dx <y + y~, R / |y|>``, where ``y~`` is the step with
    the magnitudes of its weights on ``|x|``: for a convolution ``sum_j max(w_ji x_i, 0) R_j / |y_j|``. Then it is
    normalised.

    The network is recorded in each call, as by :class:`relsplit.LRP`; nothing of it is changed or kept, so that threads
    may share an explainer.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from relsplit.explainers import AbsLRP
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
        >>> relevance = AbsLRP(model, contrastive=False).attribute(torch.rand(2, 3, 16, 16))
        >>> torch.allclose(relevance.sum((1, 2, 3)), torch.ones(2))
        True

    Args:
        model: made of convolutions, linear layers, BatchNorm, LayerNorm, pooling, activations, additions, reshaping and
            self-attention without masks. Images are the first dimension everywhere.
        variant: ``"released"`` normalises what every input of a step gets to a total of 1, so that skip connection and
            residual branch always count the same, and zeroes relevance at negative activations where the released code
            (version of November 2024) does; ``"mass"`` is its earlier version, from the time of the paper's
            experiments: positive and negative relevance keep their totals at every step, and inputs share them by what
            they contribute. (Not where nothing contributes, and not at activations that are negative themselves.)
        contrastive: whether the relevance of all other classes is subtracted; of a target that is no class, and of one
            score for two classes, nothing can be.
        scores: what the network's output holds, see :mod:`relsplit.networks.answer`.
        output: which part of the network's output is explained, see :class:`relsplit.LRP`.

    Raises:
        InputError: an unknown variant.
    """

    def __init__(
        self,
        model: nn.Module,
        variant: Literal["released", "mass"] = "released",
        contrastive: bool = True,
        scores: Scores = "auto",
        output: "OutputChoice | None" = None,
    ) -> None:
        self._model = model
        self._output = output
        self._released = variant == "released"
        self._contrastive = contrastive
        self._reader = AnswerReader(scores)

    @property
    def forward_equivalents(self) -> float:
        """The forward pass and, as measured on ResNets and ViT-B/16, 7 a walk back, or 12 where signs go apart."""
        walks = 2 if self._contrastive and (self._released or _attends(self._model)) else 1
        return 1.0 + walks * (7.0 if self._released else 12.0)

    def attribute(
        self, inputs: Tensor, target: "Target | None" = None, *, forward_kwargs: "Mapping[str, Any] | None" = None
    ) -> Tensor:
        """Relevance of the input's shape for a class, or for a target that is a function.

        Its magnitudes sum to 1 (without ``contrastive``); with it, to at most 2, and its values to 0 or nearly so.

        Raises:
            InputError: inputs or target cannot be used, or the target is no class that others can be subtracted from.
            UnsupportedModelError: the network holds an operation without a rule (named in the message).
        """
        given = checked_inputs(inputs, forward_kwargs)
        given.check_values()
        if not given.is_single or not given.tensors[0].is_floating_point():
            raise InputError(
                f"abs_lrp shares a total of 1 among the entries of one floating point input, not of {given}"
            )
        sharing = Sharing(self._released, len(given))
        part, explained = taken_apart(target, self._output)
        with torch.inference_mode(False), torch.no_grad():
            recording = Network(self._model, sharing, KINDS, units=_units).record(given, part)
            if callable(explained):
                return _back(recording, self._start_of_function(recording.output, explained, sharing))
            answer = self._reader.read(recording.output, len(given), recording.ends_in_probabilities)
            answer.check_finite()
            if not self._contrastive:
                return _back(recording, self._start_alone(answer, answer.classes(explained)))
            check_has_rivals(answer, "abs_lrp", instead="make it with contrastive=False")
            classes = answer.num_classes
            hot = F.one_hot(answer.classes(explained), classes).to(recording.output)
            if self._released or _attends(self._model):
                relevance = sharing.unit(_back(recording, hot, again=True))
                return relevance - sharing.unit(_back(recording, (1 - hot) / max(classes - 1, 1)))
            return _back(recording, (1 + 1 / classes) * hot - 1 / classes)

    def _start_alone(self, answer: Answer, classes: Tensor) -> Tensor:
        """1 at the class; one number for two classes speaks for the one and against the other."""
        if answer.is_single:
            return (2 * classes - 1).reshape(answer.output.shape).to(answer.output)
        return F.one_hot(classes, answer.num_classes).to(answer.output)

    def _start_of_function(self, output: Tensor, target: TargetFunction, sharing: Sharing) -> Tensor:
        """What the target says of the output, its magnitudes scaled to a sum of 1."""
        if self._contrastive:
            raise InputError(
                "abs_lrp: contrastive=True subtracts the relevance of all other classes, and the target is no class: "
                "make it with contrastive=False, or name a class"
            )
        check_finite(output)
        return sharing.unit(computed_start(output, target, "target"))


def _back(recording: Recording, start: Tensor, again: bool = False) -> Tensor:
    (relevance,) = walk_back(recording.result, start, recording.inputs, Watch(), again)
    return relevance.contiguous()


def _attends(model: nn.Module) -> bool:
    return any(type(module).__name__.endswith("Attention") for module in model.modules())


@contextmanager
def _units(view: nn.Module, recorder: Recorder) -> Iterator[None]:
    """Within, PyTorch's own attention has images first throughout; ``nn.Identity`` is seen, as a dropout.

    The released code treats the latter so in networks without attention.
    """
    attends = _attends(view)
    for module in view.modules():
        if isinstance(module, nn.MultiheadAttention):
            module.__dict__["forward"] = partial(_self_attention, recorder, module)
        elif isinstance(module, nn.Identity) and not attends:
            module.__dict__["forward"] = partial(F.dropout, training=False)
    yield


def _self_attention(
    recorder: Recorder,
    module: nn.MultiheadAttention,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    average_attn_weights: bool = True,
    **_: Any,
) -> tuple[Tensor, Tensor | None]:
    own = module.in_proj_weight is not None and module.bias_k is None and not module.add_zero_attn
    alone = query is key is value and key_padding_mask is None and attn_mask is None
    if not (own and alone and module.batch_first and query.dim() == 3):
        step = recorder.add("multi_head_attention", recorder.path(), query.shape, [])
        raise UnsupportedModelError(
            recorder.refusal(step, "it is more than attention among the tokens (N, L, E) of each image")
        )
    projected = F.linear(query, module.in_proj_weight, module.in_proj_bias)
    queries, keys, values = projected.unflatten(-1, (3, module.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind()
    mixed = F.scaled_dot_product_attention(queries, keys, values).transpose(1, 2).reshape(query.shape)
    output = F.linear(mixed, module.out_proj.weight, module.out_proj.bias)
    if not need_weights:
        return output, None
    weights = attention_weights(queries, keys, None, is_causal=False, scale=None)
    return output, weights.mean(1) if average_attn_weights else weights
