"""SmoothGrad (Smilkov et al., 2017), by captum."""

from typing import Annotated

import captum.attr
import torch
from torch import Tensor, nn

from relsplit.explainers.shared.captum_call import Score, captum_call, with_score
from relsplit.explainers.shared.image_seed import image_seed
from relsplit.networks.shared_network import SharedNetwork
from relsplit.options import Count, Limits, Seed, checked_options


@checked_options
class SmoothGrad:
    """Mean gradient of the score over copies of the image with Gaussian noise, seeded per image.

    Args:
        model: any differentiable network.
        samples: noisy copies (SmoothGrad's paper: 50).
        noise: standard deviation, as a share of the image's range max - min (SmoothGrad's paper: 0.1 to 0.2).
        score: ``"logit"`` or ``"probability"``.
        batch_size: noisy copies per forward pass; another number draws other noise.
        seed: another seed draws other noise.

    Raises:
        InputError: fewer than one sample or copy, noise that is not positive, an unknown score.
    """

    def __init__(
        self,
        model: nn.Module,
        samples: Annotated[int, Limits(minimum=1, maximum=100_000)] = 50,
        noise: Annotated[float, Limits(above=0, maximum=100)] = 0.15,
        score: Score = "logit",
        batch_size: Count = 32,
        seed: Seed = 42,
    ) -> None:
        self._shared = SharedNetwork(model)
        self._samples = samples
        self._noise = noise
        self._score = score
        self._batch_size = batch_size
        self._seed = seed

    @property
    def forward_equivalents(self) -> float:
        """Forward and backward, once per sample."""
        return 2.0 * self._samples

    def attribute(self, images: Tensor, target: Tensor | int | None = None) -> Tensor:
        """Attribution (N, 3, H, W) in units of the score per unit of the normalised image."""
        with captum_call():
            network, images, classes = self._shared.prepare(images, target)
            method = captum.attr.NoiseTunnel(captum.attr.Saliency(with_score(network, self._score)))
            return torch.stack([self._smooth(method, image, c) for image, c in zip(images, classes, strict=True)])

    def _smooth(self, method: captum.attr.NoiseTunnel, image: Tensor, target: Tensor) -> Tensor:
        # captum draws from the global generator, which is put back as it was.
        devices = [image.device] if image.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(image_seed(image, self._seed))
            attribution: Tensor = method.attribute(
                image[None],
                nt_type="smoothgrad",
                nt_samples=self._samples,
                nt_samples_batch_size=min(self._batch_size, self._samples),
                stdevs=float(image.max() - image.min()) * self._noise,
                target=target[None],
                abs=False,
            )
        return attribution.detach()[0]
