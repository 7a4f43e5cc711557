"""A procedurally drawn bird: a body plan that all demo species share, and five parts in which they differ."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Color = tuple[int, int, int]
Points = NDArray[np.float64]


@dataclass(frozen=True)
class Species:
    """What a species looks like. Any two species differ in at least three of the five parts."""

    name: str
    bill: Literal["cone", "dagger", "hook"]
    crown: Literal["plain", "cap", "crest"]
    wing: Literal["plain", "bars", "patch"]
    breast: Literal["plain", "bib", "spots"]
    tail: Literal["long", "fork", "fan"]


SPECIES = (
    Species("Banded_Seedling_Finch", "cone", "plain", "bars", "plain", "fork"),
    Species("Gilded_Thicket_Finch", "cone", "plain", "patch", "bib", "fan"),
    Species("Rosy_capped_Fantail", "cone", "cap", "plain", "plain", "fan"),
    Species("Crested_Meadow_Finch", "cone", "crest", "patch", "plain", "long"),
    Species("Speckled_Reed_Darter", "dagger", "plain", "bars", "spots", "fan"),
    Species("Rosy_capped_Spotcreeper", "dagger", "cap", "plain", "spots", "long"),
    Species("Flame_throated_Darter", "dagger", "cap", "bars", "bib", "fork"),
    Species("Crested_River_Darter", "dagger", "crest", "plain", "plain", "fork"),
    Species("Gilded_Hookbill", "hook", "plain", "patch", "spots", "fork"),
    Species("Flame_throated_Hookbill", "hook", "cap", "patch", "bib", "long"),
    Species("Crested_Fantail_Hookbill", "hook", "crest", "plain", "bib", "fan"),
    Species("Speckled_Crested_Hookbill", "hook", "crest", "bars", "spots", "long"),
)

PART_NAMES = (
    *("back", "beak", "belly", "breast", "crown", "forehead", "left eye", "left leg", "left wing", "nape"),
    *("right eye", "right leg", "right wing", "tail", "throat"),
)

# Where the parts lie on the bird that looks to the right, in body units (the body is about one long, y points down).
# Of the paired parts the viewer sees the near one only.
_PART_PLACES = {
    "back": (-0.18, -0.30),
    "beak": (0.86, -0.42),
    "belly": (-0.02, 0.30),
    "breast": (0.36, 0.10),
    "crown": (0.50, -0.66),
    "forehead": (0.68, -0.56),
    "eye": (0.585, -0.47),
    "leg": (0.02, 0.48),
    "wing": (-0.14, 0.02),
    "nape": (0.26, -0.46),
    "tail": (-0.86, 0.24),
    "throat": (0.58, -0.20),
}

# Plumage of the shared body: drawn at random for every picture, so it says nothing about the species.
_PLUMAGE: tuple[Color, ...] = (
    (122, 98, 74),
    (104, 108, 116),
    (140, 128, 84),
    (94, 112, 134),
    (150, 118, 92),
    (112, 124, 92),
    (128, 108, 120),
    (96, 92, 88),
)

_ORANGE: Color = (240, 140, 32)
_INK: Color = (28, 26, 34)
_IVORY: Color = (236, 224, 176)
_RED: Color = (208, 40, 44)
_WHITE: Color = (244, 242, 236)
_YELLOW: Color = (246, 206, 48)
_FLAME: Color = (226, 84, 30)


@dataclass(frozen=True)
class Pose:
    """Where the bird stands in the picture, and how.

    Attributes:
        x: place of the body's centre, in pixels.
        y: see ``x``.
        scale: length of one body unit, in pixels.
        tilt: turn of the whole bird, in degrees, clockwise.
        nod: turn of the head against the body, in degrees.
        plump: height of the body relative to the usual one.
        faces_left: mirrored.
    """

    x: float
    y: float
    scale: float
    tilt: float
    nod: float
    plump: float
    faces_left: bool

    def place(self, points: Points) -> Points:
        """Points (n, 2) in body units to pixels."""
        placed = points @ _turn(self.tilt) * self.scale
        if self.faces_left:
            placed[:, 0] *= -1
        shifted: Points = placed + np.array([self.x, self.y])
        return shifted

    def nodded(self, points: Points) -> Points:
        """Points (n, 2) on the head, in body units, after the head has turned about the neck."""
        nodded: Points = (points - _NECK) @ _turn(self.nod) + _NECK
        return nodded


_NECK = np.array([0.40, -0.30])


def _turn(degrees: float) -> Points:
    """The matrix that turns row vectors clockwise (y points down)."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array([[cosine, sine], [-sine, cosine]])


@dataclass(frozen=True)
class DrawnBird:
    """The bird alone.

    Attributes:
        color: RGB; black off the bird.
        coverage: greyscale; 255 on the bird, 0 off it.
        parts: (x, y, visible) in pixels by part name.
    """

    color: Image.Image
    coverage: Image.Image
    parts: dict[str, tuple[float, float, bool]]


def draw_bird(species: Species, pose: Pose, size: int, rng: np.random.Generator) -> DrawnBird:
    """Draws one bird on a canvas of ``size`` x ``size`` pixels; plumage and spots are drawn from ``rng``."""
    return _Brush(pose, size, rng).bird(species)


class _Brush:
    """Draws shapes given in body units on a picture and, at once, on its coverage mask."""

    def __init__(self, pose: Pose, size: int, rng: np.random.Generator) -> None:
        self.pose = pose
        self.size = size
        self.rng = rng
        self.picture = Image.new("RGB", (size, size))
        self.mask = Image.new("L", (size, size))
        self._draw = ImageDraw.Draw(self.picture)
        self._draw_mask = ImageDraw.Draw(self.mask)
        base = np.array(_PLUMAGE[rng.integers(len(_PLUMAGE))]) + rng.integers(-14, 15, 3)
        self.plumage = base.astype(np.float64)

    def bird(self, species: Species) -> DrawnBird:
        plump = self.pose.plump
        self.tail(species.tail)
        self.leg(-0.06, 0.30 * plump, shade=0.7)
        self.leg(0.08, 0.30 * plump, shade=1.0)
        self.shape(_ellipse(0.0, 0.0, 0.56, 0.345 * plump, -18), self.tone(1.0))
        self.shape(_ellipse(0.06, 0.13 * plump, 0.44, 0.20 * plump, -20), self.tone(1.28))
        self.shape(np.array([(0.02, -0.30), (0.30, -0.58), (0.66, -0.30), (0.52, 0.08), (0.2, 0.1)]), self.tone(1.0))
        self.breast(species.breast, plump)
        self.bill(species.bill)
        self.head(_ellipse(0.50, -0.44, 0.245, 0.235, 0), self.tone(1.06))
        if species.breast == "bib":
            self.head(_ellipse(0.60, -0.27, 0.14, 0.085, 25), _FLAME)
        self.crown(species.crown)
        self.wing(species.wing)
        self.head(_ellipse(0.585, -0.47, 0.062, 0.062, 0), _WHITE)
        self.head(_ellipse(0.59, -0.47, 0.042, 0.042, 0), _INK)
        return self.finished()

    def tone(self, factor: float) -> Color:
        """The plumage, darker or lighter."""
        red, green, blue = np.clip(self.plumage * factor, 0, 255).astype(int).tolist()
        return red, green, blue

    def shape(self, points: Points, color: Color) -> None:
        placed = self.pose.place(points).ravel().tolist()
        self._draw.polygon(placed, fill=color)
        self._draw_mask.polygon(placed, fill=255)

    def head(self, points: Points, color: Color) -> None:
        self.shape(self.pose.nodded(points), color)

    def leg(self, x: float, y: float, shade: float) -> None:
        color = _scaled((150, 104, 72), shade)
        self.shape(_bar((x, y - 0.06), (x + 0.02, y + 0.30), 0.045), color)
        self.shape(_bar((x - 0.06, y + 0.30), (x + 0.13, y + 0.32), 0.045), color)

    def tail(self, kind: str) -> None:
        dark = self.tone(0.72)
        if kind == "long":
            self.shape(np.array([(-0.38, -0.06), (-1.22, 0.27), (-1.26, 0.40), (-0.36, 0.22)]), dark)
            self.shape(np.array([(-1.00, 0.184), (-1.22, 0.27), (-1.26, 0.40), (-1.02, 0.352)]), _WHITE)
        elif kind == "fork":
            self.shape(np.array([(-0.38, -0.06), (-1.16, -0.12), (-0.80, 0.12), (-0.40, 0.2)]), dark)
            self.shape(np.array([(-0.38, 0.0), (-0.80, 0.12), (-1.10, 0.56), (-0.36, 0.24)]), dark)
        else:
            angles = np.radians(np.linspace(128, 206, 12))
            rim = np.stack([-0.30 + 0.74 * np.cos(angles), 0.06 + 0.74 * np.sin(angles)], axis=1)
            inner = np.stack([-0.30 + 0.54 * np.cos(angles), 0.06 + 0.54 * np.sin(angles)], axis=1)
            self.shape(np.vstack([[(-0.28, 0.06)], rim]), _INK)
            self.shape(np.vstack([[(-0.28, 0.06)], inner]), dark)

    def bill(self, kind: str) -> None:
        if kind == "cone":
            self.head(np.array([(0.66, -0.60), (0.98, -0.40), (0.66, -0.28)]), _ORANGE)
        elif kind == "dagger":
            self.head(np.array([(0.64, -0.54), (1.20, -0.43), (1.20, -0.40), (0.64, -0.35)]), _INK)
        else:
            self.head(
                np.array([(0.64, -0.58), (0.88, -0.58), (1.02, -0.44), (1.02, -0.18), (0.90, -0.33), (0.64, -0.30)]),
                _IVORY,
            )

    def crown(self, kind: str) -> None:
        if kind == "cap":
            angles = np.radians(np.linspace(175, 345, 16))
            arc = np.stack([0.50 + 0.25 * np.cos(angles), -0.47 + 0.24 * np.sin(angles)], axis=1)
            self.head(arc, _RED)
        elif kind == "crest":
            self.head(
                np.array([(0.68, -0.60), (0.60, -0.74), (0.44, -0.90), (0.12, -1.02), (0.28, -0.74), (0.30, -0.52)]),
                _INK,
            )

    def breast(self, kind: str, plump: float) -> None:
        if kind == "bib":
            self.shape(_ellipse(0.38, -0.02, 0.20, 0.23 * plump, 30), _FLAME)
        elif kind == "spots":
            self.shape(_ellipse(0.34, 0.06, 0.23, 0.23 * plump, 30), _IVORY)
            for u, v in (
                (0.24, 0.0),
                (0.38, -0.08),
                (0.50, 0.0),
                (0.30, 0.14),
                (0.43, 0.09),
                (0.22, 0.23),
                (0.36, 0.23),
            ):
                dx, dy = self.rng.uniform(-0.02, 0.02, 2)
                self.shape(_ellipse(u + dx, (v + dy) * plump, 0.046, 0.046, 0), _INK)

    def wing(self, kind: str) -> None:
        feather = self.tone(0.66)
        outline = np.array(
            [(0.26, -0.16), (0.10, -0.24), (-0.24, -0.16), (-0.72, 0.14), (-0.40, 0.20), (-0.06, 0.16), (0.18, 0.04)]
        )
        self.shape(outline, feather)
        self.shape(_bar((-0.05, 0.08), (-0.60, 0.13), 0.025), self.tone(0.5))
        self.shape(_bar((0.0, 0.0), (-0.55, 0.07), 0.025), self.tone(0.5))
        if kind == "bars":
            self.shape(_bar((0.10, -0.20), (0.00, 0.14), 0.075), _WHITE)
            self.shape(_bar((-0.12, -0.17), (-0.22, 0.15), 0.075), _WHITE)
        elif kind == "patch":
            self.shape(_ellipse(-0.12, -0.02, 0.20, 0.12, 12), _YELLOW)

    def finished(self) -> DrawnBird:
        parts = {}
        near, far = ("left", "right") if self.pose.faces_left else ("right", "left")
        for name in PART_NAMES:
            side, _, organ = name.rpartition(" ")
            if side == far:
                parts[name] = (0.0, 0.0, False)
                continue
            point = np.array([_PART_PLACES[organ if side == near else name]])
            if name in ("beak", "crown", "forehead", "nape", "throat") or organ == "eye":
                point = self.pose.nodded(point)
            ((x, y),) = self.pose.place(point)
            inside = 0 <= x < self.size and 0 <= y < self.size
            parts[name] = (float(x), float(y), True) if inside else (0.0, 0.0, False)
        return DrawnBird(self.picture, self.mask, parts)


_CIRCLE = np.array([(math.cos(angle), math.sin(angle)) for angle in np.linspace(0, 2 * math.pi, 29)[:-1]])


def _ellipse(x: float, y: float, a: float, b: float, degrees: float) -> Points:
    points: Points = (_CIRCLE * np.array([a, b])) @ _turn(degrees) + np.array([x, y])
    return points


def _bar(start: Sequence[float], end: Sequence[float], width: float) -> Points:
    a, b = np.array(start), np.array(end)
    across = np.array([a[1] - b[1], b[0] - a[0]])
    across = across / np.linalg.norm(across) * width / 2
    return np.array([a + across, b + across, b - across, a - across])


def _scaled(color: Color, factor: float) -> Color:
    red, green, blue = (int(value * factor) for value in color)
    return red, green, blue
