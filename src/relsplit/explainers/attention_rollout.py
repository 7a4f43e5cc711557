"""Attention rollout (Abnar and Zuidema, "Quantifying Attention Flow in Transformers", ACL 2020)."""

import torch
from torch import Tensor, nn

from relsplit.checks import checked_images
from relsplit.explainers.shared.attention_weights import attentions, identity_like, map_of_tokens
from relsplit.lrp import LRP
from relsplit.networks.outputs import OutputChoice


class AttentionRollout:
    """The product over the blocks of ``mean_heads(A) + I``, its rows normalised: how attention mixes the tokens.

    There is one map per image, whatever the class: ``target`` is checked and not used.

    Examples:
        >>> import torch
        >>> from torchvision.models import VisionTransformer
        >>> from relsplit.explainers import AttentionRollout
        >>> sizes = {"image_size": 16, "patch_size": 8, "num_layers": 2, "num_heads": 2, "hidden_dim": 8, "mlp_dim": 16}
        >>> model = VisionTransformer(**sizes, num_classes=5)
        >>> tuple(AttentionRollout(model).attribute(torch.rand(2, 3, 16, 16), target=3).shape)
        (2, 2, 2)

    Args:
        model: a plain vision transformer.
        output: which part of the network's output is explained, see :class:`relsplit.LRP`.

    Raises:
        UnsupportedModelError: the network is a TorchScript as a whole.
    """

    forward_equivalents = 1.0
    """One forward pass."""

    def __init__(self, model: nn.Module, output: "OutputChoice | None" = None) -> None:
        self._lrp = LRP(model, output=output)

    def attribute(self, images: Tensor, target: Tensor | int | None = None) -> Tensor:
        """Maps (N, side, side) of the patches, in [0, 1].

        Raises:
            InputError: the network has no attention among all of its tokens, or see
                :class:`relsplit.explainers.explainer.Explainer`.
        """
        images = checked_images(images)
        found = attentions(self._lrp, images)
        with torch.inference_mode(False), torch.no_grad():
            found.answer.classes(target)
            weights = found.weights
            mixing = identity_like(weights[0][:, 0]).expand(len(images), -1, -1)
            for each in weights:
                mixed = each.mean(1) + identity_like(mixing)
                mixing = mixed / mixed.sum(-1, keepdim=True) @ mixing
            return map_of_tokens(mixing)
