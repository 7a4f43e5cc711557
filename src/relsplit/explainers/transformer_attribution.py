"""Transformer Attribution (Chefer et al., "Transformer Interpretability Beyond Attention Visualization", CVPR 2021)."""

import torch
from torch import Tensor, nn

from relsplit.checks import checked_images
from relsplit.explainers.shared.attention_weights import WeightRelevance, attentions, identity_like, map_of_tokens
from relsplit.lrp import LRP
from relsplit.lrp.attention.treatment import Attention
from relsplit.lrp.rules.epsilon import Epsilon
from relsplit.networks.outputs import OutputChoice


class TransformerAttribution:
    """The product over the blocks of ``I + mean_heads(grad A * R_A)+`` (Eq. 13-14).

    ``grad A`` is the gradient of the class's score with respect to the attention weights, ``R_A`` their relevance by
    LRP, started from one: z+ for layers, halves by the epsilon rule for products (Eq. 7-10). Where skip connections
    meet, this library's ratio-based splitting replaces the paper's normalisation, which in the released code runs over
    the whole batch.

    Examples:
        >>> import torch
        >>> from torchvision.models import VisionTransformer
        >>> from relsplit.explainers import TransformerAttribution
        >>> sizes = {"image_size": 16, "patch_size": 8, "num_layers": 2, "num_heads": 2, "hidden_dim": 8, "mlp_dim": 16}
        >>> model = VisionTransformer(**sizes, num_classes=5)
        >>> tuple(TransformerAttribution(model).attribute(torch.rand(2, 3, 16, 16), target=3).shape)
        (2, 2, 2)

    Args:
        model: a plain vision transformer.
        output: which part of the network's output is explained, see :class:`relsplit.LRP`.

    Raises:
        UnsupportedModelError: the network is a TorchScript as a whole.
    """

    forward_equivalents = 5.0
    """LRP, and once forward and back for the gradients."""

    def __init__(self, model: nn.Module, output: "OutputChoice | None" = None) -> None:
        self._lrp = LRP(model, attention=Attention(Epsilon(), to_weights=True), start="one", output=output)

    def attribute(self, images: Tensor, target: Tensor | int | None = None) -> Tensor:
        """Maps (N, side, side) of the patches, not negative.

        Raises:
            InputError: the network has no attention among all of its tokens, or see
                :class:`relsplit.explainers.explainer.Explainer`.
        """
        images = checked_images(images)
        found = attentions(self._lrp, images)
        with torch.inference_mode(False):
            with torch.enable_grad():
                chosen = found.answer.classes(target)
                gradients = found.gradients(found.answer.own_score(chosen).sum())
            with torch.no_grad():
                relevance = self._lrp.observed(images, chosen, WeightRelevance).observer.of_blocks()
                mixing = identity_like(found.weights[0][:, 0]).expand(len(images), -1, -1)
                for gradient, arrived in zip(gradients, relevance, strict=True):
                    part = (gradient * arrived).clamp(min=0).mean(1)
                    mixing = mixing + part @ mixing
                return map_of_tokens(mixing)
