"""``failures.csv``: proposed categories, and what a person says of them, which is never lost."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from relsplit.errors import InputError
from relsplit.files import write_text

FAILURES = "failures.csv"
NAMES = {
    "insufficiently_attended": "Insufficiently attended",
    "over_attended": "Over-attended",
    "wrongly_attended": "Wrongly attended",
}
INITIALS = {"IA": "insufficiently_attended", "OA": "over_attended", "WA": "wrongly_attended"}


def decided(failures: pd.DataFrame) -> pd.Series:
    """Return the category of every failure: the confirmed one, else the proposed one."""
    categories: pd.Series = failures["confirmed"].where(failures["confirmed"] != "", failures["proposed"])
    return categories


def keep_confirmed(proposal: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Return the proposal with the column ``confirmed``, read back from an earlier ``failures.csv``.

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
    write_text(path, text)


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
        category = INITIALS.get(said.upper(), said)
        if category and category not in NAMES:
            raise InputError(f"{path}, line {number}: {said!r} is no category, write one of {', '.join(NAMES)}")
        lines.append({**line, "confirmed": category})
    checked: pd.DataFrame = pd.DataFrame(lines, columns=list(reader.fieldnames or ()), dtype=str)
    return checked
