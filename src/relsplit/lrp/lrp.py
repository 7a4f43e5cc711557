"""LRP for residual networks: the class that users hold."""

import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Generic, Literal, TypeVar, overload

import torch
from torch import Tensor, nn

from relsplit.errors import InputError, UnsupportedModelError
from relsplit.flat_maps import warn_of_flat_maps
from relsplit.lrp.attention import ATTENTIONS
from relsplit.lrp.attention.treatment import Attention
from relsplit.lrp.contrary import explain_by_sign
from relsplit.lrp.evidence import Against, check_against, evidence, place_of, with_signs
from relsplit.lrp.leaf_rules import LeafRule, leaf_rules
from relsplit.lrp.ledger import TOLERATED, Conservation, Ledger, Observer, Sums
from relsplit.lrp.operations import KINDS
from relsplit.lrp.options import MaxPool, Options
from relsplit.lrp.parameters import ParameterRelevance
from relsplit.lrp.recording.leaves import kept_whole
from relsplit.lrp.recording.network import Network, Recording
from relsplit.lrp.recording.step import Passed, Step
from relsplit.lrp.rules.choice import check_patterns, first_layer_rule, rule_choice
from relsplit.lrp.rules.quotient import Stabilizer
from relsplit.lrp.rules.rule import Rule, RuleChoice
from relsplit.lrp.splitting import SPLITTINGS
from relsplit.lrp.splitting.splitting import Splitting
from relsplit.lrp.stages import ALL, stages
from relsplit.lrp.start import StartFunction, check_finite, computed_start
from relsplit.lrp.through import Through, passed_through
from relsplit.lrp.walk import Guard, walk_back
from relsplit.networks.answer import Answer, AnswerReader, Scores, is_same, reader_of
from relsplit.networks.inputs import Given, Inputs, as_inputs, checked_inputs
from relsplit.networks.outputs import OutputChoice, Part
from relsplit.networks.views import shared_copy, unwrapped
from relsplit.options import checked_options
from relsplit.targets.target import Explained, Target, taken_apart

Observed = TypeVar("Observed", bound=Observer | None)
Observe = Callable[[Recording, Tensor], Observed]


_CPU = torch.device("cpu")


@checked_options
class LRP:
    """Layer-wise relevance propagation with conservation for residual networks.

    One forward pass of the model, recorded, and one walk back over the record give the relevance of every entry of its
    inputs (pixels, samples of a signal, tokens); per image its sum is the probability of the explained class. What is
    explained is what the model did in this very call: its hooks, its control flow, its weights and attributes as they
    are then. The model is never changed, and nothing of it is kept, so that threads may share an explainer.

    Examples:
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
        model: any network. It is run as in evaluation mode, whatever its mode is.
        split: relevance splitting where a skip connection meets its residual branch: "ratio" (paper Eq. 5, the proposed
            method), "symmetric" (Eq. 4), "proportional" (signed shares, as plain LRP does), "gamma" (signed shares that
            favour the sum's sign) or an object with a method ``share(skip, branch)``, see
            :class:`relsplit.lrp.splitting.splitting.Splitting`.
        include_identity: whether a skip connection without layers receives relevance (True: the proposed method).
        rule: "z_plus", "epsilon", "gamma", "alpha2_beta1", "mixture" (z+ up to the eighth residual block, epsilon after
            it; paper Table C), a rule object, or a mapping from layer names (or their beginnings, or wildcards) to
            these.
        input_rule: the first layer's rule: "ones" (the image is replaced by ones, as in the released code),
            "activation" (z+ with the pixels themselves: for tables, and wherever a value of 0 is to receive nothing),
            "flat", or a rule object such as ``ZBox(low, high)``. Of tokens the first layer is the embedding.
        max_pool: "average" over the pool's own windows (conserves), "winner" (conserves), or "average_2x2" (the
            released code's 2x2 windows, which lose relevance on 3x3 pools).
        stabilizer: added to denominators. 0 is strictly conservative: units without any positive contribution spread
            their relevance evenly over their receptive field. 1e-5 is the released code: such relevance is lost.
        start: the relevance of the explained class: its "probability", its "logit", or "one"; or a function from the
            scores (N, classes) to their relevance, of the same shape (contrastive, several classes, a regression); or
            "evidence": the probability, begun at the last feature map, on what its positions say for the class more
            than for others (see :mod:`relsplit.lrp.evidence`). Where none does, the map is flat, and it is said.
        against: the others, for ``start="evidence"``: the "rivals", each by its probability, the "strongest" of them,
            the "mean" of all classes, "none", or a class, or one for each image.
        signed: for ``start="evidence"``: whether what speaks for the others is negative relevance instead of none; the
            absolute values at the feature map then sum to the probability.
        leaves: rules for modules (by class, or its name) or Python functions that are to be taken as one operation:
            "pass", "input_times_gradient", "block" or a function (see ``relsplit.lrp.leaf_rules``).
        attention: how relevance passes ``softmax(Q K^T) V``: "ratio" (to the values by their magnitude, conserves),
            "z_plus" and "flow" (conserve, too), "cp_lrp" (Ali et al. 2022), "attn_lrp" (Achtibat et al. 2024), or an
            :class:`relsplit.lrp.attention.treatment.Attention`.
        output: which part of the model's output is explained if it returns several: a name, an index, or a function.
            None finds the obvious one (the only one, or "logits").
        scores: what the output holds: "logits" or "probabilities"; "auto" recognises the latter, and says so once. One
            score (N, 1) or (N,) speaks for two classes, 1 and 0; 0 is explained as if the weights of the network's last
            layer were negated.

    Raises:
        InputError: an option that does not exist.
        UnsupportedModelError: the model is a TorchScript as a whole, which has no modules with names.
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
        start: "Literal['probability', 'logit', 'one', 'evidence'] | StartFunction" = "probability",
        against: "Against" = "rivals",
        signed: bool = False,
        leaves: "Mapping[Any, str | LeafRule] | None" = None,
        attention: "str | Attention" = "ratio",
        output: "OutputChoice | None" = None,
        scores: "Scores | AnswerReader" = "auto",
    ) -> None:
        if not isinstance(model, nn.Module):
            raise InputError(f"model: expected a torch.nn.Module, not {type(model).__name__}")
        if isinstance(model, torch.jit.ScriptModule):
            raise UnsupportedModelError("a TorchScript model keeps its code to itself: hand in the original nn.Module")
        self._given = {
            "split": split, "include_identity": include_identity, "rule": rule, "input_rule": input_rule,
            "max_pool": max_pool, "stabilizer": stabilizer, "start": start,
            "against": against, "signed": signed, "leaves": leaves, "attention": attention,
            "output": output, "scores": scores,
        }  # fmt: skip
        self.model = model
        check_against(against)
        self.start = start
        self.against = against
        self.signed = signed
        self._options = Options(
            rules=rule_choice(rule, stabilizer),
            input_rule=first_layer_rule(input_rule, stabilizer),
            splitting=_splitting(split),
            include_identity=include_identity,
            max_pool=max_pool,
            leaves=leaf_rules(leaves, model),
            attention=_attention(attention),
        )
        check_patterns(self._options.rules, [path for path, _ in unwrapped(model).named_modules() if path])
        units = kept_whole if self._options.leaves else None
        self._network = Network(model, self._options, KINDS, units)
        self._signed_network = Network(model, with_signs(self._options), KINDS, units)
        self._output = output
        self._reader = reader_of(scores)
        self._warned = False

    def __repr__(self) -> str:
        """Return the class of the network and every option."""
        options = ", ".join(f"{name}={value!r}" for name, value in self._given.items())
        return f"{type(self).__name__}({type(self.model).__name__}, {options})"

    @overload
    def attribute(
        self,
        inputs: Tensor,
        target: "Target | None" = ...,
        return_sums: Literal[False] = ...,
        *,
        forward_kwargs: "Mapping[str, Any] | None" = ...,
        through: "Through | None" = ...,
        create_graph: bool = ...,
    ) -> Tensor: ...

    @overload
    def attribute(
        self,
        inputs: Tensor,
        target: "Target | None" = ...,
        *,
        return_sums: Literal[True],
        forward_kwargs: "Mapping[str, Any] | None" = ...,
        through: "Through | None" = ...,
        create_graph: bool = ...,
    ) -> tuple[Tensor, dict[str, Tensor]]: ...

    @overload
    def attribute(
        self,
        inputs: Given,
        target: "Target | None" = ...,
        return_sums: bool = ...,
        *,
        forward_kwargs: "Mapping[str, Any] | None" = ...,
        at: "str | Sequence[str] | None" = ...,
        through: "Through | None" = ...,
        create_graph: bool = ...,
    ) -> Any: ...

    def attribute(
        self,
        inputs: Given,
        target: "Target | None" = None,
        return_sums: bool = False,
        *,
        forward_kwargs: "Mapping[str, Any] | None" = None,
        at: "str | Sequence[str] | None" = None,
        through: "Through | None" = None,
        create_graph: bool = False,
    ) -> Any:
        """Return the relevance of every entry of the inputs, or of what modules hand on.

        Warns once if relevance is not conserved to 1e-4 though every rule promises to, and names the step.

        Args:
            inputs: on the model's device, with the batch first: images (N, C, H, W), signals (N, C, L), volumes
                (N, C, D, H, W), sequences (N, T, D), tables (N, F), or anything else that the model takes, in floating
                point. Integers (N, T) are tokens, which an ``nn.Embedding`` looks up. Several: a tuple, which the model
                gets by position, or a dictionary, which it gets by name.
            target: the explained class: None (the predicted one), one index, or a tensor of N indices; or one of
                :mod:`relsplit.targets` (a value, several classes, the pixels of a segmentation, a detector's box, an
                embedding's likeness, a next token, a part of several outputs); or a function from the output (N, ...)
                of any shape to its relevance, of the same shape. The latter two take the place of ``start``.
            return_sums: also return the relevance sums inside the network.
            forward_kwargs: what the model gets besides, by name, such as lengths; it receives no relevance. Tokens at
                which an ``attention_mask`` of their shape is 0 are padding, as those of an embedding's ``padding_idx``
                are: constants, whose relevance is 0.
            at: where relevance is read instead of at the inputs: the path of a module ("layer3"), for the relevance of
                its output (all of it, unless a skip connection leads around the module); several paths; or, of images,
                "all": the last place of every resolution that all relevance passes, by the path of its module, the
                pixels as "input".
            through: of which channels of modules' outputs the relevance is: what passes these and no other. {"layer3":
                5}, several {"layer3": [5, 8]}, or integers (N,) or (N, K) for each sample its own. A channel is one
                along the second dimension; booleans or floating point numbers are a mask that relevance there is
                multiplied by (of tokens (N, T, D), one of (D,) chooses features). Of several modules, one after
                another, it is what passes the chosen channels of each. The map's start, "output" among the sums, is
                the relevance of the chosen channels.
            create_graph: whether what is returned is part of autograd's graph, so that it can be differentiated by the
                inputs and the model's parameters where these require gradients: for training on relevance. It is the
                derivative of the map as the model in evaluation mode has it; which class is predicted, which entry
                of a window or of ``topk`` is the greatest, and what the model itself detaches count as constants.
                ``start="evidence"`` has no gradient.

        Returns:
            Of the shape of the input, detached (unless ``create_graph``), float32 (float64 for float64 inputs); of
            several a tuple or a dictionary, as they were given, whose sums together are the start. Of tokens (N, T),
            what arrived at their vectors; positions and whatever else is added to these are constants, and receive
            nothing. With ``at`` of the shape of the module's output, with several a dictionary of these. With
            ``return_sums`` also a dictionary of (N,) sums: "input" (all inputs), the input of every residual block by
            the name of its module ("layer1.0", ...), and "output", the relevance that the map started from. Each equals
            "output" where relevance is conserved.

        Raises:
            InputError: inputs that are no tensors, of different batch sizes, empty, with NaN or infinite values, or
                that the model does not accept; tokens that pass no embedding; a model whose output is not
                (N, classes); a target that is no class; a module that does not exist, or that relevance does not pass;
                a channel that a module does not have; ``create_graph`` where gradients are switched off or there is
                nothing to differentiate by.
            UnsupportedModelError: the model holds an operation without a rule (named in the message); or, with
                ``create_graph``, one that has been carried out without gradients, or in TorchScript.
        """
        given = checked_inputs(inputs, forward_kwargs, in_graph=create_graph)
        observe = partial(_watch, return_sums=return_sums, at=at, inputs=given)
        by_module = at not in (None, ALL) or through is not None
        run = self.observed(given, target, observe, through, by_module, create_graph)
        if create_graph and not any(relevance.requires_grad for relevance in run.relevances):
            raise InputError("create_graph: the map depends on nothing that requires gradients")
        self._look_at(run, given, target)
        watch, relevance = run.observer, given.arranged(list(run.relevances))
        if watch is None:
            return relevance
        if watch.inside is not None:
            found = watch.inside.by_name()
            relevance = found[at] if isinstance(at, str) and at != ALL else found
        return relevance if watch.sums is None else (relevance, watch.sums.by_name())

    def attribute_parameters(
        self,
        inputs: Given,
        target: "Target | None" = None,
        parameters: "str | Sequence[str] | None" = None,
        *,
        forward_kwargs: "Mapping[str, Any] | None" = None,
    ) -> dict[str, Tensor]:
        """Return the relevance of every entry of weights: how much passes each on its way from output to input.

        The weights of a convolution or a linear layer together, and its bias, have the relevance that passes the layer:
        with a conserving rule the weights have all of it and the bias 0; with rule="epsilon", and others with
        ``bias=True``, the bias has what passes no weight. An embedding's table has what arrives at the vectors that
        were looked up. All samples count together: of one alone, hand in that.

        Args:
            inputs: see :meth:`attribute`.
            target: see :meth:`attribute`.
            parameters: names as ``model.named_parameters()`` has them, "layer1.0.conv1.weight"; None: all that
                relevance passes.
            forward_kwargs: see :meth:`attribute`.

        Returns:
            Relevance by the name of the parameter, of its shape. A weight that is used several times (a shared layer, a
            head that is tied to the embedding) has the sum. One that is computed in the call (by pruning, weight
            normalisation) is called after its module, "conv.weight". The weights of recurrent layers, which are joined
            for their gates, and of normalisations, which relevance passes unchanged, have none.

        Raises:
            InputError: a parameter that does not exist, or that no relevance passes, or none has any; or see
                :meth:`attribute`.
            UnsupportedModelError: see :meth:`attribute`.
        """
        given = checked_inputs(inputs, forward_kwargs)
        names = [parameters] if isinstance(parameters, str) else parameters
        if names is not None and (not isinstance(names, Sequence) or not all(isinstance(each, str) for each in names)):
            raise InputError(f"parameters: expected names of model.named_parameters(), not {parameters!r}")
        found: list[ParameterRelevance] = []

        def gather(recording: Recording, start: Tensor) -> None:
            found.append(ParameterRelevance(recording.recorder.network, names))
            recording.recorder.watch.parameters = found[0]

        self._look_at(self.observed(given, target, gather), given, target)
        return found[0].by_name()

    def check(
        self,
        inputs: Given,
        target: "Target | None" = None,
        *,
        forward_kwargs: "Mapping[str, Any] | None" = None,
    ) -> Conservation:
        """Follow relevance step by step: where is it conserved, where is it lost, and what does it cost?

        Args:
            inputs: see :meth:`attribute`.
            target: see :meth:`attribute`.
            forward_kwargs: see :meth:`attribute`.

        Returns:
            The sums at every block, the steps that lose or add relevance, and the cost; print it for a table.

        Raises:
            InputError: see :meth:`attribute`.
        """
        given = checked_inputs(inputs, forward_kwargs)
        given.check_values()
        run = self.observed(given, target, Ledger)
        network = shared_copy(self.model, keep_in_place=True)
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            forward = _seconds(lambda: given.called(network))
            whole = _seconds(lambda: self.attribute(inputs, target, forward_kwargs=forward_kwargs))
        return run.observer.conservation(forwards=whole / forward)

    def observed(
        self,
        given: "Tensor | Inputs",
        target: "Target | None",
        observe: "Observe[Observed]",
        through: "Through | None" = None,
        by_module: bool = False,
        create_graph: bool = False,
    ) -> "Run[Observed]":
        """Explain what is given while somebody looks on; for methods that build on relevance inside the network.

        Args:
            given: one input, checked, or several.
            target: see :meth:`attribute`.
            observe: makes the observer, whose ``visit`` is told at each step what has arrived and what is passed on;
                without one (None) the walk writes over what it has passed, which is faster.
            through: see :meth:`attribute`.
            by_module: see :meth:`relsplit.lrp.recording.network.Network.record`.
            create_graph: see :meth:`attribute`.

        Returns:
            The relevance at both ends, and the observer.

        Raises:
            InputError: see :meth:`attribute`.
        """
        is_flat = is_void = None
        inputs = as_inputs(given)
        if create_graph:
            self._check_graph(inputs)
        part, explained = taken_apart(target, self._output)
        if self.start == "evidence":
            recording, start, is_flat = self._evidence(inputs.images('start="evidence"'), explained, part, by_module)
        else:
            recording = self._network.record(inputs, part, by_module, create_graph)
            with _plain(create_graph):
                start, is_void = self._start(recording, explained, inputs)
        with _plain(create_graph):
            if through is not None:
                recording, start = passed_through(recording, start, through)
            observer = observe(recording, start)
            guard = Guard(start, is_void)
            watch = recording.recorder.watch
            watch.visit, watch.guard = None if observer is None else observer.visit, guard
            is_new = through is None and getattr(explained, "returns_new", False)
            relevances = walk_back(recording.result, start, recording.inputs, watch, owned=is_new)
            if is_flat is not None:
                (relevance,) = relevances
                even = start.flatten(1).sum(1) / relevance[0].numel()
                relevances = [torch.where(_by_image(is_flat, relevance), _by_image(even, relevance), relevance)]
        evidence = start if self.start == "evidence" else None
        return Run(evidence, tuple(relevance.contiguous() for relevance in relevances), guard, observer, is_flat)

    def record(self, given: "Tensor | Inputs") -> Recording:
        """Run the network once on what is given, checked, and return what it did.

        Raises:
            InputError: the network does not accept it.
            UnsupportedModelError: its output does not depend on it.
        """
        return self._network.record(given, taken_apart(None, self._output)[0])

    def attend(self, images: Tensor) -> Recording:
        """Run the network once on ``images``, checked, with gradients; the recording has what its attentions computed.

        Raises:
            InputError: see :meth:`record`.
            UnsupportedModelError: see :meth:`record`.
        """
        return self._network.attend(images, taken_apart(None, self._output)[0])

    def _check_graph(self, inputs: Inputs) -> None:
        """Check that relevance can be part of a graph.

        Raises:
            InputError: it cannot.
        """
        if self.start == "evidence":
            raise InputError('create_graph: start="evidence" has no gradient here: use "probability" or "logit"')
        if torch.is_inference_mode_enabled() or not torch.is_grad_enabled():
            raise InputError("create_graph: gradients are switched off (torch.no_grad, torch.inference_mode) around it")
        given = [*inputs.tensors, *(each for each in inputs.forward_kwargs.values() if isinstance(each, Tensor))]
        if not any(tensor.requires_grad for tensor in (*given, *self.model.parameters())):
            raise InputError(
                "create_graph: neither the inputs nor a parameter of the model requires gradients: there is nothing to "
                "differentiate by"
            )

    def _evidence(
        self, images: Tensor, target: "Explained | None", part: Part, by_module: bool
    ) -> tuple[Recording, Tensor, Tensor]:
        """Return a recording that ends at the last feature map, the relevance there, and which images have none."""
        if callable(target):
            raise InputError(
                'start="evidence" is of classes: say with output= which part of the output holds scores (N, classes), '
                "and name a class as target"
            )
        recording = self._signed_network.record(images, part)
        with _plain():
            answer = self.answer(recording, len(images))
            if not answer.finite:
                as_inputs(images).check_values()
            answer.check_finite()
            output = recording.output
            found = evidence(recording, answer, answer.classes(target), self.against, images.shape[2:])
            recording = self._network.record(images, part, by_module)
            if not is_same(recording.output, output):
                raise InputError("model: it answers one image differently from one call to the next")
            start, is_flat = found.start(images.shape[2:], self.signed)
        warn_of_flat_maps("LRP", is_flat, "no position speaks for the class", stacklevel=5)
        return replace(recording, result=place_of(found, recording)), start, is_flat

    def _start(self, recording: Recording, target: "Explained | None", inputs: Inputs) -> tuple[Tensor, Tensor | None]:
        """Return the relevance that the map starts from, of the output's shape, and whether it started from nothing."""
        output, count = recording.output, len(inputs)
        for function, option in ((target, "target"), (self.start, "start")):
            if callable(function):
                if not output.dim() or len(output) != count:
                    found = tuple(output.shape)
                    raise InputError(f"model: its output must have {count} rows, one an input, not {found}")
                check_finite(output)
                start = computed_start(output, function, option)
                explain_by_sign(recording.result, start)
                return start, None
        answer = self.answer(recording, count)
        if not answer.finite:
            inputs.check_values()
        answer.check_finite()
        is_void = None
        if not isinstance(target, Tensor) or target.device == _CPU:
            classes = answer.classes(target)  # type: ignore[arg-type]  # it is no function
        else:
            # Whether an accelerator's target names classes is read together with the rest, at the end.
            named, last = answer.classes(target, look_at_classes=False), answer.num_classes - 1
            classes, is_void = named.clamp(0, last), ((named < 0) | (named > last)).any()
        return self.begin(recording, answer, classes), is_void

    def begin(self, recording: Recording, answer: Answer, classes: Tensor) -> Tensor:
        """Return the relevance (N, ...) that the maps of ``classes`` (N,) start from, where ``start`` is no function.

        The recording is made ready to be walked back: of one logit or probability for class 0 where that is explained.
        """
        start = answer.start(classes, self.start)  # type: ignore[arg-type]  # it is no function
        explain_by_sign(recording.result, start, classes == 0 if answer.is_single else None)
        return start

    def answer(self, recording: Recording, count: int) -> Answer:
        """Return what the network answered ``count`` images, read as ``scores`` says.

        Raises:
            InputError: it is no score for each class.
        """
        try:
            return self._reader.read(recording.output, count, recording.ends_in_probabilities)
        except InputError as error:
            raise InputError(f"{error}; of any other output give a function to its relevance as target") from error

    def _look_at(self, run: "Run[Any]", inputs: Inputs, target: "Target | None") -> None:
        """Say if the map does not hold what was promised.

        Raises:
            UnsupportedModelError: it holds NaN or infinity.
        """
        gap = float(run.guard.gap(run.relevances))
        if not gap < torch.inf:
            raise self._not_finite(inputs, target)
        if gap > TOLERATED and not self._warned:
            self._warned = True
            self._warn(gap, inputs, target)

    def _not_finite(self, inputs: Inputs, target: "Target | None") -> UnsupportedModelError:
        inputs.check_values()
        target = target.cpu() if isinstance(target, Tensor) else target  # what is no class is said
        leaks = self.observed(inputs, target, Ledger).observer.leaks
        where = next((f", first at {leak.where}" for leak in leaks if not abs(leak.share) < torch.inf), "")
        return UnsupportedModelError(f"relevance is NaN or infinite{where}: choose another rule there")

    def _warn(self, gap: float, inputs: Inputs, target: "Target | None") -> None:
        leaks = self.observed(inputs, target, Ledger).observer.leaks
        broken = [leak for leak in leaks if leak.promised][:1]
        where = "".join(f", first {abs(leak.share):.1e} of it at {leak.where}" for leak in broken)
        warnings.warn(
            f"LRP: relevance is not conserved, the map's sum is off by {gap:.1e} of the start{where}: "
            "LRP.check(images) shows every step",
            stacklevel=4,
        )


@dataclass(frozen=True)
class Run(Generic[Observed]):
    """One map: ``relevances`` of each input.

    Of evidence, ``evidence`` is the relevance of the last feature map, and ``is_flat`` says which images have none.
    """

    evidence: Tensor | None
    relevances: tuple[Tensor, ...]
    guard: Guard
    observer: Observed
    is_flat: Tensor | None = None

    @property
    def relevance(self) -> Tensor:
        """Of the one input, or of the first of several."""
        return self.relevances[0]


def _watch(
    recording: Recording, start: Tensor, return_sums: bool, at: str | Sequence[str] | None, inputs: Inputs
) -> "_Observers | None":
    return _Observers(recording, start, return_sums, at, inputs) if return_sums or at is not None else None


class _Observers:
    """Look at what :meth:`LRP.attribute` is asked for."""

    def __init__(
        self, recording: Recording, start: Tensor, return_sums: bool, at: str | Sequence[str] | None, inputs: Inputs
    ) -> None:
        self.sums = Sums(recording, start) if return_sums else None
        self.inside = None if at is None else stages(recording, at, inputs)

    def visit(self, step: Step, relevance: Tensor, passed: Passed) -> None:
        """Show what has arrived at a step to all that look on."""
        for observer in (self.sums, self.inside):
            if observer is not None:
                observer.visit(step, relevance, passed)


def _by_image(values: Tensor, like: Tensor) -> Tensor:
    """Return ``values`` (N,) so that they act on the images of ``like`` (N, ...)."""
    return values.reshape(-1, *[1] * (like.dim() - 1))


@contextmanager
def _plain(create_graph: bool = False) -> Iterator[None]:
    """No gradients, or all of them, and no inference mode, whose tensors have no transposes of index maps."""
    with torch.inference_mode(False), torch.set_grad_enabled(create_graph):
        yield


def _splitting(split: "str | Splitting") -> Splitting:
    if isinstance(split, str):
        return SPLITTINGS.get(split, hint=", or an object with a method share(skip, branch)")()
    for missing in (name for name in ("share", "conserves") if not hasattr(split, name)):
        raise InputError(f"split: a {type(split).__name__} has no {missing}: see relsplit.lrp.splitting.Splitting")
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
