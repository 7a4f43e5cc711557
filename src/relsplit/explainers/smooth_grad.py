"""SmoothGrad (Smilkov et al., 2017)."""

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from relsplit.explainers.shared.image_seed import image_seed
from relsplit.explainers.shared.vectors import length
from relsplit.networks.answer import ClassScore, Scores
from relsplit.networks.inputs import Given
from relsplit.networks.outputs import OutputChoice
from relsplit.networks.shared_network import Call, SharedNetwork, differentiated, gradients
from relsplit.options import Count, Limits, Seed, checked_options
from relsplit.targets.target import Target


@checked_options
class SmoothGrad:
    """Mean gradient of the score over copies of the input with Gaussian noise, seeded per sample.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from relsplit.explainers import SmoothGrad
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
        >>> tuple(SmoothGrad(model, samples=4).attribute(torch.rand(2, 3, 16, 16), target=3).shape)
        (2, 3, 16, 16)

    Args:
        model: any differentiable network.
        samples: noisy copies (SmoothGrad's paper: 50).
        noise: standard deviation, as a share of the input's range max - min (SmoothGrad's paper: 0.1 to 0.2).
        score: ``"logit"`` or ``"probability"``.
        batch_size: noisy copies per forward pass; another number draws other noise.
        seed: another seed draws other noise.
        scores: what the network's output holds, see :mod:`relsplit.networks.answer`.
        output: which part of the network's output is explained, see :class:`relsplit.LRP`.

    Raises:
        InputError: fewer than one sample or copy, noise that is not positive, an unknown score.
    """

    def __init__(
        self,
        model: nn.Module,
        samples: Annotated[int, Limits(minimum=1, maximum=100_000)] = 50,
        noise: Annotated[float, Limits(above=0, maximum=100)] = 0.15,
        score: ClassScore = "logit",
        batch_size: Count = 32,
        seed: Seed = 42,
        scores: Scores = "auto",
        output: "OutputChoice | None" = None,
    ) -> None:
        self._shared = SharedNetwork(model, scores, output)
        self._samples = samples
        self._noise = noise
        self._score: ClassScore = score
        self._batch_size = batch_size
        self._seed = seed

    @property
    def forward_equivalents(self) -> float:
        """Forward and backward, once per sample."""
        return 2.0 * self._samples

    def attribute(
        self, inputs: Given, target: "Target | None" = None, *, forward_kwargs: "Mapping[str, Any] | None" = None
    ) -> Any:
        """Attribution of the inputs' shape in units of the score per unit of the input; of tokens (N, T), its length.

        The noise of tokens is added to their vectors.
        """
        with torch.inference_mode(False), torch.enable_grad():
            call = self._shared.call(inputs, target, forward_kwargs)
            if callable(call.explained) or not call.is_of_images:
                return self._of_anything(call)
            answer = call.differentiable(call.images.clone().requires_grad_())
            scores = call.scores(answer, self._score)
            classes = answer.classes(call.explained)
            return torch.stack([self._smooth(scores, x, c) for x, c in zip(call.images, classes, strict=True)])

    def _of_anything(self, call: Call) -> Any:
        """All samples at once, a noisy copy after another: a target may say something else of each."""
        call.gradient(self._score)  # what the network or the target does not allow is said here
        score = call.by_sample(self._score)
        drawn = [[self._noise_of(sample) for sample in value] for value in call.values]
        totals = [torch.zeros_like(value) for value in call.values]
        for _ in range(self._samples):
            noisy = [
                (value + torch.stack([next(each) for each in noises]).to(value.device)).to(value.dtype)
                for value, noises in zip(call.values, drawn, strict=True)
            ]
            for total, gradient in zip(totals, gradients(score, noisy), strict=True):
                total += gradient
        return call.arranged([total / self._samples for total in totals], by=length)

    def _noise_of(self, sample: Tensor) -> Iterator[Tensor]:
        generator = torch.Generator("cpu").manual_seed(image_seed(sample, self._seed))
        deviation = float(sample.max() - sample.min()) * self._noise
        while True:
            yield torch.normal(0, deviation, sample.shape, generator=generator)

    def _smooth(self, scores: Callable[[Tensor], Tensor], image: Tensor, target: Tensor) -> Tensor:
        # Of its own, for the global generator is shared by all threads, and on the CPU: the same noise everywhere.
        generator = torch.Generator("cpu").manual_seed(image_seed(image, self._seed))
        deviation = torch.tensor(float(image.max() - image.min()) * self._noise)
        total = torch.zeros_like(image)
        for start in range(0, self._samples, self._batch_size):
            count = min(self._batch_size, self._samples - start)
            noise = torch.normal(0, deviation.repeat(count, *image.shape), generator=generator).to(image.device)
            noisy = (image + noise).to(image.dtype).requires_grad_()
            (gradient,) = differentiated(scores(noisy)[:, target].sum(), [noisy])
            total += gradient.sum(0)
        return total / self._samples
