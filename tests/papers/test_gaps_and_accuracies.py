"""The tables of the C1-LRP poster's folder: accuracies of two branches, and conservation gaps below a comparison."""

import json
from pathlib import Path

import pytest
from synthetic_runs import write_run

from papers import brief
from relsplit.papers.products.accuracy import accuracies
from relsplit.papers.products.comparison_with_gaps import comparison_with_gaps, gaps
from relsplit.papers.products.measured import Measured


def test_accuracies_of_networks_with_and_without_a_branch(tmp_path: Path) -> None:
    summaries = {
        "plain": {"accuracy": 0.9, "class_names": ["a", "b"]},
        "branched": {"accuracy": 0.95, "class_names": ["a", "b"], "attention_accuracy": 0.85},
    }
    rows = []
    for name, summary in summaries.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "summary.json").write_text(json.dumps(summary))
        rows.append(Measured(name, (tmp_path / name,)))
    product = accuracies(rows, brief(tmp_path, "demo"), title="Accuracy")
    shown = [[cell.text for cell in row] for row in product.tables[0].groups[0]]
    assert shown == [["plain", "0.900", "–"], ["branched", "0.950", "0.850"]]


def test_gaps_stand_below_the_comparison(tmp_path: Path) -> None:
    shares = {"lossy": [1.0, 0.5, 1.25], "other": [1.0, 1.0, 1.0], "blob": [9.0, 9.0, 9.0]}
    rows = [
        Measured(
            name,
            (write_run(tmp_path / name, noise=0.1, num_samples=3, relevance=each),),
            control=name == "blob",
        )
        for name, each in shares.items()
    ]
    found = gaps(rows).set_index("method")
    assert found.loc["lossy", "largest_gap"] == pytest.approx(0.5)
    assert found.loc["lossy", "mean_gap"] == pytest.approx(0.25)
    product = comparison_with_gaps(rows, brief(tmp_path, "demo"), title="Blocks", reference="other")
    assert [cell.text for cell in product.tables[-1].groups[0][0]] == ["lossy", "2.5e-01", "5.0e-01"]
    assert len(product.tables[-1].groups[0]) == 2, "a control has no relevance to conserve"
    assert product.frame is not None
    assert {"mean_gap", "id_score"} <= set(product.frame.columns)
