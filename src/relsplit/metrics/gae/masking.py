"""An image that is masked step by step in the order of its own gradients: what GAE compares the maps with.

It depends on the network and the image and not on the explainer, so that all methods can share it.
"""

import hashlib
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from relsplit.files import replacing
from relsplit.metrics.gae.protocol import STATES, Protocol
from relsplit.networks.answer import Answer, AnswerReader
from relsplit.networks.shared_network import differentiated

ORDERS = ("morf", "lerf")
"""Most relevant first, least relevant first."""


@dataclass(frozen=True)
class MaskedStates:
    """Ten states of one image in both orders.

    Attributes:
        hidden: (2, 10, C, H, W) bool, by order and state: what is set to 0, the mean colour; with C = 1 for all
            channels.
        outputs: (2, 10) float64, the logit or the probability of the class at each state.
        importance: (C, H, W) float64 in {-1, 0, 1}: 1 where an entry keeps more of the importance while the least
            relevant ones go first, which makes it relevant.
    """

    hidden: Tensor
    outputs: Tensor
    importance: Tensor

    def images(self, image: Tensor, order: str) -> Tensor:
        """Return the nine masked states of ``image`` (3, H, W), without the first."""
        hidden = self.hidden[ORDERS.index(order), 1:].to(image.device)
        return torch.where(hidden, torch.zeros_like(image), image)


def masked_states(
    network: nn.Module, image: Tensor, target: int, protocol: Protocol, answer: Answer | None = None
) -> MaskedStates:
    """Mask ``image`` (3, H, W) in both orders; 20 forward and backward passes.

    Args:
        network: in eval mode.
        image: normalised.
        target: the class that the gradients are of.
        protocol: how to mask.
        answer: any answer of the network, which says what its output holds; None: it is recognised.
    """
    if answer is None:
        with torch.no_grad():
            answer = AnswerReader().read(network(image[None]))
    hidden, outputs, kept = [], [], []
    for order in ORDERS:
        masks, values, total = _one_order(network, answer, image, target, protocol, order)
        hidden.append(masks)
        outputs.append(values)
        kept.append(total / (total.sum() + 1e-9))
    return MaskedStates(torch.stack(hidden), torch.stack(outputs), (kept[1] - kept[0]).sign())


def _one_order(
    network: nn.Module, answer: Answer, image: Tensor, target: int, protocol: Protocol, order: str
) -> tuple[Tensor, Tensor, Tensor]:
    shape = (1 if protocol.pixelwise else len(image), *image.shape[1:])
    hidden = torch.zeros(shape, dtype=torch.bool, device=image.device)
    masks, outputs = [], []
    total = torch.zeros(shape, dtype=torch.float64)
    for state in range(1, STATES + 1):
        importance, output = _importance(network, answer, torch.where(hidden, 0, image), target, protocol)
        masks.append(hidden.cpu())
        outputs.append(output)
        total += importance.double().cpu()
        hidden = _next_mask(hidden, importance, state, protocol, order)
    return torch.stack(masks), torch.tensor(outputs, dtype=torch.float64), total


def _next_mask(hidden: Tensor, importance: Tensor, state: int, protocol: Protocol, order: str) -> Tensor:
    most = order == "morf"
    ranked = importance.flatten()
    count = int(state / STATES * ranked.numel())
    if protocol.cumulative:
        count -= int(hidden.sum())
        ranked = ranked.masked_fill(hidden.flatten(), -torch.inf if most else torch.inf)
    # Stable: which of several equal entries goes is the same on every device.
    first = ranked.sort(descending=most, stable=True).indices[:count]
    return hidden.flatten().index_fill(0, first, True).view_as(hidden)


def _importance(
    network: nn.Module, answer: Answer, image: Tensor, target: int, protocol: Protocol
) -> tuple[Tensor, float]:
    """|x * d logit / d x|, summing to 1, and the output that is followed."""
    classes = torch.tensor([target], device=image.device)
    with torch.inference_mode(False), torch.enable_grad():
        variable = image.clone().requires_grad_()
        found = answer.like(network(variable[None].clone()))
        (gradient,) = differentiated(found.logit(classes).sum(), [variable])
    importance = (image * gradient).abs()
    if protocol.pixelwise:
        importance = importance.sum(0, keepdim=True)
    # In float64 from here: small drops are told apart.
    exact = answer.like(found.output.detach().double())
    output = exact.probability(classes) if protocol.probabilities else exact.logit(classes)
    return importance / (importance.sum() + 1e-9), float(output)


def network_digest(network: nn.Module) -> str:
    """Return what tells this network's weights and architecture from others'."""
    digest = hashlib.blake2b(str(network).encode(), digest_size=16)
    for name, tensor in network.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def shared_states(
    compute: Callable[[], MaskedStates], cache_dir: Path | None, digest: str, image: Tensor, *what: Any
) -> MaskedStates:
    """Return what ``compute`` gives, from the cache where another method's evaluation has left it there.

    Args:
        compute: calls :func:`masked_states`.
        cache_dir: None: nothing is kept.
        digest: of the network.
        image: that is masked.
        what: target and protocol.
    """
    if cache_dir is None:
        return compute()
    content = image.detach().cpu().contiguous().numpy().tobytes()
    key = hashlib.blake2b(content, digest_size=16, key=digest.encode(), salt=b"gae")
    key.update(repr(what).encode())
    path = cache_dir / f"gae-{key.hexdigest()}.npz"
    try:
        with np.load(path) as kept:
            shape = tuple(kept["shape"])
            hidden = np.unpackbits(kept["hidden"], count=int(np.prod(shape))).reshape(shape).astype(bool)
            return MaskedStates(
                torch.from_numpy(hidden),
                torch.from_numpy(kept["outputs"]),
                torch.from_numpy(kept["importance"]).double(),
            )
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        pass  # not there, or cut: computed afresh
    states = compute()
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            np.savez(
                temporary,
                shape=states.hidden.shape,
                hidden=np.packbits(states.hidden.numpy()),
                outputs=states.outputs.numpy(),
                importance=states.importance.to(torch.int8).numpy(),
            )
    except OSError:
        pass  # a read-only place costs the next method some time, nothing else
    return states
