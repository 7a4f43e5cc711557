"""Comparison tables of runs whose scores are known."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from synthetic_runs import write_run

from papers import OTSUKI2024, brief
from relsplit.bench.runs.summary import read_summary, write_summary
from relsplit.errors import InputError
from relsplit.papers.products.comparison import compare, comparison, lay_out
from relsplit.papers.products.measured import Measured
from relsplit.papers.products.product import Product, write_product
from relsplit.papers.reports.text_table import Cell, TextTable, number, to_latex, to_markdown, to_rich


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[Measured]:
    root = tmp_path_factory.mktemp("runs")

    def row(name: str, paper_row: str | None, control: bool = False, **scores: object) -> Measured:
        return Measured(name, (write_run(root / name, name, **scores),), paper_row, control)  # type: ignore[arg-type]

    return [
        row("Grad-CAM", "4", insertion=0.5, deletion=0.1, strict=(0.5, 0.1), noise=0.02),
        row("Ours", "6", insertion=0.6, deletion=0.02, strict=(0.4, 0.2), noise=0.02, seed=1),
        row("one pixel", None, True, insertion=0.8, deletion=0.02, strict=(0.25, 0.24)),
    ]


def test_refined_curves_have_their_bound_below_the_table(tmp_path: Path) -> None:
    scores = {"insertion": 0.5, "deletion": 0.1, "strict": (0.5, 0.1), "noise": 0.02}
    folders = [write_run(tmp_path / name, name, **scores) for name in ("whole", "refined")]  # type: ignore[arg-type]
    write_summary(folders[1], {**read_summary(folders[1], {}), "id_score_error_bound_strict": 0.00123})
    whole, refined = (Measured(folder.name, (folder,)) for folder in folders)
    published, strict = (table.notes for table in lay_out(compare([whole, refined], "demo"), "Two", "demo"))
    assert not any("Refined" in note for note in published)
    assert strict[-1] == "Refined curves; with 95% confidence the ID score of all points is within: refined 0.0012."


def test_numbers_differences_and_best(rows: list[Measured]) -> None:
    frame = compare(rows, "imagenet", OTSUKI2024.table("1", "imagenet"), "Ours").set_index(["protocol", "method"])
    ours = frame.loc[("published", "Ours")]
    scores = rows[1].samples[0]["insertion"].to_numpy()
    assert ours["insertion"] == pytest.approx(scores.mean())
    assert ours["insertion_error"] == pytest.approx(scores.std(ddof=1) / np.sqrt(12))
    assert ours["insertion_paper"] == 0.563
    assert ours["insertion_difference"] == pytest.approx(scores.mean() - 0.563)
    assert frame.loc[("strict", "Ours"), "id_score"] == pytest.approx(0.2)
    assert list(frame["insertion_best"]) == [False, True, False, True, False, False]  # a control is never the best
    assert list(frame["deletion_best"]) == [False, True, False, True, False, False]
    assert list(frame["id_score_paper_best"]) == [False, True, False, False, True, False]


def test_controls_that_win_are_flagged(rows: list[Measured]) -> None:
    frame = compare(rows, "imagenet", OTSUKI2024.table("1", "imagenet")).set_index(["protocol", "method"])
    assert frame.loc[("published", "Ours"), "clearly_beaten_by"] == "one pixel"
    assert frame.loc[("strict", "Ours"), "beaten_by"] == ""
    assert frame.loc[("published", "one pixel"), "beaten_by"] == ""
    published, strict = lay_out(frame.reset_index(), "Table 1", "imagenet", OTSUKI2024.table("1", "imagenet"))
    assert [row[0].text for row in published.groups[0]] == ["Grad-CAM ‡", "Ours ‡"]
    assert [row[0].text for row in published.groups[1]] == ["one pixel"]
    assert any("one pixel above Grad-CAM, Ours" in note for note in published.notes)
    assert not any("‡" in note for note in strict.notes)


def test_a_control_ahead_by_chance_gets_the_weaker_mark(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    method = write_run(tmp_path / "m", insertion=list(0.5 + 0.1 * draw.normal(size=12)))
    control = write_run(tmp_path / "c", insertion=list(0.505 + 0.1 * draw.normal(size=12)))
    frame = compare([Measured("m", (method,)), Measured("c", (control,), control=True)], "demo")
    ahead = frame["id_score"][1] > frame["id_score"][0]
    assert (frame["beaten_by"][0], frame["clearly_beaten_by"][0]) == ("c" if ahead else "", "")


def test_reference_differences_are_paired(rows: list[Measured]) -> None:
    frame = compare(rows, "imagenet", OTSUKI2024.table("1", "imagenet"), "Ours").set_index(["protocol", "method"])
    line = frame.loc[("strict", "Grad-CAM")]
    assert line["versus_reference"] == pytest.approx(0.2)
    assert line["versus_reference_low"] == pytest.approx(0.2)
    assert np.isnan(frame.loc[("strict", "Ours"), "versus_reference"])


def test_five_checkpoints_give_mean_and_standard_deviation(tmp_path: Path) -> None:
    means = [0.50, 0.52, 0.49, 0.55, 0.51]
    folders = tuple(write_run(tmp_path / str(i), insertion=mean, seed=40 + i) for i, mean in enumerate(means))
    frame = compare([Measured("Ours", folders, "6")], "cub", OTSUKI2024.table("1", "cub"))
    assert frame["insertion"][0] == pytest.approx(np.mean(means))
    assert frame["insertion_error"][0] == pytest.approx(np.std(means, ddof=1))
    assert frame["insertion_paper_std"][0] == 0.010
    assert (
        "standard deviation over 5 checkpoints"
        in lay_out(frame, "Table 1", "cub", OTSUKI2024.table("1", "cub"))[0].notes[0]
    )


def test_another_data_set_gets_orientation_and_no_difference(rows: list[Measured]) -> None:
    frame = compare(rows, "demo", OTSUKI2024.table("1", "demo"))
    assert frame["insertion_paper"][1] == 0.563
    assert frame["insertion_difference"].isna().all()
    grid = lay_out(frame, "Table 1", "demo", OTSUKI2024.table("1", "demo"))[0]
    assert "Δ" not in grid.header
    assert any("orientation" in note for note in grid.notes)


def test_what_cannot_be_compared_is_refused(tmp_path: Path, rows: list[Measured]) -> None:
    longer = Measured("longer", (write_run(tmp_path / "longer", num_samples=13),))
    with pytest.raises(InputError, match="different samples"):
        compare([rows[0], longer], "demo", reference="longer")
    with pytest.raises(InputError, match="different samples"):
        compare([Measured("mixed", (*rows[0].folders, *longer.folders))], "demo")
    with pytest.raises(InputError, match="none of its rows"):
        compare(rows, "demo", reference="nobody")
    with pytest.raises(InputError, match="finish its run"):
        compare([Measured("absent", (tmp_path / "absent",))], "demo")


def test_written_files_hold_the_same_numbers(tmp_path: Path, rows: list[Measured]) -> None:
    product = comparison(rows, brief(tmp_path, "imagenet"), title="Table 1", paper_table="1", reference="Ours")
    write_product(tmp_path, Product(product.tables, product.frame), {"name": "table1"}, rows)
    frame = pd.read_csv(tmp_path / "table.csv")
    assert frame["insertion"].to_list() == pytest.approx(product.frame["insertion"].to_list())  # type: ignore[index]
    for text in ((tmp_path / "table.md").read_text(), (tmp_path / "table.tex").read_text()):
        for value in frame["insertion"]:
            assert f"{value:.3f}" in text


TABLE = TextTable(
    "A_title & more",
    ["Method", "ID ↑"],
    [
        [[Cell("a_b|c", number=False), Cell("-0.100", "0.020", bold=True)]],
        [[Cell("50%", number=False), Cell("–")], [Cell("x", number=False), Cell("·")]],
        [[Cell("huge", number=False), number(-2.5e31)], [Cell("few", number=False), Cell("5 (4.2%)")]],
    ],
    ["a < b"],
)


def test_latex_is_escaped_and_uses_booktabs() -> None:
    text = to_latex(TABLE)
    assert r"\caption{A\_title \& more}" in text
    assert r"a\_b\textbar{}c & $\mathbf{-0.100} \pm 0.020$ \\" in text
    assert r"50\% & -- \\" in text
    assert r"x & $\cdot$ \\" in text
    assert r"huge & $-2.5\cdot 10^{31}$ \\" in text
    assert r"few & $5\ (4.2\%)$ \\" in text
    assert [text.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 3, 1]
    assert text.count("{") == text.count("}")


def test_markdown_and_terminal() -> None:
    lines = to_markdown(TABLE).splitlines()
    assert lines[2:7] == [
        "| Method | ID ↑ |",
        "| :--- | ---: |",
        r"| a_b\|c | **-0.100 ± 0.020** |",
        "|  |  |",
        "| 50% | – |",
    ]
    console = Console(width=60, record=True, file=None, quiet=False)
    with console.capture() as captured:
        console.print(to_rich(TABLE))
    assert "-0.100 ± 0.020" in captured.get()


def test_a_table_survives_json() -> None:
    assert TextTable.from_dict(TABLE.to_dict()) == TABLE
