"""LRP recorded as a CUDA graph: a GPU replays the kernels of a pass without waiting for Python between them."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from relsplit.checks import checked_images
from relsplit.errors import InputError
from relsplit.lrp.lrp import LRP
from relsplit.lrp.start import check_finite
from relsplit.lrp.walk import walk_back
from relsplit.networks.answer import Answer, Kind

PREDICTED = -1
"""Stands for the predicted class among targets."""

_WARM_UPS = 2


class RecordedLRP:
    """:class:`relsplit.LRP` for batches of one shape on a GPU, recorded once and replayed for every further batch.

    A pass is many small kernels, which Python launches more slowly than a GPU computes them for few images. What is
    recorded belongs to a copy of the network: weights that change later are not seen.

    Example::

        recorded = RecordedLRP(network, images, split="ratio")
        relevance = recorded.attribute(images)

    Args:
        model: see :class:`relsplit.LRP`; on a GPU.
        images: (N, C, H, W) on the same GPU; later batches have their shape and dtype.
        options: of :class:`relsplit.LRP`; ``start`` is no function.

    Raises:
        InputError: the images are on no GPU, or as for :class:`relsplit.LRP`.
        UnsupportedModelError: as for :class:`relsplit.LRP`.
    """

    def __init__(self, model: nn.Module, images: Tensor, **options: Any) -> None:
        self._images = checked_images(images).clone()
        explainer = LRP(copy.deepcopy(model), **options)
        if callable(explainer.start):
            raise InputError('start: a recorded pass begins with "probability", "logit" or "one", not with a function')
        if not images.is_cuda:
            raise InputError(f"images: a CUDA graph needs a GPU, they are on {images.device}: use LRP there")
        self._explainer = explainer  # keeps alive what the recorded kernels read
        self._target = torch.full((len(images),), PREDICTED, device=images.device)
        explainer.attribute(self._images)  # what the network or the options do not allow is said here
        self._kind = explainer.answer(explainer.record(self._images), len(images)).kind
        beside = torch.cuda.Stream(images.device)
        beside.wait_stream(torch.cuda.current_stream(images.device))
        with torch.cuda.stream(beside):
            for _ in range(_WARM_UPS):
                pass_without_questions(explainer, self._images, self._target, self._kind)
        torch.cuda.current_stream(images.device).wait_stream(beside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._relevance, self._scores = pass_without_questions(explainer, self._images, self._target, self._kind)

    def attribute(self, images: Tensor, target: int | Tensor | None = None) -> Tensor:
        """Return the relevance of every pixel, as :meth:`relsplit.LRP.attribute` does.

        Args:
            images: of the recorded shape and dtype, on the same GPU.
            target: None (the predicted class), one index, or a tensor of N indices.

        Returns:
            (N, C, H, W), detached.

        Raises:
            InputError: other images than those that were recorded, a class that does not exist, or scores that are NaN
                or infinite.
        """
        images = checked_images(images)
        recorded = self._images
        if (images.shape, images.dtype, images.device) != (recorded.shape, recorded.dtype, recorded.device):
            raise InputError(
                f"images: recorded for {tuple(recorded.shape)}, {recorded.dtype} on {recorded.device}, not "
                f"{tuple(images.shape)}, {images.dtype} on {images.device}: record those, too"
            )
        recorded.copy_(images)
        if target is None:
            self._target.fill_(PREDICTED)
        else:
            self._target.copy_(Answer(self._scores, self._kind).classes(target))
        self._graph.replay()
        check_finite(self._scores)
        return self._relevance.clone()


def pass_without_questions(explainer: LRP, images: Tensor, target: Tensor, kind: Kind) -> tuple[Tensor, Tensor]:
    """Explain images that are checked; on a GPU nothing is read back on the way.

    Args:
        explainer: whose ``start`` is no function.
        images: (N, C, H, W).
        target: (N,) int64 classes, :data:`PREDICTED` for the predicted one.
        kind: what the network's output holds.

    Returns:
        Relevance (N, C, H, W) and scores (N, classes).
    """
    with torch.inference_mode(False), torch.no_grad():
        recording = explainer.record(images)
        answer = Answer(recording.output, kind)
        classes = torch.where(target == PREDICTED, answer.predicted, target)
        start = explainer.begin(recording, answer, classes)
        (relevance,) = walk_back(recording.result, start, [recording.image], recording.recorder.watch)
        return relevance.contiguous(), answer.output
