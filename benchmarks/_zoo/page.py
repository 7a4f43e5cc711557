"""The list as a page of the documentation: sections that are written one at a time, the others staying as they were."""

import importlib.metadata
import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from _zoo.case import HEADER, TOLERATED, Family

COMMAND = "python benchmarks/lrp_zoo.py"
INTRODUCTION = f"""# Networks that relevance passes

Each of these was run with random weights, and random BatchNorm statistics where it has any, under `split=ratio` and
`split=symmetric`. Your network need not be among them: what is recorded is what any network does
([design.md](design.md)), and an operation without a rule is named in one line.

- **input**: the size of one sample, without the batch.
- **gap**: the greatest difference between a map's sum and the relevance that it started from, as a share of the start.
- **forwards**: the processor time of one map over that of the network's own forward pass, median of interleaved rounds.
  A little network costs more of them: there the record of an operation takes as long as the operation.
- **remark**: the line with which a network is refused, or what is odd.

`{COMMAND} SECTION --output docs/networks.md` writes a section
anew and leaves the others as they are; without a section it writes all. `SECTION/NETWORK` is one network.
"""


@dataclass
class Section:
    """One family of networks, as the page has it."""

    family: Family
    name: str
    versions: str = ""
    rows: dict[str, list[str]] = field(default_factory=dict)

    def put(self, cells: list[str]) -> None:
        """Take a network's line, measured now on this machine."""
        self.rows[cells[0]] = cells
        found = [f"{package} {importlib.metadata.version(package)}" for package in self.family.packages]
        self.versions = f"{', '.join(found)}, {platform.machine()}, CPU threads: {torch.get_num_threads()}"

    def counts(self) -> list[int]:
        """How many networks were run, how many are conserved, and how many were refused."""
        gaps = [row[HEADER.index("gap")] for row in self.rows.values()]
        return [len(gaps), sum(bool(gap) and float(gap) <= TOLERATED for gap in gaps), sum(not gap for gap in gaps)]

    def text(self) -> str:
        """The section in Markdown; lines in the family's order."""
        lines = [self.rows[name] for name in self.family.names if name in self.rows]
        return "\n".join(
            [
                f"## {self.family.title}",
                "",
                self.family.about,
                "",
                f"`{COMMAND} {self.name}`: {self.versions}.",
                "",
                *_table(HEADER, lines, right=("gap", "forwards")),
                "",
            ]
        )


def read(page: Path, families: dict[str, Family]) -> dict[str, Section]:
    """Return every family's section as the page has it, empty where it has none."""
    sections = {name: Section(family, name) for name, family in families.items()}
    by_title = {family.title: sections[name] for name, family in families.items()}
    for block in page.read_text(encoding="utf-8").split("\n## ")[1:] if page.exists() else []:
        title, _, text = block.partition("\n")
        section = by_title.get(title)
        if section is None:
            continue
        measured = re.search(rf"^`{re.escape(COMMAND)} {section.name}`: (.*)\.$", text, re.MULTILINE)
        section.versions = measured[1] if measured else ""
        lines = [line for line in text.splitlines() if line.startswith("| ")][1:]
        rows = [[cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
        section.rows = {row[0]: row for row in rows}
    return sections


def write(page: Path, sections: dict[str, Section]) -> None:
    """Write the page: what the columns mean, a table of sections, and the sections."""
    filled = [section for section in sections.values() if section.rows]
    overview = [[f"[{each.family.title}](#{_anchor(each.family.title)})", f"`{each.name}`", *map(str, each.counts())]
                for each in filled]  # fmt: skip
    header = ("family", "section", "networks", f"gap ≤ {TOLERATED:.0e}".replace("e-0", "e-"), "refused")
    table = _table(header, overview, right=header[2:])
    page.write_text("\n".join([INTRODUCTION, *table, "", *(each.text() for each in filled)]), encoding="utf-8")


def summary(sections: dict[str, Section]) -> str:
    """One line a section."""
    lines = []
    for section in sections.values():
        count, good, refused = section.counts()
        if count:
            lines.append(f"{section.name}: {good} of {count} networks with a gap of at most 1e-5, {refused} refused")
    return "\n".join(lines)


def _anchor(title: str) -> str:
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def _table(header: Sequence[str], rows: list[list[str]], right: Sequence[str]) -> list[str]:
    rule = "|" + "|".join("---:" if name in right else "---" for name in header) + "|"
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return ["| " + " | ".join(header) + " |", rule, *("| " + " | ".join(row) + " |" for row in cells)]
