"""What speaks for a class at every resolution of a network, by gradients alone."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node

from relsplit.explainers.shared.common_places import KeptValues, passed_by_all_gradients
from relsplit.explainers.shared.on_the_image import Smoothing, mean_of_shares
from relsplit.explainers.shared.rivals import check_is_class
from relsplit.flat_maps import warn_of_flat_maps
from relsplit.lrp.evidence import difference
from relsplit.lrp.positions import on_grid, same_as_channels
from relsplit.networks.answer import Scores
from relsplit.networks.feature_maps import rows_are_channels
from relsplit.networks.outputs import OutputChoice
from relsplit.networks.shared_network import SharedNetwork, check_differentiable, differentiated
from relsplit.options import checked_options
from relsplit.targets.target import Target

Values = Mapping[Node | None, Tensor]


@checked_options
class GradientPyramid:
    """HiResCAM of the log-probability at every resolution, netted by position, smoothed and averaged: no LRP.

    At the last place of every resolution that all gradients pass (where ``LRP.attribute(at="all")`` reads
    relevance, and the last patch tokens that the answer depends on), with the value A there, the map is
    ``max(0, sum_k A_k dlog p_c / dA_k)``, scaled to the probability p_c of the class. (The gradient is that of the
    log-odds, which has its direction and does not vanish where p_c is 1.) The mean over the resolutions sums to p_c. A
    resolution without a position that speaks for the class is left out; where none has one, the map is flat, and it is
    said. Class evidence has to be compared with it: the netting is the same, and nothing is propagated by rules.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from relsplit.explainers import GradientPyramid
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
        >>> tuple(GradientPyramid(model).attribute(torch.rand(2, 3, 16, 16), target=3).shape)
        (2, 16, 16)

    Args:
        model: any differentiable network.
        smoothing: of every resolution's map; 0 for none.
        scores: what the network's output holds, see :mod:`relsplit.networks.answer`.
        output: which part of the network's output is explained, see :class:`relsplit.LRP`.

    Raises:
        InputError: an option that does not exist.
    """

    forward_equivalents = 2.0
    """Forward and backward."""

    def __init__(
        self,
        model: nn.Module,
        smoothing: Smoothing = 0.07,
        scores: Scores = "auto",
        output: "OutputChoice | None" = None,
    ) -> None:
        self._shared = SharedNetwork(model, scores, output)
        self._smoothing = smoothing

    def attribute(self, images: Tensor, target: "Target | None" = None) -> Tensor:
        """Maps (N, H, W), each of the sum of the class's probability.

        Raises:
            InputError: see :class:`relsplit.explainers.explainer.Explainer`.
        """
        with torch.inference_mode(False), torch.enable_grad():
            call = self._shared.call(images, target)
            check_is_class(call.explained, "gradient_pyramid")
            variable = call.images.requires_grad_()
            given = variable.clone()  # the first step may be in place
            with KeptValues() as kept:
                output = call.network(given)
            answer = call.checked(output)
            check_differentiable(answer.output)
            classes = answer.classes(call.explained)
            probability = answer.probability(classes).detach()[:, None, None]
            score = difference(answer.logits, classes, "rivals", answer.kind != "multi_label").sum()
            found = contributions(answer.output, score, kept.by_node(), variable)
        size = (images.shape[2], images.shape[3])
        shares, is_flat = mean_of_shares([each.sum(1).clamp(min=0) for each in found], size, self._smoothing)
        warn_of_flat_maps("gradient_pyramid", is_flat, "no position speaks for the class", stacklevel=2)
        return probability * shares


def contributions(output: Tensor, score: Tensor, values: Values, images: Tensor) -> list[Tensor]:
    """Return value times gradient at the last place of every resolution that all gradients pass, and at the image.

    Args:
        output: of the network.
        score: what is differentiated, of all images together.
        values: of the network by the nodes that made them, among which places are chosen.
        images: (N, C, H, W), which require gradients; nothing else does.

    Returns:
        (N, C, h, w) each, float32 at least, the one nearest to the output first.
    """
    places = [*_places(output, values, images), images]
    *gradients, of_images = differentiated(score, places)
    found: dict[torch.Size, Tensor] = {}
    products = [value.detach() * gradient for value, gradient in zip(places, gradients, strict=False)]
    for number, contribution in enumerate(products):
        product = _on_grid(contribution, images)
        # The last block of a transformer hands on the class token alone: its patches say nothing any more.
        is_seen = contribution.dim() == 4 or bool(product.any())
        if not is_seen or (contribution.dim() == 3 and not _are_places(contribution, products[number + 1 :], images)):
            continue
        resolution = product.shape[2:]
        # What is larger nearer to the output was padded or repeated: it shows nothing that this does not show.
        for enlarged in [each for each in found if each.numel() > resolution.numel()]:
            del found[enlarged]
        found.setdefault(resolution, product)
    return [*found.values(), _on_grid(images.detach() * of_images, images)]


def _are_places(rows: Tensor, below: list[Tensor], images: Tensor) -> bool:
    """Say whether contributions (N, T, D) are those of tokens, and not of the channels of a map ``below``."""
    size = images.shape[2], images.shape[3]
    of_map = next((_on_grid(each, images) for each in below if each.dim() == 4), None)
    are_channels = rows_are_channels(rows.shape, None if of_map is None else of_map.shape, size)
    if are_channels is None and of_map is not None:
        are_channels = same_as_channels(rows, of_map)
    return not are_channels


def _places(output: Tensor, values: Values, images: Tensor) -> list[Tensor]:
    """Return the values that all gradients pass and that lie on a grid, of feature maps the last of a resolution."""
    size, places = images.shape[2:], []
    maps: set[torch.Size] = set()
    for node in passed_by_all_gradients(output):
        value = values.get(node)
        if value is None or value.dim() not in (3, 4) or len(value) != len(images):
            continue
        grid = on_grid(value, size)
        if grid is None or (value.dim() == 4 and grid.shape[2:] in maps):
            continue
        places.append(value)
        if value.dim() == 4:
            maps.add(grid.shape[2:])
    return places


def _on_grid(contribution: Tensor, images: Tensor) -> Tensor:
    found = on_grid(contribution, images.shape[2:])
    assert found is not None  # places were chosen by it, and images lie on a grid of their own
    return found.to(torch.promote_types(found.dtype, torch.float32))
