"""One table of finished evaluations: it says in what they differ, and its numbers are the runs' own."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from synthetic_runs import write_run

from relsplit.errors import InputError
from relsplit.papers.products.measured import Measured
from relsplit.papers.table import finished, table_of


def row(folder: Path) -> Measured:
    return Measured(folder.name, (folder,))


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """A sweep of an explainer's two options, and a control; the best is not the first."""
    more = {"gini": 0.25}
    return [
        write_run(tmp_path / "a", insertion=0.5, deletion=0.1, noise=0.05, options={"split": "ratio"}, more=more),
        write_run(tmp_path / "b", insertion=0.7, deletion=0.2, options={"split": "symmetric"}),
        write_run(tmp_path / "c", "edges", insertion=0.3, deletion=0.3),
    ]


def test_the_best_comes_first_and_what_differs_has_a_column(runs: list[Path]) -> None:
    product = table_of([row(run) for run in runs], "Sweep")
    (table,) = product.tables
    assert table.header[:3] == ["Method", "explainer.split", "Insertion ↑ published"]
    said = [[cell.text for cell in cells[:2]] for cells in table.groups[0]]
    assert said == [["ours", "symmetric"], ["ours", "ratio"], ["edges", "–"]]
    bold = {name: [cells[at].bold for cells in table.groups[0]] for at, name in enumerate(table.header)}
    assert bold["ID ↑ published"] == [True, False, False]
    assert bold["Deletion ↓ published"] == [False, True, False]
    assert not any(bold["gini"])  # nobody said which way is better


def test_a_file_is_told_by_its_name_or_else_by_its_content(tmp_path: Path) -> None:
    def header(*files: tuple[str, str]) -> list[str]:
        options = [{"maps": name, "maps_sha256": digest} for name, digest in files]
        folders = [
            write_run(tmp_path / f"{name}-{digest[:4]}", "stored", options=each, insertion=0.5, deletion=0.1)
            for (name, digest), each in zip(files, options, strict=True)
        ]
        (table,) = table_of([row(folder) for folder in folders], "Maps").tables
        return [
            *(name for name in table.header if name.startswith("explainer.")),
            *(cells[1].text for cells in table.groups[0]),
        ]

    assert header(("a", "1" * 64), ("b", "2" * 64)) == ["explainer.maps", "a", "b"]
    assert header(("c", "3" * 64), ("c", "4" * 64)) == ["explainer.maps_sha256", "33333333", "44444444"]


def test_numbers_are_the_means_of_the_samples(runs: list[Path]) -> None:
    frame = table_of([row(run) for run in runs], "Sweep").frame
    assert frame is not None
    frame = frame.set_index("folder")
    for run in runs:
        samples, line = pd.read_csv(run / "samples.csv"), frame.loc[str(run)]
        columns = {
            "insertion published": "insertion",
            "id_score published": "id_score",
            "id_score strict": "id_score_strict",
        }
        for name, column in columns.items():
            assert line[name] == pytest.approx(samples[column].mean(), abs=1e-12)
            assert line[f"{name}_error"] == pytest.approx(samples[column].sem(), abs=1e-12)
    assert frame.loc[str(runs[0]), "gini"] == 0.25
    assert pd.isna(frame.loc[str(runs[1]), "gini"])


def test_rows_on_different_samples_are_not_compared(runs: list[Path], tmp_path: Path) -> None:
    shorter = write_run(tmp_path / "d", insertion=0.9, num_samples=6, options={"split": "ratio"})
    (table,) = table_of([row(run) for run in [*runs, shorter]], "Sweep").tables
    assert not any(cell.bold for cells in table.groups[0] for cell in cells)
    assert any("different samples" in note for note in table.notes)
    assert any(note.startswith("6 to 12 samples") for note in table.notes)


def test_settings_of_a_protocol_are_compared_among_runs_that_were_scored_under_it(tmp_path: Path) -> None:
    scored = [{"strict": {"patch": 1}}, {"strict": {"patch": 8}}, {"levels": {"patch": 1}}]
    runs = [write_run(tmp_path / str(at), protocols=each) for at, each in enumerate(scored)]
    (table,) = table_of([row(run) for run in runs[:2]], "Patches").tables
    assert table.header[1] == "protocol.strict.patch"
    (table,) = table_of([row(run) for run in runs[1:]], "Others").tables
    assert table.header[1] == "Insertion ↑ published"


def test_what_changes_no_number_has_no_column(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / str(maps), task={"maps": maps, "scored_class": "label"}) for maps in (8, 12)]
    (table,) = table_of([row(run) for run in runs], "Maps").tables
    assert table.header[1] == "Insertion ↑ published"


def test_one_run_alone_needs_no_column(runs: list[Path]) -> None:
    (table,) = table_of([row(runs[0])], "One").tables
    assert table.header[:2] == ["Method", "Insertion ↑ published"]


def test_folders_are_found_by_patterns(runs: list[Path], tmp_path: Path) -> None:
    (tmp_path / "unfinished").mkdir()
    assert finished([str(tmp_path / "*")]) == runs
    assert finished([str(tmp_path / "**"), str(runs[1])]) == runs
    assert finished([str(runs[1]), str(tmp_path / "[ac]")]) == [runs[1], runs[0], runs[2]]
    with pytest.raises(InputError, match=r"unfinished holds no finished evaluation"):
        finished([str(tmp_path / "unfinished")])
    with pytest.raises(InputError, match="evaluate something first"):
        finished([str(tmp_path / "z*")])


def test_the_command_writes_csv_markdown_and_latex(runs: list[Path], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "relsplit", "task=table", f"task.runs=[{tmp_path}/*]"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "symmetric" in done.stdout
    folder = tmp_path / "outputs" / "table"
    frame = pd.read_csv(folder / "table.csv")
    assert list(frame["explainer.split"].fillna("")) == ["symmetric", "ratio", ""]
    assert (folder / "table.md").read_text("utf-8").count("\n| ours | ") == 2
    assert "\\begin{tabular}" in (folder / "table.tex").read_text("utf-8")
    wrong = subprocess.run(
        [*command[:-1], "task.runs=[nowhere]"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
