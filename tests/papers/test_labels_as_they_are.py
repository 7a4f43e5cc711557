"""A label stands in every table as it was given: no formula, no cell, no markup and no command of its own."""

import csv
import html
import io
import re
from pathlib import Path

import pandas as pd
import pytest
from markdown_it import MarkdownIt
from rich.console import Console
from synthetic_runs import write_run

from papers import brief
from relsplit.papers.products.comparison import comparison
from relsplit.papers.products.measured import Measured
from relsplit.papers.products.product import Product, write_product
from relsplit.papers.reports.html import write_report
from relsplit.papers.reports.text_table import TextTable, number, to_latex, to_markdown, to_rich, words

LABELS = [
    "=cmd()", "+1+cmd()", "-1-cmd()", "@SUM(A1)", "\t=cmd()", "\r=cmd()", "<script>alert(1)</script>", "a | b || c",
    "two\nlines", "50% of $x_1^2$ & {more} #~", "a\\b\\", "a\\|b", "[1cm] behind a row", "*", "[red]no[/bold]",
    "**not bold**", "[link](https://example.org)", "`code`", "$\\frac$ twice $\\frac$", "&lt;", "layer4[-1]",
    "'quoted' \"twice\"",
]  # fmt: skip
LATEX = re.compile(
    r"""\\textbackslash\{\}|\\textasciitilde\{\}|\\textasciicircum\{\}|\\textbar\{\}|\\textless\{\}|\\textgreater\{\}
    |\\[&%$\#_{}]|\{[]*[]\}|[^\\&%$\#_{}~^]""",
    re.VERBOSE,
)
"""What may stand in a cell: no sign that means something to LaTeX, except as the sign that it shows."""
SIGNS = {"backslash": "\\", "asciitilde": "~", "asciicircum": "^", "bar": "|", "less": "<", "greater": ">"}


def one_line(text: str) -> str:
    return " ".join(text.split())


def table(label: str) -> TextTable:
    rows = [[words("first"), number(0.5)], [words(label), number(-0.25)]]
    return TextTable(label, [label, "ID"], [rows], [label])


def signs(latex: str) -> str:
    """What LaTeX shows for the text of a cell."""
    found = LATEX.findall(latex)
    assert "".join(found) == latex
    return "".join(
        SIGNS[each.removeprefix("\\text").removesuffix("{}")]
        if each.startswith("\\text")
        else each.strip("\\{}") or each[1:2]
        for each in found
    )


@pytest.mark.parametrize("label", LABELS)
def test_in_markdown(label: str) -> None:
    tokens = MarkdownIt("commonmark").enable("table").parse(to_markdown(table(label)))
    inline = [token for token in tokens if token.type == "inline"]
    kinds = {child.type for token in inline for child in token.children or []}
    assert kinds <= {"text", "text_special", "strong_open", "strong_close"}, kinds
    shown = ["".join(child.content for child in token.children or []) for token in inline]
    said = one_line(label)
    assert shown == [said, said, "ID", "first", "0.500", said, "-0.250", said]


@pytest.mark.parametrize("label", LABELS)
def test_in_latex(label: str) -> None:
    text = to_latex(table(label))
    rows = [line for line in text.splitlines() if line.endswith(" \\\\")]
    cells = [re.split(r"(?<!\\) & ", row.removesuffix(" \\\\")) for row in rows]
    assert [signs(row[0]) for row in cells] == [one_line(label), "first", one_line(label)]
    assert cells[2][1:] == ["$-0.250$"]
    assert not any(line.startswith(("[", "*")) for line in text.splitlines())


@pytest.mark.parametrize("label", LABELS)
def test_on_a_terminal(label: str) -> None:
    console = Console(width=200, file=io.StringIO(), record=True)
    console.print(to_rich(table(label)))
    shown = console.export_text()
    assert all(part.strip() in shown for part in label.splitlines())


def test_in_csv_text_is_no_formula_and_numbers_are_numbers(tmp_path: Path) -> None:
    labels = [*LABELS, "-0.5", "+3e-2", "plain"]
    write_product(tmp_path, Product(frame=pd.DataFrame({"=name": labels, "gain": -0.25, "count": -3})), {}, [])
    with (tmp_path / "table.csv").open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert header == ["'=name", "gain", "count"]
    formulas = [one_line(label) for label in LABELS[:6]]
    assert [row[0] for row in rows] == [f"'{text}" if text in formulas else text for text in map(one_line, labels)]
    assert {(row[1], row[2]) for row in rows} == {("-0.25", "-3")}


def test_on_the_page(tmp_path: Path) -> None:
    rows = [Measured(label, (write_run(tmp_path / str(place), "ours"),)) for place, label in enumerate(LABELS)]
    title = "<script>alert(2)</script>"
    description = {"name": "n", "title": title, "paper": None, "dataset": "demo", "command": "c"}
    product = comparison(rows, brief(tmp_path, "demo"), title=title, paper_table=None)
    write_product(tmp_path, product, description, rows)
    write_report(tmp_path, tmp_path / "report.html", title)
    page = (tmp_path / "report.html").read_bytes().decode()
    assert page.count("<script") == 2  # its own: the data, and what sorts
    assert not re.search(r"<script>alert", page)
    for label in LABELS:
        assert f">{html.escape(label)}" in page
