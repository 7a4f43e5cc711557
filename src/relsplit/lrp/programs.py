"""The compiled programs of one model: traced once or, where that fails, exported for every shape of images."""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from relsplit.errors import InputError
from relsplit.lrp.compiler import compile_model
from relsplit.lrp.graph.exporting import export
from relsplit.lrp.graph.outputs import OutputChoice
from relsplit.lrp.graph.tracing import Traced, UnsupportedModelError, trace
from relsplit.lrp.operations.context import Options
from relsplit.lrp.program import Program
from relsplit.networks.views import eval_view

KEPT = 8
"""Shapes of images whose exported programs are kept."""


class Programs:
    """Hands out the program for a batch of images, compiled anew if modules have been exchanged since.

    Args:
        model: the user's network.
        options: of LRP.
        output: which part of the network's output is explained.

    Raises:
        UnsupportedModelError: the network cannot be traced, and torch.export cannot be tried (it has user's leaves, or
            no Python forward).
        InputError: an option that does not fit the network.
    """

    def __init__(self, model: nn.Module, options: Options, output: OutputChoice | None) -> None:
        if isinstance(model, torch.jit.ScriptModule):
            raise UnsupportedModelError(
                "a TorchScript model has no Python forward to trace: hand in the original nn.Module"
            )
        self._model = model
        self._options = options
        self._output = output
        self._traced: Program | UnsupportedModelError
        self._renew()

    def get(self, images: Tensor) -> Program:
        """Return the program for ``images`` (N, C, H, W).

        Raises:
            UnsupportedModelError: neither torch.fx nor torch.export can follow the model, or it holds an operation
                without a rule.
            InputError: the model does not accept the images.
        """
        if self._modules != tuple(self._model.modules()):
            self._renew()
        if isinstance(self._traced, Program):
            return self._traced
        key = (images.shape, images.dtype, images.device)
        if key not in self._exported:
            self._exported[key] = self._export(images, self._traced)
            if len(self._exported) > KEPT:
                self._exported.popitem(last=False)
        return self._exported[key]

    def instead_of(self, failed: Program, images: Tensor, error: UnsupportedModelError) -> Program:
        """Return the exported program after a step of the traced one has failed on ``images``.

        Raises:
            InputError: the model itself does not accept the images.
            UnsupportedModelError: as ``get``; or ``error``, where the program that failed is an exported one or there
                can be no other.
        """
        if any(failed is program for program in self._exported.values()):
            raise error
        _try_model(self._model, images)
        if self._options.leaves:
            raise error
        self._traced = error
        return self.get(images)

    def _renew(self) -> None:
        self._modules = tuple(self._model.modules())
        self._exported: OrderedDict[object, Program] = OrderedDict()
        try:
            self._traced = self._compiled(trace(self._model, self._options.leaves, self._output))
        except UnsupportedModelError as error:
            if self._options.leaves:
                raise  # torch.export would look into what the user wants to have kept whole
            self._traced = error

    def _export(self, images: Tensor, traced: UnsupportedModelError) -> Program:
        try:
            exported = export(self._model, images, self._output)
        except UnsupportedModelError as error:
            _try_model(self._model, images)
            raise UnsupportedModelError(
                f"{traced}; {error}: name the module that does what cannot be traced in LRP(leaves={{ItsClass: rule}})"
            ) from error
        return self._compiled(exported)

    def _compiled(self, traced: Traced) -> Program:
        try:
            return compile_model(traced, self._options)
        except InputError:
            raise
        except Exception as error:  # a graph of a form that nobody has seen
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            raise UnsupportedModelError(
                f"the graph of {type(self._model).__name__} is not understood ({reason})"
            ) from error


def _try_model(model: nn.Module, images: Tensor) -> None:
    """Say so if it is the images that the model does not accept."""
    try:
        eval_view(model)(images)
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(
            f"images: the model does not accept shape {tuple(images.shape)}, {images.dtype} on {images.device} alone: "
            f"{reason}"
        ) from error
