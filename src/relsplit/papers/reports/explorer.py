"""One HTML page to look into evaluations: map over image, curves, and the masked image at each of their points.

The page holds what it shows: each image once, and for each method and sample one small number per pixel, its band (see
:mod:`relsplit.metrics.insertion_deletion.bands`). A point of a curve shows the first bands, and a band has one colour:
masks are exact, and colours are steps of one in :data:`STEPS`. All of it lies in script elements of its own, which are
decoded when they are looked at.
"""

import base64
import hashlib
import html
import io
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from relsplit.bench.explain.masked_points import MaskedPoints, masked_points
from relsplit.bench.runs.maps import MAPS, Maps, chosen, keeps_maps, read_maps
from relsplit.bench.runs.records import SCORES, CurveName, SampleCurves
from relsplit.bench.runs.store import read_curves, read_samples
from relsplit.bench.runs.summary import EVALUATION, read_summary, score_column
from relsplit.errors import InputError
from relsplit.files import write_text
from relsplit.papers.reports.page import Page, embedded, page_part
from relsplit.pictures.colours import colour_of
from relsplit.pictures.overlays import normalise

STEPS = 63
"""Steps of a map's colours from nothing to the most relevant pixel."""
MOST_PNG = 40_000
"""Bytes up to which an image is stored as it is; a larger one is a JPEG of high quality."""
CURVES: tuple[CurveName, ...] = ("insertion", "deletion")


@dataclass(frozen=True)
class Explored:
    """A finished evaluation.

    Attributes:
        name: what it is called on the page.
        folder: of the run.
    """

    name: str
    folder: Path


def write_explorer(runs: Sequence[Explored], path: Path, title: str, samples: int) -> list[str]:
    """Write the page.

    Args:
        runs: finished evaluations; those of one data set are shown side by side.
        path: the HTML file.
        title: of the page.
        samples: at most so many of each data set are shown, the first ones.

    Returns:
        What is not on the page and how to get it, a line each.

    Raises:
        InputError: none of the runs keeps a map, or a run is damaged.
    """
    if not any(keeps_maps(run.folder) for run in runs):
        where = runs[0].folder if runs else "there"
        raise InputError(
            f"{where} keeps no maps ({MAPS}): start its evaluation again with task.maps=200, which only adds them"
        )
    collected = _Collected()
    for run in _told_apart(runs):
        _add(collected, run, samples)
    data = {
        "title": title,
        "notes": collected.notes,
        "sets": list(collected.sets.values()),
        "palettes": {name: _palette(name) for name in ("plasma", "bwr")},
        "steps": STEPS,
    }
    page = Page(page_part("explorer.html")).substitute(
        title=html.escape(title),
        data=embedded(data),
        script=page_part("explorer.js"),
        payloads="\n".join(
            f'<script type="application/json" id="{name}">{embedded(content)}</script>'
            for name, content in collected.payloads.items()
        ),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, page)
    return collected.notes


@dataclass
class _Collected:
    """What goes into the page.

    Attributes:
        sets: by name of the data set, its samples and methods.
        places: by data set, sample id and image, the sample's place in its set.
        payloads: what is decoded when it is looked at, by id of its element.
        notes: what is not there.
    """

    sets: dict[str, dict[str, Any]] = field(default_factory=dict)
    places: dict[tuple[str, str, str], int] = field(default_factory=dict)
    payloads: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def _told_apart(runs: Sequence[Explored]) -> list[Explored]:
    """Runs under names of which none is another's."""
    names = [run.name for run in runs]
    return [
        run if names.count(run.name) == 1 else Explored(f"{run.name} ({run.folder.name})", run.folder) for run in runs
    ]


def _add(collected: _Collected, run: Explored, samples: int) -> None:
    """Add a run: its method, and each of its samples whose map it keeps."""
    summary = read_summary(run.folder, EVALUATION)
    dataset, protocols = str(summary["dataset"]), list(summary["protocols"])
    if not keeps_maps(run.folder):
        count = summary["num_samples"]
        collected.notes.append(
            f"{run.name} is left out, as it keeps no maps: start its evaluation again with task.maps={count}"
        )
        return
    kept = read_maps(run.folder)
    maps = chosen(kept, range(min(samples, len(kept.sample_id))))
    if len(kept.sample_id) < min(samples, summary["num_samples"]):
        collected.notes.append(
            f"{run.name}: maps of {len(kept.sample_id)} of {summary['num_samples']} samples are kept; "
            f"start its evaluation again with task.maps={summary['num_samples']} for all"
        )
    strengths = np.stack([strength(each) for each in maps.map])
    masked = masked_points(run.folder, maps, np.round(STEPS * strengths).astype(np.int64))
    rows = read_samples(run.folder).set_index("sample_id")
    curves = {(curve.sample_id, curve.protocol): curve for curve in read_curves(run.folder)}
    found = collected.sets.setdefault(dataset, {"name": dataset, "samples": [], "methods": []})
    method: dict[str, Any] = {
        "name": run.name,
        "colour": colour_of(str(summary["explainer"])),
        "protocols": protocols,
        "patch": [masked.patch[name] for name in protocols],
        "baseline": [_colour(masked.baseline[name]) for name in protocols],
        "rows": {},
    }
    found["methods"].append(method)
    for index, name in enumerate(map(str, maps.sample_id)):
        place = _place(collected, dataset, name, maps.image[index])
        key = f"row-{len(collected.payloads)}"
        method["rows"][place] = {"payload": key, **_row(rows.loc[name], maps, index, protocols)}
        collected.payloads[key] = {
            "levels": _levels(masked.bands[index][1].band, strengths[index]),
            "signed": bool(maps.map[index].min() < 0),
            "planes": {patch: _plane(each.band) for patch, each in masked.bands[index].items()},
            "curves": [_points(curves[name, each], masked, index) for each in protocols],
            "baseline": [_baseline_image(masked.baseline[each], index) for each in protocols],
        }


def strength(attribution: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Return how strongly each pixel of a map (H, W) is coloured, in [-1, 1].

    It is that of :func:`relsplit.pictures.overlays.light_overlay`.
    """
    values = np.asarray(attribution, dtype=np.float64)
    signed: npt.NDArray[np.float64] = np.sign(values) * normalise(np.abs(values))
    return signed


def _place(collected: _Collected, dataset: str, name: str, image: npt.NDArray[np.uint8]) -> int:
    """Where a sample stands among those of its data set; a new one is added, and so is one with another image."""
    digest = hashlib.sha256(repr(image.shape).encode() + image.tobytes()).hexdigest()
    known = collected.places.get((dataset, name, digest))
    if known is not None:
        return known
    samples = collected.sets[dataset]["samples"]
    key = f"image-{len(collected.payloads)}"
    collected.payloads[key] = _picture(image)
    height, width = image.shape[:2]
    samples.append({"id": name, "image": key, "width": width, "height": height})
    collected.places[dataset, name, digest] = len(samples) - 1
    return len(samples) - 1


def _row(row: pd.Series, maps: Maps, index: int, protocols: Sequence[str]) -> dict[str, Any]:
    scores = [[float(row[score_column(score, name, protocols)]) for score in SCORES] for name in protocols]
    return {
        "wrong": bool(row["label"] != row["predicted"]),
        "classes": str(maps.class_name[index]).split("\n"),
        "probability": float(row["probability"]),
        "scores": scores,
    }


def _points(curve: SampleCurves, masked: MaskedPoints, index: int) -> dict[str, Any]:
    """What the curves of a sample say, and how many bands each point shows.

    Raises:
        InputError: the map cuts the curve elsewhere than the one that was scored.
    """
    shown = masked.bands[index][masked.patch[curve.protocol]].shown[curve.protocol]
    if len(shown) != len(curve.fraction):
        raise InputError(
            f"the map of {curve.sample_id} in {MAPS} has {len(shown)} points under {curve.protocol} and its curve "
            f"{len(curve.fraction)}: delete {MAPS} and start the evaluation again with task.maps=200"
        )
    values: dict[str, Any] = {
        name: [None if each is None else round(each, 5) for each in getattr(curve, name)] for name in CURVES
    }
    return {"fraction": [round(each, 5) for each in curve.fraction], "shown": shown.tolist(), **values}


def _levels(band: npt.NDArray[np.int64], strengths: npt.NDArray[np.float64]) -> list[int]:
    """The colour of each band, in steps from -STEPS to STEPS."""
    levels = np.zeros(int(band.max()) + 1, dtype=np.int64)
    levels[band] = np.round(STEPS * strengths).astype(np.int64)
    found: list[int] = levels.tolist()
    return found


def _plane(band: npt.NDArray[np.int64]) -> dict[str, Any]:
    """Bands as zlib's deflate of whole numbers, row by row; of two bytes each the low ones come first."""
    low, high = (band & 255).astype(np.uint8), (band >> 8).astype(np.uint8)
    wide = bool(high.any())
    content = low.tobytes() + (high.tobytes() if wide else b"")
    return {"bytes": 2 if wide else 1, "data": _base64(zlib.compress(content, 9))}


def _colour(baseline: npt.NDArray[np.uint8]) -> list[int] | None:
    """Red, green and blue, if one colour serves all samples."""
    return baseline[0, 0, 0].tolist() if baseline.shape[1:3] == (1, 1) else None


def _baseline_image(baseline: npt.NDArray[np.uint8], index: int) -> str | None:
    return None if baseline.shape[1:3] == (1, 1) else _picture(baseline[index])


def _picture(image: npt.NDArray[np.uint8]) -> str:
    exact, small = io.BytesIO(), io.BytesIO()
    Image.fromarray(image).save(exact, "PNG")
    if exact.tell() <= MOST_PNG:
        return f"data:image/png;base64,{_base64(exact.getvalue())}"
    Image.fromarray(image).save(small, "JPEG", quality=93, subsampling=0)
    return f"data:image/jpeg;base64,{_base64(small.getvalue())}"


def _palette(name: str) -> str:
    """256 colours as bytes of red, green and blue."""
    colours = matplotlib.colormaps[name](np.arange(256))[:, :3]
    return _base64(np.round(255 * colours).astype(np.uint8).tobytes())


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
