"""A whole demo picture: background, bird and light, none of which knows the species but through the bird's parts."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from relsplit.bench.data.demo_bird import Pose, Species, draw_bird

SUPERSAMPLING = 4

# Colours of skies, grounds and foliage, and of things that lie about: berries, blossoms, leaves and stones have the
# colours of bills, caps and breasts, so that a colour alone proves nothing.
_GROUNDS = np.array(
    [(150, 186, 214), (92, 128, 70), (176, 166, 132), (58, 88, 62), (196, 206, 212), (132, 112, 88), (118, 150, 120)]
)
_VIVID = np.array(
    [(208, 40, 44), (226, 84, 30), (240, 140, 32), (246, 206, 48), (244, 242, 236), (236, 224, 176), (28, 26, 34)]
)
_DULL = np.array(
    [(62, 104, 48), (96, 132, 58), (132, 150, 74), (84, 66, 50), (120, 96, 70), (150, 150, 146), (70, 92, 110)]
)


@dataclass(frozen=True)
class Picture:
    """A finished picture.

    Attributes:
        image: (S, S, 3) uint8.
        mask: (S, S) bool; True where the bird covers at least half of the pixel.
        parts: (x, y, visible) in pixels by part name.
    """

    image: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    parts: dict[str, tuple[float, float, bool]]


def draw_picture(species: Species, size: int, rng: np.random.Generator) -> Picture:
    """Draws one picture of ``size`` x ``size`` pixels; everything but the species' parts is drawn from ``rng``."""
    large = size * SUPERSAMPLING
    background = _background(size, rng)
    bird = draw_bird(species, _random_pose(large, rng), large, rng)

    coverage = np.asarray(bird.coverage.reduce(SUPERSAMPLING))[..., None] / 255
    color = np.asarray(bird.color.reduce(SUPERSAMPLING))  # black off the bird, so it is weighted by the coverage
    scene = background * (1 - coverage) + color
    image = _lit(scene, rng)
    parts = {name: (x / SUPERSAMPLING, y / SUPERSAMPLING, seen) for name, (x, y, seen) in bird.parts.items()}
    return Picture(image, coverage[..., 0] >= 0.5, parts)


def _random_pose(size: int, rng: np.random.Generator) -> Pose:
    return Pose(
        x=size * (0.5 + rng.uniform(-0.08, 0.08)),
        y=size * (0.54 + rng.uniform(-0.09, 0.09)),
        scale=size * rng.uniform(0.34, 0.42),
        tilt=rng.uniform(-22, 22),
        nod=rng.uniform(-14, 14),
        plump=rng.uniform(0.9, 1.15),
        faces_left=bool(rng.random() < 0.5),
    )


def _background(size: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """A gradient between two grounds, blobs, twigs and leaves, partly out of focus, and grain."""
    top, bottom = _GROUNDS[rng.choice(len(_GROUNDS), 2)] + rng.integers(-20, 21, (2, 3))
    direction = rng.uniform(-1, 1, 2)
    across, down = _centred(size)
    share = np.clip(0.5 + down * direction[0] + across * direction[1], 0, 1)[..., None]
    picture = Image.fromarray(np.clip(top * share + bottom * (1 - share), 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    for _ in range(int(rng.integers(3, 10))):
        _blob(draw, size, rng, radius=rng.uniform(0.05, 0.22), vivid=0.25)
    picture = picture.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.6, 2.4))))
    draw = ImageDraw.Draw(picture)
    for _ in range(int(rng.integers(1, 4))):
        _twig(draw, size, rng)
    for _ in range(int(rng.integers(4, 13))):
        _blob(draw, size, rng, radius=rng.uniform(0.012, 0.05), vivid=0.5)
    picture = picture.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.3, 0.8))))
    grain = rng.normal(0, rng.uniform(1, 7), (size, size, 1))
    return np.asarray(picture, dtype=np.float64) + grain


def _blob(draw: ImageDraw.ImageDraw, size: int, rng: np.random.Generator, radius: float, vivid: float) -> None:
    x, y = rng.uniform(0, size, 2)
    a, b = size * radius * rng.uniform(0.5, 1.5, 2)
    draw.ellipse((x - a, y - b, x + a, y + b), fill=_thing(rng, vivid))


def _twig(draw: ImageDraw.ImageDraw, size: int, rng: np.random.Generator) -> None:
    start = rng.uniform(-0.1, 1.1, 2) * size
    angle = rng.uniform(0, 2 * np.pi)
    points = [tuple(start)]
    for _ in range(4):
        angle += rng.normal(0, 0.35)
        start = start + size * 0.28 * np.array([np.cos(angle), np.sin(angle)])
        points.append(tuple(start))
    draw.line(points, fill=_thing(rng, vivid=0.3), width=int(rng.integers(1, 4)))


def _thing(rng: np.random.Generator, vivid: float) -> tuple[int, int, int]:
    """A random colour, with probability ``vivid`` one that also occurs on birds."""
    palette = _VIVID if rng.random() < vivid else _DULL
    color = palette[rng.integers(len(palette))] + rng.integers(-16, 17, 3)
    red, green, blue = np.clip(color, 0, 255).tolist()
    return red, green, blue


def _lit(scene: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Light of random strength, contrast, colour and direction, and the sensor's noise."""
    size = len(scene)
    light = np.clip(scene / 255, 0, 1) ** rng.uniform(0.8, 1.25) * rng.uniform(0.78, 1.15)
    slope = rng.uniform(-0.25, 0.25, 2)
    across, down = _centred(size)
    light *= (1 + down * slope[0] + across * slope[1])[..., None] * (1 + rng.uniform(-0.09, 0.09, 3))
    light += rng.normal(0, 0.01, scene.shape)
    image: NDArray[np.uint8] = np.round(np.clip(light, 0, 1) * 255).astype(np.uint8)
    return image


def _centred(size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Column and row coordinates from -1/2 to 1/2, shapes (1, S) and (S, 1)."""
    places = np.arange(size) / size - 0.5
    return places[None, :], places[:, None]
