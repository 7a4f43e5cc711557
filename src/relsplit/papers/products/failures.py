"""Which explanations fail, and how (supplement Sec. D.4, Table D).

A failure is a sample whose ID score does not exceed the best baseline's mean. The worst of them are shown on a contact
sheet and sorted into the paper's three categories. The paper's authors sorted by eye and give no rule, so what is
computed here is a proposal: ``failures.csv`` has an empty column ``confirmed``; what a person writes there is kept and
counted in the table instead of the proposal.
"""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure

from relsplit.bench.runs.maps import Maps
from relsplit.errors import InputError
from relsplit.options import Limits
from relsplit.papers.products.contact_sheet import SHEET_LEGEND, contact_sheet
from relsplit.papers.products.failures_file import FAILURES, NAMES, decided, keep_confirmed, write_failures
from relsplit.papers.products.measured import Measured
from relsplit.papers.products.product import Brief, Product, RowLabel
from relsplit.papers.products.published import PublishedFailures
from relsplit.papers.reports.text_table import Cell, TextTable, words

ATTENDED_SHARE = 0.5
"""The attended area is the smallest set of pixels that holds this share of the positive attribution."""
HALF = 0.5
"""Share of the object, or of the attended area, that counts as most of it."""
AREA_WITHOUT_OBJECT = (0.02, 0.2)
"""Without a box or mask: an attended area below the first share of the image is too small, above the second too big."""


def failures(
    rows: Sequence[Measured],
    brief: Brief,
    *,
    title: str,
    proposed: RowLabel,
    threshold: float | None,
    worst: Annotated[int, Limits(minimum=0)],
) -> Product:
    """Find the failures, propose a category for the worst and count.

    Args:
        rows: the proposed method and its baselines.
        brief: what the table is made for; ``failures.csv`` is written to its folder, and read back from it.
        title: of the table.
        proposed: label of the method whose failures are analysed.
        threshold: ID score up to which a sample failed; None for the best baseline's mean.
        worst: how many failures are categorised.

    Raises:
        InputError: there is no such row or no baseline, or ``failures.csv`` cannot be used.
    """
    ours = [row for row in rows if row.label == proposed]
    if not ours:
        raise InputError(f"reproduce.product.proposed: {proposed!r} is none of the rows {[row.label for row in rows]}")
    if threshold is None:
        baseline, limit = best_baseline(rows, proposed)
        origin = f"mean ID score of {baseline}"
    else:
        limit, origin = threshold, "given"
    scores = worst_samples(ours[0], limit)
    shown = scores.head(worst)
    figures: dict[str, Figure] = {}
    frame = pd.DataFrame(columns=["sample_id", "id_score", "proposed", "confirmed"])
    if len(shown):
        maps = brief.explain(ours[0].folders[0], list(shown.index))
        found = propose(maps)
        found.insert(1, "id_score", shown.loc[list(maps.sample_id)].to_numpy())
        frame = keep_confirmed(found, brief.folder / FAILURES)
        figures["contact_sheet"] = contact_sheet(maps, frame)
    write_failures(frame, brief.folder / FAILURES)
    published = brief.paper.failures() if brief.paper else []
    failed = f"{len(scores)} ({len(scores) / len(ours[0].samples[0]):.1%})"
    measured = f"measured, {brief.dataset}", f"{limit:.3f}", failed
    table = count_table(frame, f"{title} — failures by category", measured, origin, published)
    return Product([table], frame, figures, notes=[SHEET_LEGEND] if figures else [])


def best_baseline(rows: Sequence[Measured], proposed: str) -> tuple[str, float]:
    """Return the baseline (not the proposed method, not a control) with the highest mean ID score, and that score.

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
    """Return the ID scores of the failures (score <= threshold), ascending."""
    scores = row.scores("id_score", row.protocols[0]).sort_values(kind="stable")
    failures: pd.Series = scores[scores <= threshold]
    return failures


def attended_area(attribution: npt.NDArray[np.floating], share: float = ATTENDED_SHARE) -> npt.NDArray[np.bool_]:
    """Return the smallest set of pixels that holds ``share`` of the positive attribution.

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
    """Return the attended area, its overlap with the object, and the category that follows.

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


def count_table(
    frame: pd.DataFrame, title: str, measured: tuple[str, str, str], origin: str, published: Sequence[PublishedFailures]
) -> TextTable:
    """Return the counts of the categories beside the published ones.

    Args:
        frame: failures with ``proposed`` and ``confirmed``.
        title: of the table.
        measured: name, threshold and number of failures of what was measured.
        origin: where the threshold comes from, in words.
        published: the paper's error analyses.
    """
    counts = decided(frame).value_counts()
    groups = [[_counts_row(*measured, {category: int(counts.get(category, 0)) for category in NAMES})]]
    if published:
        groups.append(
            [
                _counts_row(
                    entry.source,
                    "–" if entry.threshold is None else f"{entry.threshold:.3f}",
                    "–" if entry.failures is None else f"{entry.failures} ({entry.share_of_samples:.1%})",
                    entry.counts,
                )
                for entry in published
            ]
        )
    confirmed = int((frame["confirmed"] != "").sum())
    return TextTable(
        title,
        ["Source", "ID ≤", "Failures", *NAMES.values()],
        groups,
        [
            f"Threshold: {origin}. The {len(frame)} lowest failures are categorised; {confirmed} "
            f"are confirmed by a person in {FAILURES}, the others are proposals computed from area and overlap.",
        ],
    )


def _counts_row(source: str, threshold: str, failed: str, counts: dict[str, int]) -> list[Cell]:
    most = max(counts.values())
    numbers = [Cell(str(counts[category]), bold=most > 0 and counts[category] == most) for category in NAMES]
    return [words(source), Cell(threshold), Cell(failed), *numbers]
