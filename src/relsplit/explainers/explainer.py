"""What every explainer offers."""

from typing import Protocol

from torch import Tensor

from relsplit.targets.target import Target


class Explainer(Protocol):
    """A method that says how much each pixel speaks for a class.

    An explainer is constructed as ``Method(model, **options)`` and leaves the model as it found it: parameters,
    buffers, gradients, train/eval mode, hooks and in-place flags. Maps are always made in eval mode.
    """

    @property
    def forward_equivalents(self) -> float:
        """Cost of one image, in forward passes of the network (a backward pass to the input counts as one)."""

    def attribute(self, inputs: Tensor, /, target: "Target | None" = None) -> Tensor:
        """Attribution of ``inputs`` for the class ``target``.

        Most take anything that :meth:`relsplit.LRP.attribute` takes, ``forward_kwargs`` included (docs/explainers.md
        says which); all take images.

        Args:
            inputs: (N, 3, H, W), floating point, normalised as the network expects it.
            target: class of every image, (N,) int64, or one class for all, or None for the predicted class.

        Returns:
            (N, C, H, W) or (N, h, w), detached, on the images' device. It depends on each image alone, not on the rest
            of the batch.

        Raises:
            InputError: inputs, target or network cannot be used.
        """
