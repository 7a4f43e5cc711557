"""The published numbers hang together the way the paper's text says they do."""

import pytest

from papers import OTSUKI2024


@pytest.mark.parametrize(("table", "rows"), [("1", 6), ("2", 4), ("3", 2), ("B", 7), ("C", 4)])
def test_every_row_is_there_with_fractions(table: str, rows: int) -> None:
    found = OTSUKI2024.scores(table, "imagenet")
    assert len(found) == rows
    for row in found.values():
        # Insertion and Deletion are rounded to one decimal of a percent, so their difference may be off by one.
        assert row.mean["id_score"] == pytest.approx(row.mean["insertion"] - row.mean["deletion"], abs=0.00101)
        assert 0 <= row.mean["deletion"] < row.mean["insertion"] + 0.02 < 1
        assert f"Table {table}" in row.source


def test_cub_has_deviations_over_five_seeds() -> None:
    rows = OTSUKI2024.scores("1", "cub")
    assert len(rows) == 6
    assert rows["6"].mean == {"insertion": 0.595, "deletion": 0.014, "id_score": 0.582}
    assert rows["6"].std == {"insertion": 0.010, "deletion": 0.0, "id_score": 0.010}
    assert OTSUKI2024.scores("1", "imagenet")["6"].std == {}
    assert OTSUKI2024.scores("2", "cub") == {}


def test_the_papers_sentences_about_its_tables() -> None:
    cub, imagenet = OTSUKI2024.scores("1", "cub"), OTSUKI2024.scores("1", "imagenet")
    assert cub["6"].mean["id_score"] - cub["5"].mean["id_score"] == pytest.approx(0.125)
    assert imagenet["6"].mean["id_score"] - imagenet["4"].mean["id_score"] == pytest.approx(0.174)
    table2, table3 = OTSUKI2024.scores("2", "imagenet"), OTSUKI2024.scores("3", "imagenet")
    assert table2["iv"].mean["id_score"] - table2["iii"].mean["id_score"] == pytest.approx(0.035)
    assert table2["iv"].mean["id_score"] - table2["ii"].mean["id_score"] == pytest.approx(0.028)
    assert table3["ii"].mean["id_score"] - table3["i"].mean["id_score"] == pytest.approx(0.134)
    assert table3["ii"].mean == table2["iii"].mean  # the Heat Quantization ablation left the identity skips out


@pytest.mark.parametrize("dataset", ["cub", "imagenet"])
def test_table_b_is_table_1_and_deeplift(dataset: str) -> None:
    one, full = OTSUKI2024.scores("1", dataset), OTSUKI2024.scores("B", dataset)
    without = [row.mean for name, row in full.items() if name != "4"]
    assert without == [row.mean for row in one.values()]


def test_error_analysis() -> None:
    paper, slides = OTSUKI2024.failures()
    assert paper.threshold == 0.371 == OTSUKI2024.scores("1", "imagenet")["4"].mean["id_score"]
    assert sum(paper.counts.values()) == sum(slides.counts.values()) == 100
    assert paper.counts == {"insufficiently_attended": 40, "over_attended": 25, "wrongly_attended": 35}


def test_another_dataset_sees_imagenets_table_and_another_paper_none() -> None:
    shown = OTSUKI2024.table("1", "demo")
    assert shown is not None
    assert (shown.dataset, shown.protocol, len(shown.rows)) == ("imagenet", "published", 6)
    assert OTSUKI2024.table("1", "cub").dataset == "cub"  # type: ignore[union-attr]
    assert OTSUKI2024.table("2", "cub").dataset == "imagenet"  # type: ignore[union-attr]
    assert OTSUKI2024.table("9", "imagenet") is None
