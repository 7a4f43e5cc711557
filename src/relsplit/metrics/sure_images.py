"""The images of a run that the network is sure of, and others of them to stand beside an image."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from relsplit.networks.answer import Answer, AnswerReader
from relsplit.networks.batches import evaluating
from relsplit.networks.ending import ends_in_probabilities

AT_ONCE = 8
"""Images per forward pass; always the same ones together, because that decides the last bits of an answer."""

ImageAt = Callable[[int], Tensor | None]
"""The image (C, H, W) at a position of a run, normalised; None where it cannot be read."""


@dataclass(frozen=True, eq=False)
class SureImage:
    """An image that the network classifies correctly and with confidence.

    Attributes:
        position: in the run.
        label: its class, which the network answers with.
        shown: (classes,) bool, what the network may see in it: its class alone where classes exclude each other, else
            all that it is not sure are missing.
    """

    position: int
    label: int
    shown: Tensor

    def excludes(self, other: "SureImage") -> bool:
        """Say whether neither image shows the other's class."""
        return not (self.shown[other.label] or other.shown[self.label])


class SureImages:
    """What is drawn depends on which images these are, by their content, and not on their order.

    Args:
        images: by the content of the image, see :func:`content_of`.
    """

    def __init__(self, images: dict[str, SureImage]) -> None:
        self._by_content = images
        self._by_class: dict[int, list[SureImage]] = {label: [] for label in sorted({i.label for i in images.values()})}
        for content in sorted(images):
            self._by_class[images[content].label].append(images[content])

    @property
    def num_classes(self) -> int:
        """How many classes they are of."""
        return len(self._by_class)

    def find(self, image: Tensor, label: int) -> SureImage | None:
        """Return what is known of ``image`` (C, H, W); None where the network is not sure that it shows ``label``."""
        found = self._by_content.get(content_of(image))
        return found if found is not None and found.label == label else None

    def others(self, image: SureImage, count: int, generator: torch.Generator) -> list[SureImage] | None:
        """Draw ``count`` images of other classes, each of its own, none of which shows the class of another.

        A class is drawn first and one of its images then, so a frequent class comes no more often than a rare one.

        Returns:
            The images; None where not so many fit to those that were drawn before them. Where classes exclude each
            other ``count`` + 1 classes are enough.
        """
        chosen = [image]
        labels = [label for label in self._by_class if label != image.label]
        for place in torch.randperm(len(labels), generator=generator).tolist():
            if len(chosen) > count:
                break
            candidates = self._by_class[labels[place]]
            order = torch.randperm(len(candidates), generator=generator).tolist()
            fitting = (candidates[i] for i in order if all(candidates[i].excludes(other) for other in chosen))
            chosen += [found] if (found := next(fitting, None)) else []
        return chosen[1:] if len(chosen) > count else None


def sure_images(
    network: nn.Module, labels: Sequence[int], image_at: ImageAt, confidence: float, reader: AnswerReader
) -> SureImages:
    """Look for the images that the network is sure of; a forward pass for each.

    Args:
        network: classifier of normalised images; as it is now.
        labels: class of every image of the run.
        image_at: reads them.
        confidence: in [0, 1]; the network is sure of an image whose class has at least this probability and is the
            predicted one; of several classes at once, it is sure that one is missing whose probability is at most
            1 - ``confidence``.
        reader: of the network's answers.

    Raises:
        InputError: the network does not return scores of classes, or a label is none of them.
    """
    found: dict[str, SureImage] = {}
    device = device_of(network)
    first: Answer | None = None
    with evaluating(network) as running:
        for start in range(0, len(labels), AT_ONCE):
            positions = range(start, min(start + AT_ONCE, len(labels)))
            readable = [(position, image) for position in positions if (image := image_at(position)) is not None]
            if not readable:
                continue
            images = torch.stack([image for _, image in readable]).to(device)
            answer = _answered(running, images, reader, first)
            first = first or answer
            expected = answer.classes(torch.tensor([labels[position] for position, _ in readable]))
            is_sure = (answer.predicted == expected) & (answer.probability(expected) >= confidence)
            shown = _shown(answer, expected, confidence).cpu()
            for row, (position, image) in enumerate(readable):
                if is_sure[row]:
                    found[content_of(image)] = SureImage(position, labels[position], shown[row])
    return SureImages(found)


def _answered(network: nn.Module, images: Tensor, reader: AnswerReader, first: Answer | None) -> Answer:
    """What the network answers; what the first answer holds, those after it hold, too."""
    output = network(images.clone())
    if first is not None:
        return first.like(output, len(images))
    return reader.read(output, len(images), lambda: ends_in_probabilities(network, images[:1]))


def _shown(answer: Answer, labels: Tensor, confidence: float) -> Tensor:
    if answer.kind == "multi_label":
        return answer.probabilities > 1 - confidence
    return torch.nn.functional.one_hot(labels, answer.num_classes).bool()


def content_of(image: Tensor) -> str:
    """Return what tells the content of an image from any other."""
    return hashlib.blake2b(image.detach().cpu().contiguous().numpy().tobytes(), digest_size=16).hexdigest()


def device_of(network: nn.Module) -> torch.device:
    """Return where the parameters of a network are; the CPU where it has none."""
    return next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
