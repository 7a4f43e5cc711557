"""Which explanations fail, and how (supplement Sec. D.4, Table D).

A failure is a sample whose ID score does not exceed the best baseline's mean. The worst of them are shown on a contact
sheet and sorted into the paper's three categories. The paper's authors sorted by eye and give no rule, so what is
computed here is a proposal: ``failures.csv`` has an empty column ``confirmed``; what a person writes there is kept and
counted in the table instead of the proposal.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure

from reslrp.errors import InputError
from reslrp.results.append_log import write_atomically
from reslrp.results.grid import Cell, Grid, words
from reslrp.results.maps import Maps
from reslrp.results.measured import Measured
from reslrp.results.overlay import overlay
from reslrp.results.published import published_failures

CATEGORIES = {
    "insufficiently_attended": "Insufficiently attended",
    "over_attended": "Over-attended",
    "wrongly_attended": "Wrongly attended",
}
_INITIALS = {"IA": "insufficiently_attended", "OA": "over_attended", "WA": "wrongly_attended"}
SHEET_LEGEND = "On the contact sheet: ID score and category ({}); white: outline of the object.".format(
    ", ".join(f"{short} = {CATEGORIES[category].lower()}" for short, category in _INITIALS.items())
)
FAILURES = "failures.csv"
ATTENDED_SHARE = 0.5
"""The attended area is the smallest set of pixels that holds this share of the positive attribution."""
HALF = 0.5
"""Share of the object, or of the attended area, that counts as most of it."""
AREA_WITHOUT_OBJECT = (0.02, 0.2)
"""Without a box or mask: an attended area below the first share of the image is too small, above the second too big."""


def best_baseline(rows: Sequence[Measured], proposed: str) -> tuple[str, float]:
    """Baseline (not the proposed method, not a control) with the highest mean ID score, and that score.

    Raises:
        InputError: there is no baseline.
    """
    means = {
        row.label: row.mean("id_score", row.protocols[0]) for row in rows if row.label != proposed and not row.control
    }
    if not means:
        raise InputError("an error analysis takes its threshold from a baseline, and the experiment has none")
    best = max(means, key=lambda label: means[label])
    return best, means[best]


def worst_samples(row: Measured, threshold: float) -> pd.Series:
    """ID scores of the failures (score <= threshold), ascending."""
    scores = row.scores("id_score", row.protocols[0]).sort_values(kind="stable")
    failures: pd.Series = scores[scores <= threshold]
    return failures


def attended_area(attribution: npt.NDArray[np.floating], share: float = ATTENDED_SHARE) -> npt.NDArray[np.bool_]:
    """Smallest set of pixels that holds ``share`` of the positive attribution.

    Pixels of equal attribution belong to it together, so that a quantised map does not depend on the pixel order.

    Args:
        attribution: (H, W).
        share: in (0, 1).
    """
    positive = np.maximum(np.asarray(attribution, dtype=np.float64), 0.0)
    total = positive.sum()
    if total <= 0:
        return np.zeros(positive.shape, dtype=bool)
    ordered = np.sort(positive, axis=None)[::-1]
    last = ordered[np.searchsorted(np.cumsum(ordered), share * total)]
    attended: npt.NDArray[np.bool_] = positive >= last
    return attended


def propose(maps: Maps) -> pd.DataFrame:
    """Attended area, its overlap with the object, and the category that follows.

    With an object region: *over*-attended where the attended area covers most of the object and is larger than it;
    else *wrongly* attended where most of the attended area lies off the object; else *insufficiently* attended.
    Without one, by the attended share of the image.

    Returns:
        One row per sample: ``sample_id, attended_share, object_share`` (of the image), ``on_object`` (share of the
        attended area on the object), ``covered`` (share of the object that is attended), ``proposed``.
    """
    lines = []
    for index, name in enumerate(maps.sample_id):
        attended, region = attended_area(maps.map[index]), maps.region[index]
        known = bool(region.any())
        overlap = int((attended & region).sum())
        on_object = overlap / max(int(attended.sum()), 1)
        covered = overlap / max(int(region.sum()), 1)
        lines.append(
            {
                "sample_id": str(name),
                "attended_share": float(attended.mean()),
                "object_share": float(region.mean()) if known else float("nan"),
                "on_object": on_object if known else float("nan"),
                "covered": covered if known else float("nan"),
                "proposed": _category(float(attended.mean()), float(region.mean()), on_object, covered, known),
            }
        )
    frame: pd.DataFrame = pd.DataFrame(lines)
    return frame


def _category(attended: float, region: float, on_object: float, covered: float, known: bool) -> str:
    if known:
        if attended > region and covered >= HALF:
            return "over_attended"
        return "wrongly_attended" if on_object < HALF else "insufficiently_attended"
    small, large = AREA_WITHOUT_OBJECT
    if attended < small:
        return "insufficiently_attended"
    return "over_attended" if attended > large else "wrongly_attended"


def keep_confirmed(proposal: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The proposal with the column ``confirmed``, read back from an earlier ``failures.csv``.

    Raises:
        InputError: a confirmed category is none of the three (also accepted: their initials IA, OA, WA).
    """
    earlier = _earlier(path)
    confirmed = dict(zip(earlier["sample_id"], earlier["confirmed"], strict=True))
    merged: pd.DataFrame = proposal.assign(confirmed=[confirmed.get(name, "") for name in proposal["sample_id"]])
    return merged


def write_failures(failures: pd.DataFrame, path: Path) -> None:
    """Write ``failures.csv`` for a person to confirm; what a person has said about other samples stays in it."""
    earlier = _earlier(path)
    others = earlier[(earlier["confirmed"] != "") & ~earlier["sample_id"].isin(failures["sample_id"])]
    text = pd.concat([failures, others]).to_csv(index=False, lineterminator="\n", float_format="%.4f")
    write_atomically(path, text)


def _earlier(path: Path) -> pd.DataFrame:
    """What ``failures.csv`` holds, with the confirmed categories checked and spelt out."""
    if not path.exists():
        nothing: pd.DataFrame = pd.DataFrame(columns=["sample_id", "confirmed"], dtype=str)
        return nothing
    try:
        reader = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig")))  # a spreadsheet may put a mark first
    except UnicodeDecodeError:
        raise InputError(f"{path} is not in UTF-8: save it as CSV in UTF-8") from None
    if not {"sample_id", "confirmed"} <= set(reader.fieldnames or ()):
        raise InputError(f"{path} has no columns sample_id and confirmed: restore them, or delete the file")
    lines = []
    for number, line in enumerate(reader, start=2):
        surplus: Sequence[str] = line.pop(None, [])  # where csv puts what is too much
        if any(surplus) or None in line.values():
            raise InputError(
                f"{path}, line {number} has more or fewer fields than the heading: quote what holds a comma"
            )
        said = line["confirmed"].strip()
        category = _INITIALS.get(said.upper(), said)
        if category and category not in CATEGORIES:
            raise InputError(f"{path}, line {number}: {said!r} is no category, write one of {', '.join(CATEGORIES)}")
        lines.append({**line, "confirmed": category})
    checked: pd.DataFrame = pd.DataFrame(lines, columns=list(reader.fieldnames or ()), dtype=str)
    return checked


def table_d(failures: pd.DataFrame, dataset: str, threshold: float, origin: str, failed: int, samples: int) -> Grid:
    """Counts of the categories beside the published ones.

    Args:
        failures: with ``proposed`` and ``confirmed``.
        dataset: what was explained.
        threshold: ID score up to which a sample failed.
        origin: where the threshold comes from, in words.
        failed: number of failures.
        samples: number of samples.
    """
    decided = failures["confirmed"].where(failures["confirmed"] != "", failures["proposed"])
    counts = {category: int((decided == category).sum()) for category in CATEGORIES}
    measured = [_counts_row(f"measured, {dataset}", f"{threshold:.3f}", f"{failed} ({failed / samples:.1%})", counts)]
    published = [
        _counts_row(
            entry.source,
            "–" if entry.threshold is None else f"{entry.threshold:.3f}",
            "–" if entry.failures is None else f"{entry.failures} ({entry.share_of_samples:.1%})",
            entry.counts,
        )
        for entry in published_failures()
    ]
    confirmed = int((failures["confirmed"] != "").sum())
    return Grid(
        "Table D — failures by category",
        ["Source", "ID ≤", "Failures", *CATEGORIES.values()],
        [measured, published],
        [
            f"Threshold: {origin}. The {len(failures)} lowest failures are categorised; {confirmed} "
            f"are confirmed by a person in {FAILURES}, the others are proposals computed from area and overlap.",
        ],
    )


def _counts_row(source: str, threshold: str, failed: str, counts: dict[str, int]) -> list[Cell]:
    most = max(counts.values())
    numbers = [Cell(str(counts[category]), bold=most > 0 and counts[category] == most) for category in CATEGORIES]
    return [words(source), Cell(threshold), Cell(failed), *numbers]


def contact_sheet(maps: Maps, failures: pd.DataFrame, across: int = 10) -> Figure:
    """The failures, worst first, with score and category; the object's outline in white."""
    count = len(maps.sample_id)
    across = min(across, count)
    down = -(-count // across)
    figure = Figure(figsize=(1.15 * across, 1.4 * down))
    axes = figure.subplots(down, across, squeeze=False, gridspec_kw={"wspace": 0.05, "hspace": 0.3}).ravel()
    decided = failures["confirmed"].where(failures["confirmed"] != "", failures["proposed"])
    initials = {category: short for short, category in _INITIALS.items()}
    for axis in axes[count:]:
        axis.set_axis_off()
    for index, (axis, score, category) in enumerate(zip(axes[:count], failures["id_score"], decided, strict=True)):
        axis.imshow(overlay(maps.image[index], maps.map[index]), interpolation="nearest")
        if maps.region[index].any():
            axis.contour(maps.region[index], levels=[0.5], colors="white", linewidths=0.7)
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
        axis.set_title(f"{score:+.2f} {initials[category]}", fontsize=7, pad=2)
    return figure
