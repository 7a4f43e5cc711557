"""Score-CAM (Wang et al., 2020): its own batched computation, in the released and in pytorch-grad-cam's variant."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relsplit.explainers.shared.activation_maps import smoothed_cam, unit_range, upsampled, with_places
from relsplit.explainers.shared.on_the_image import Smoothing
from relsplit.networks.answer import Answer, Score, Scores
from relsplit.networks.batches import images_per_pass
from relsplit.networks.inference_copy import Precision, check_precision, inference_copy
from relsplit.networks.named_layers import AUTO, channel_count, find_layer, last_spatial_layer, layer_name, layer_output
from relsplit.networks.outputs import OutputChoice
from relsplit.networks.shared_network import Call, SharedNetwork
from relsplit.options import Count, checked_options
from relsplit.targets.target import Target


@dataclass(frozen=True)
class Masks:
    """Which masked images have to be evaluated.

    Attributes:
        patterns: (M, h, w) in [0, 1], different masks before upsampling.
        image: (M,) int64, the image that each belongs to.
        pattern_of: (N, C) int64, the mask of each image's channel.
        constant: (N, C) bool, channels without a pattern: their mask is 0 everywhere.
    """

    patterns: Tensor
    image: Tensor
    pattern_of: Tensor
    constant: Tensor


@checked_options
class ScoreCAM:
    """Channels of the target layer, each weighted by the score of the image that its own activation masks.

    Every channel costs a forward pass. Channels whose masks are equal (all constant ones, all with one active position)
    share one; the masked images exist one batch at a time; the network that evaluates them has BatchNorm folded into
    its convolutions and keeps the channels last in memory.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from relsplit.explainers import ScoreCAM
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
        >>> tuple(ScoreCAM(model, target_layer="1").attribute(torch.rand(2, 3, 16, 16), target=3).shape)
        (2, 16, 16)

    Args:
        model: network with a ``target_layer`` that returns a feature map.
        target_layer: name such as ``layer4[-1]``, ``auto`` for the last module with a feature map, or ``published``;
            see :class:`relsplit.explainers.grad_cam.GradCAM`.
        variant: ``"probability"`` (released code): weight = probability of the class, constant channels are left out,
            the sum is upsampled before its positive part is taken. ``"channel_softmax"`` (pytorch-grad-cam): weight =
            softmax of the logits over the channels.
        batch_size: masked images per forward pass, None to let the device decide; changes memory and speed, not the
            result.
        precision: of the network that reads the masked images; fp16 is for GPUs.
        smoothing: of the map on the image, see :class:`relsplit.explainers.grad_cam.GradCAM`; None: as published.
        scores: what the network's output holds, see :mod:`relsplit.networks.answer`.
        output: which part of the network's output is explained, see :class:`relsplit.LRP`.

    Raises:
        InputError: the network has no such layer, or an option has an unknown value.
    """

    def __init__(
        self,
        model: nn.Module,
        target_layer: str = "auto",
        variant: Literal["probability", "channel_softmax"] = "probability",
        batch_size: Count | None = None,
        precision: Precision = "fp32",
        smoothing: Smoothing | None = None,
        scores: Scores = "auto",
        output: "OutputChoice | None" = None,
    ) -> None:
        self._shared = SharedNetwork(model, scores, output)
        self._variant = variant
        self._target_layer = name = layer_name(model, target_layer)
        self._batch_size = batch_size
        self._precision: Precision = precision
        self._smoothing = smoothing
        last = list(model.modules())[-1]
        self._channels = channel_count(model, last if name == AUTO else find_layer(model, name))

    @property
    def forward_equivalents(self) -> float:
        """One pass for the activation and one for each channel; fewer where channels share a mask."""
        return 1.0 + self._channels

    def attribute(
        self, inputs: Tensor, target: "Target | None" = None, *, forward_kwargs: "Mapping[str, Any] | None" = None
    ) -> Tensor:
        """Maps in [0, 1], at the inputs' size: of images (N, H, W), of signals (N, L), of volumes (N, D, H, W)."""
        with torch.inference_mode(False), torch.no_grad():
            call = self._shared.call(inputs, target, forward_kwargs)
            given, name = with_places(call), self._target_layer
            check_precision(self._precision, given.device)
            layer = last_spatial_layer(call.network, call.first) if name == AUTO else find_layer(call.network, name)
            output, activation = layer_output(call.network, layer, name, call.inputs)
            if callable(call.explained) or not call.is_of_images:
                scores, constant = self._scores_of_anything(call, activation)
            else:
                answer = call.read(output)
                network = inference_copy(call.network, self._precision, (given, answer.output))
                masks = different_masks(activation)
                classes = answer.classes(call.explained)
                scores = self._masked_scores(network, answer, given, masks, classes)[masks.pattern_of]
                constant = masks.constant
            released, size = self._variant == "probability", given.shape[2:]
            weights = scores.masked_fill(constant, 0) if released else scores.softmax(dim=1)
            total = (weights.reshape(*weights.shape, *[1] * len(size)) * activation).sum(dim=1)
            if self._smoothing is not None:
                total = total.to(torch.promote_types(total.dtype, torch.float32))
                return smoothed_cam(total, given, self._smoothing)
            return _released_map(total, size) if released else _grad_cam_library_map(total, size)

    def _scores_of_anything(self, call: Call, activation: Tensor) -> tuple[Tensor, Tensor]:
        """Of every channel (N, C) the score of the masked input, one channel of all samples after another."""
        (given,) = call.values
        score = call.by_sample("logit" if self._variant == "channel_softmax" else "probability")
        found = []
        for channel in activation.unbind(1):
            mask = unit_range(upsampled(channel, given.shape[2:], self._variant == "channel_softmax"))
            found.append(score([given * mask[:, None]]).to(given.dtype))
        flat = activation.flatten(2)
        return torch.stack(found, 1), flat.amin(2) == flat.amax(2)

    def _masked_scores(
        self, network: nn.Module, answer: Answer, images: Tensor, masks: Masks, classes: Tensor
    ) -> Tensor:
        """Of every masked image the score of its class: the probability, or the logit."""
        aligned = self._variant == "channel_softmax"
        size = images_per_pass(self._batch_size, images.device, images.shape[-2:].numel(), self._precision)
        # One tensor for all: thousands of small ones between the large ones of the network would fragment the heap.
        scores = images.new_empty(len(masks.patterns))
        for start in range(0, len(scores), size):
            patterns, image = masks.patterns[start : start + size], masks.image[start : start + size]
            mask = F.interpolate(patterns[:, None], size=images.shape[-2:], mode="bilinear", align_corners=aligned)
            low, high = mask.amin(dim=(2, 3), keepdim=True), mask.amax(dim=(2, 3), keepdim=True)
            mask = (mask - low) / (high - low).clamp(min=torch.finfo(mask.dtype).tiny)
            masked = images[image] * mask
            if self._precision == "fp32":  # otherwise the copy does it as it rounds
                masked = masked.contiguous(memory_format=torch.channels_last)
            score: Score = "logit" if aligned else "probability"
            scores[start : start + size] = answer.like(network(masked)).score(classes[image], score)
        return scores


def different_masks(activation: Tensor) -> Masks:
    """The different masks of ``activation`` (N, C, h, w), in a stream over all images.

    A mask is the activation scaled to [0, 1], which upsampling does not change: channels that are equal after scaling
    have the same masked image.
    """
    low, high = activation.amin(dim=(2, 3), keepdim=True), activation.amax(dim=(2, 3), keepdim=True)
    constant = (low == high)[:, :, 0, 0]
    scaled = (activation - low) / (high - low).masked_fill(low == high, 1)
    patterns, images, pattern_of, count = [], [], [], 0
    for index, channels in enumerate(scaled):
        unique, inverse = channels.flatten(1).unique(dim=0, return_inverse=True)
        patterns.append(unique.reshape(-1, *channels.shape[1:]))
        images.append(torch.full((len(unique),), index, device=activation.device))
        pattern_of.append(inverse + count)
        count += len(unique)
    return Masks(torch.cat(patterns), torch.cat(images), torch.stack(pattern_of), constant)


def _released_map(total: Tensor, size: torch.Size) -> Tensor:
    # The sum of upsampled channels is the upsampled sum.
    return unit_range(upsampled(total, size).relu())


def _grad_cam_library_map(total: Tensor, size: torch.Size) -> Tensor:
    return unit_range(upsampled(unit_range(total.relu()), size))
