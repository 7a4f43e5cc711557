"""Drawn scenes with birds anywhere, which the examples of segmentation and detection share."""

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw, ImageFilter
from torch import Tensor

from relsplit.bench.data.demo_bird import SPECIES, Pose, draw_bird

FINER = 3
"""Scenes are drawn larger and made smaller, so that edges are smooth."""
GROUNDS = ((150, 186, 214), (92, 128, 70), (176, 166, 132), (196, 206, 212), (132, 112, 88))


def scenes(count: int, seed: int, size: int = 64, most: int = 1) -> tuple[Tensor, Tensor]:
    """Draw scenes of one bird or more on meadows with leaves and stones, some of which have the colours of birds.

    Args:
        count: N.
        seed: of everything that is drawn.
        size: of a scene, in pixels.
        most: birds in a scene; every scene has at least one.

    Returns:
        Scenes (N, 3, size, size) in [0, 1], and masks (N, most, size, size), booleans: a bird each, or nothing.
    """
    rng, drawn = np.random.default_rng(seed), []
    masks = torch.zeros(count, most, size, size, dtype=torch.bool)
    for number in range(count):
        canvas = _meadow(size * FINER, rng)
        sides = rng.permutation(most)  # a bird each, so that none covers another
        for bird in range(int(rng.integers(1, most + 1))):
            width = size * FINER / most
            pose = Pose(
                x=width * (sides[bird] + rng.uniform(0.4, 0.6)) if most > 1 else width * rng.uniform(0.3, 0.7),
                y=size * FINER * rng.uniform(0.3, 0.7), scale=width * rng.uniform(0.3, 0.42),
                tilt=rng.uniform(-20, 20), nod=rng.uniform(-14, 14), plump=rng.uniform(0.9, 1.15),
                faces_left=bool(rng.random() < 0.5),
            )  # fmt: skip
            one = draw_bird(SPECIES[int(rng.integers(len(SPECIES)))], pose, size * FINER, rng)
            canvas.paste(one.color, mask=one.coverage)
            masks[number, bird] = torch.as_tensor(np.asarray(one.coverage.reduce(FINER)) >= 128)
        light = np.asarray(canvas.reduce(FINER)) / 255 * rng.uniform(0.85, 1.1) + rng.normal(0, 0.02, (size, size, 3))
        drawn.append(light.clip(0, 1))
    return torch.as_tensor(np.stack(drawn)).permute(0, 3, 1, 2).float().contiguous(), masks


def pixels(scene: Tensor) -> "npt.NDArray[np.uint8]":
    """Return a scene (3, H, W) as a picture (H, W, 3) uint8."""
    return (255 * scene.permute(1, 2, 0)).round().byte().numpy()


def _meadow(size: int, rng: np.random.Generator) -> Image.Image:
    canvas = Image.new("RGB", (size, size), _near(GROUNDS[int(rng.integers(len(GROUNDS)))], rng))
    draw = ImageDraw.Draw(canvas)
    for _ in range(int(rng.integers(8, 20))):
        (x, y), (a, b) = rng.uniform(0, size, 2), size * rng.uniform(0.02, 0.12, 2)
        colour = (*rng.integers(30, 230, 3).tolist(),)
        draw.ellipse((x - a, y - b, x + a, y + b), fill=_near(colour, rng))
    return canvas.filter(ImageFilter.GaussianBlur(FINER * rng.uniform(0.2, 0.8)))


def _near(colour: tuple[int, ...], rng: np.random.Generator) -> tuple[int, int, int]:
    red, green, blue = np.clip(np.array(colour) + rng.integers(-15, 16, 3), 0, 255).tolist()
    return red, green, blue
