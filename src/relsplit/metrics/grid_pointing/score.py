"""The grid pointing game of single images."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relsplit.checks import checked_images, checked_maps, checked_target
from relsplit.errors import InputError
from relsplit.metrics.explained_batch import Explain
from relsplit.metrics.image_generator import image_generator
from relsplit.metrics.localisation import energy_inside
from relsplit.metrics.mosaic import cell_slices, tiled
from relsplit.metrics.sure_images import ImageAt, SureImages, device_of, sure_images
from relsplit.networks.answer import AnswerReader, Scores, checked_scores, reader_of
from relsplit.networks.batches import evaluating
from relsplit.networks.outputs import OutputChoice
from relsplit.networks.part_of import PartOf
from relsplit.options import Seed, Share, checked_options

Cells = Literal[2, 3]
"""Of a row and of a column of the grid."""
Explained = Literal["own", "all"]
"""Whose cells' classes are explained: the image's own, or those of all cells, of which the mean is taken."""
CONFIDENCE = 0.8
SHRINK = "shrink=true makes mosaics of the images' own size, whose cells are smaller"


@checked_options
def grid_pointing_game(
    model: nn.Module,
    explain: Explain,
    images: Tensor,
    targets: Tensor,
    *,
    cells: Cells = 2,
    confidence: Share = CONFIDENCE,
    explained: Explained = "own",
    shrink: bool = False,
    seed: Seed = 42,
    scores: Scores | AnswerReader = "auto",
    output: "OutputChoice | None" = None,
) -> Tensor:
    """Return how much of a map lies on the image that shows the explained class, among n² images put into one.

    Böhle et al. 2021 (CoDA-Nets), Sec. 4.2; Rao et al. 2022: images that the network classifies correctly and with
    confidence, each of another class, make one image of n times the side. The score is the positive relevance in the
    cell of the class divided by all positive relevance. Here every such image has a mosaic of its own: its cell, the
    other classes and their images are drawn among ``images``, from its content and ``seed``. So the score of an image
    depends on which images there are, and neither on their order nor on what is computed together.

    1 / n² is chance: what any map scores in the mean that does not depend on the class. A map without positive
    relevance scores 0: it does not point at its class.

    Args:
        model: classifier of normalised images; as it is now. It must answer images of n times the side, as networks
            with global pooling do, unless ``shrink``.
        explain: computes maps (N, H, W) of images for classes.
        images: (N, C, H, W), normalised, on the device of the model.
        targets: (N,) the class of each, which the network must predict.
        cells: n, 2 or 3.
        confidence: least probability of the class of an image that takes part, in [0, 1].
        explained: "own": the map of the image's own class counts, one a mosaic; "all": the mean over the classes of all
            cells, n² maps a mosaic.
        shrink: each image is shrunk to a cell, and the mosaic has the side of an image.
        seed: of the draw.
        scores: what the network's output holds, see :mod:`relsplit.networks.answer`; a reader remembers what it has
            said already.
        output: which part of it is explained, see :class:`relsplit.LRP`.

    Returns:
        (N,) float64 in [0, 1]; NaN for an image that does not take part, or for which no others fit.

    Raises:
        InputError: arguments that do not fit together, images of fewer than n² classes that the network is sure of, or
            a network that does not answer images of that size.
    """
    images = checked_images(images)
    targets = checked_target(targets, len(images), option="targets")
    game = GridGame(cells, confidence, explained, shrink, seed, reader_of(scores))
    game.look_at(
        model if output is None else PartOf(model, output), targets.tolist(), lambda position: images[position]
    )
    return game.score(explain, images, targets)


@dataclass
class GridGame:
    """The game on the images of one run; see :func:`grid_pointing_game` for its options."""

    cells: Cells
    confidence: float
    explained: Explained
    shrink: bool
    seed: int
    reader: AnswerReader
    _sure: SureImages | None = None

    def look_at(self, network: nn.Module, labels: Sequence[int], image_at: ImageAt) -> None:
        """Find the images that take part.

        Args:
            network: the explained one.
            labels: of every image of the run.
            image_at: reads them; also those of the mosaics later.

        Raises:
            InputError: see :func:`grid_pointing_game`.
        """
        self._image_at = image_at
        needed = self.cells**2
        if (present := len(set(labels))) < needed:
            raise InputError(
                f"grid_pointing puts images of {needed} classes together, but the samples are of {present}: give more "
                "samples or classes"
            )
        check_side(network, image_at, len(labels), self)
        self._sure = sure_images(network, labels, image_at, self.confidence, self.reader)
        if self._sure.num_classes < needed:
            raise InputError(
                f"grid_pointing puts images of {needed} classes together, but the network is right with a probability "
                f"of at least {self.confidence:g} on images of {self._sure.num_classes} alone: give more samples, or a "
                "lower confidence"
            )

    def score(self, explain: Explain, images: Tensor, labels: Tensor) -> Tensor:
        """Return the score (N,) of ``images`` (N, C, H, W) of the run, float64 on the CPU; see the function."""
        # One mosaic at a time, whatever the batch: what is computed together decides the last bits of a number.
        values = [self._score(explain, *sample) for sample in zip(images, labels.tolist(), strict=True)]
        return torch.tensor(values, dtype=torch.float64)

    def mosaic(self, images: Sequence[Tensor]) -> Tensor:
        """Return n² images (C, H, W) as one, (C, nH, nW), or (C, H, W) with ``shrink``."""
        if not self.shrink:
            return tiled(images)
        sizes = [(row.stop - row.start, column.stop - column.start) for row, column in self._slices(images[0])]
        return tiled([_resized(image, size) for image, size in zip(images, sizes, strict=True)])

    def _slices(self, image: Tensor) -> list[tuple[slice, slice]]:
        height, width = image.shape[-2:]
        return cell_slices(height, width, self.cells)

    def _score(self, explain: Explain, image: Tensor, label: int) -> float:
        if self._sure is None:
            raise InputError("grid_pointing: it does not know the images of the run: call look_at first")
        own = self._sure.find(image, label)
        if own is None:
            return torch.nan
        generator = image_generator(image, self.seed)
        place = int(torch.randint(self.cells**2, (), generator=generator))
        others = self._sure.others(own, self.cells**2 - 1, generator)
        if others is None:
            return torch.nan
        shown = [*others[:place], own, *others[place:]]
        # Put together on the CPU from what was read, so that it is the same on every device.
        with torch.inference_mode(False), torch.no_grad():
            pictures = [image.cpu() if each is own else self._read(each.position) for each in shown]
            picture = self.mosaic(pictures).to(image.device)
        slices = self._slices(picture)
        explained = range(len(shown)) if self.explained == "all" else [place]
        shares = [self._share(explain, picture, shown[cell].label, slices[cell]) for cell in explained]
        return sum(shares) / len(shares)

    def _read(self, position: int) -> Tensor:
        image = self._image_at(position)
        if image is None:
            raise InputError(f"grid_pointing: image {position} of the run can no longer be read")
        return image.cpu()

    def _share(self, explain: Explain, picture: Tensor, label: int, cell: tuple[slice, slice]) -> float:
        with torch.inference_mode(False), torch.enable_grad():  # explainers differentiate, whatever the caller does
            maps = explain(picture[None].clone(), torch.tensor([label], device=picture.device))
        inside = torch.zeros(1, *picture.shape[-2:], dtype=torch.bool)
        inside[0, cell[0], cell[1]] = True
        return float(energy_inside(checked_maps(maps, picture[None]), inside))


def check_side(network: nn.Module, image_at: ImageAt, count: int, game: GridGame) -> None:
    """Check that the network answers a mosaic as it answers an image.

    Args:
        network: the explained one.
        image_at: reads the images of the run.
        count: how many there are.
        game: makes the mosaics.

    Raises:
        InputError: it does not.
    """
    image = next((image for position in range(count) if (image := image_at(position)) is not None), None)
    if image is None:
        raise InputError("grid_pointing: none of the images can be read")
    image = image.to(device_of(network))
    picture = game.mosaic([image] * game.cells**2)
    size = " x ".join(map(str, picture.shape[-2:]))
    with evaluating(network) as running:
        expected = checked_scores(running(image[None].clone()), 1)
        try:
            found = checked_scores(running(picture[None].clone()), 1)
        except torch.OutOfMemoryError as error:
            raise InputError(f"grid_pointing: an image of {size} pixels does not fit into memory: {SHRINK}") from error
        except Exception as error:
            why = " ".join(str(error).split())[:150]
            raise InputError(
                f"grid_pointing: the network takes no images of {size} pixels ({type(error).__name__}: {why}): {SHRINK}"
            ) from error
    if found.shape != expected.shape:
        raise InputError(
            f"grid_pointing: the network answers an image of {size} pixels with {tuple(found.shape)}, one alone with "
            f"{tuple(expected.shape)}: {SHRINK}"
        )


def _resized(image: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(image[None], size=size, mode="bilinear", antialias=True)[0]
