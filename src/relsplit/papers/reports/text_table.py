"""A table before it is written down: cells with a value, an error and emphasis, and four ways to render them."""

import html
import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

HUGE = 1e4
"""From here on a number is written in powers of ten."""


@dataclass(frozen=True)
class Cell:
    """One entry.

    Attributes:
        text: what stands there.
        error: what stands after ±, empty for nothing.
        bold: the best of its column.
        number: whether it is aligned as a number.
    """

    text: str
    error: str = ""
    bold: bool = False
    number: bool = True


@dataclass(frozen=True)
class TextTable:
    """A titled table; ``groups`` of rows are separated by a rule, ``notes`` stand below."""

    title: str
    header: list[str]
    groups: list[list[list[Cell]]]
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and dictionaries, for JSON."""
        return asdict(self)

    @staticmethod
    def from_dict(content: dict[str, Any]) -> "TextTable":
        """Inverse of :meth:`to_dict`."""
        groups = [[[Cell(**cell) for cell in row] for row in group] for group in content["groups"]]
        return TextTable(content["title"], content["header"], groups, content["notes"])


def words(text: str) -> Cell:
    """A cell of text."""
    return Cell(text, number=False)


def number(value: float | None, error: float | None = None, bold: bool = False, signed: bool = False) -> Cell:
    """A cell of a fraction with three decimals, of a huge number in powers of ten; a dash where there is no value."""
    if value is None or math.isnan(value):
        return Cell("–")
    digits = ".3f" if abs(value) < HUGE else ".1e"
    shown = f"{value:+{digits}}" if signed else f"{value:{digits}}"
    return Cell(shown, "" if error is None or math.isnan(error) else f"{error:.3f}", bold)


def interval(difference: float, low: float, high: float) -> Cell:
    """A cell of a difference and its interval; bold where that excludes 0."""
    return Cell(f"{difference:+.3f} [{low:+.3f}, {high:+.3f}]", bold=low > 0 or high < 0)


def to_rich(table: TextTable) -> Table:
    """Return the table for a terminal."""
    title = Text(table.title, "bold")  # a Text, as everything here: brackets in a label are no markup
    shown = Table(title=title, box=box.HORIZONTALS, title_justify="left", pad_edge=False)
    first = table.groups[0][0]
    for name, cell in zip(table.header, first, strict=True):
        shown.add_column(Text(name), justify="right" if cell.number else "left", no_wrap=True)
    for group in table.groups:
        for row in group:
            shown.add_row(*(Text(_plain(cell), "bold" if cell.bold else "") for cell in row))
        shown.add_section()
    return shown


def print_table(table: TextTable) -> None:
    """Print the table and its notes; a terminal that is too narrow wraps its lines instead of cutting cells."""
    console = Console()
    shown = to_rich(table)
    wide = console.options.update(max_width=1000)
    console.width = max(console.width, console.measure(shown, options=wide).maximum)
    console.print(shown)
    for note in table.notes:
        console.print(note, markup=False, highlight=False, soft_wrap=True)
    console.print()


def to_markdown(table: TextTable) -> str:
    """Return the table in GitHub's Markdown; a rule becomes an empty row."""
    first = table.groups[0][0]
    lines = [
        _markdown_row([_markdown_text(name) for name in table.header]),
        _markdown_row(["---:" if cell.number else ":---" for cell in first]),
    ]
    for index, group in enumerate(table.groups):
        if index:
            lines.append(_markdown_row([""] * len(table.header)))
        lines += [_markdown_row([_markdown_cell(cell) for cell in row]) for row in group]
    notes = "".join(f"\n{_markdown_text(note)}\n" for note in table.notes)
    return f"**{_markdown_text(table.title)}**\n\n" + "\n".join(lines) + "\n" + notes


def to_latex(table: TextTable) -> str:
    """Return the table as LaTeX with booktabs rules."""
    columns = "".join("r" if cell.number else "l" for cell in table.groups[0][0])
    body = "\\midrule\n".join("".join(_latex_row(row) for row in group) for group in table.groups)
    header = " & ".join(_latex_text(name) for name in table.header)
    notes = "".join(f"\\par\\smallskip\\footnotesize {_latex_text(note)}\n" for note in table.notes)
    tabular = (
        f"\\begin{{tabular}}{{{columns}}}\n\\toprule\n{header} \\\\\n\\midrule\n{body}\\bottomrule\n\\end{{tabular}}"
    )
    return (
        "% needs \\usepackage{booktabs,graphicx}\n"
        "\\begin{table}\n\\centering\n"
        f"\\caption{{{_latex_text(table.title)}}}\n{_NOT_WIDER}{{%\n{tabular}}}\n{notes}\\end{{table}}\n"
    )


def _plain(cell: Cell) -> str:
    return f"{cell.text} ± {cell.error}" if cell.error else cell.text


def _markdown_row(texts: Sequence[str]) -> str:
    return "| " + " | ".join(text.replace("|", "\\|") for text in texts) + " |"


def _markdown_cell(cell: Cell) -> str:
    text = _markdown_text(_plain(cell))
    return f"**{text}**" if cell.bold else text


def _markdown_text(text: str) -> str:
    """A label as it is, in one line: no markup, neither Markdown's nor HTML's, which Markdown lets through."""
    return _MARKUP.sub(r"\\\g<0>", html.escape(" ".join(text.split()), quote=False))


def _latex_row(row: Sequence[Cell]) -> str:
    return " & ".join(_latex_cell(cell) for cell in row) + " \\\\\n"


def _latex_cell(cell: Cell) -> str:
    if not cell.number or not _NUMBER.match(cell.text):
        return f"\\textbf{{{_latex_text(cell.text)}}}" if cell.bold else _latex_text(cell.text)
    text = _latex_text(cell.text).replace(" ", "\\ ")
    value = _POWER.sub(lambda power: f"\\cdot 10^{{{int(power[1])}}}", text)
    value = f"\\mathbf{{{value}}}" if cell.bold else value
    return f"${value} \\pm {cell.error}$" if cell.error else f"${value}$"


_NOT_WIDER = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}"
_NUMBER = re.compile(r"[+-]?\d")
_POWER = re.compile(r"e([+-]\d+)$")
_MARKUP = re.compile(r"[\\`*\[]")
_LATEX = {
    "\\": "\\textbackslash{}",
    "&": "\\&",
    "%": "\\%",
    "$": "\\$",
    "#": "\\#",
    "_": "\\_",
    "{": "\\{",
    "}": "\\}",
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
    "[": "{[}",  # behind the end of a row it would begin an option of it, as * would
    "]": "{]}",
    "*": "{*}",
    "±": "$\\pm$",
    "–": "--",
    "—": "---",
    "−": "$-$",
    "·": "$\\cdot$",
    "×": "$\\times$",
    "|": "\\textbar{}",
    "<": "\\textless{}",
    ">": "\\textgreater{}",
    "↑": "$\\uparrow$",
    "↓": "$\\downarrow$",
    "≤": "$\\leq$",
    "→": "$\\rightarrow$",
    "Δ": "$\\Delta$",
    "†": "$\\dagger$",
    "‡": "$\\ddagger$",
    "§": "\\S{}",
}


def _latex_text(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in " ".join(text.split()))
