"""Many metrics in one table: values, ranks among methods and controls, and where the metrics agree."""

import math
from pathlib import Path

import numpy as np
import pytest
from synthetic_runs import write_run

from papers import brief
from relsplit.errors import InputError
from relsplit.papers.products.measured import Measured
from relsplit.papers.products.multi_metric import measure, multi_metric
from relsplit.papers.products.networks import on_network
from relsplit.papers.products.product import read_product, write_product
from relsplit.papers.reports.text_table import to_markdown

METRICS = [
    {"column": "gae", "label": "GAE", "better": "high"},
    {"column": "road", "label": "ROAD", "better": "low"},
    {"column": "energy_in_mask", "label": "Mass", "better": "high"},
]


def row(root: Path, name: str, gae: float, road: float, mass: float, control: bool = False) -> Measured:
    more = {"gae": gae, "road": road, "energy_in_mask": mass}
    return Measured(name, (write_run(root / name, name, more=more),), control=control)


@pytest.fixture
def rows(tmp_path: Path) -> list[Measured]:
    return [
        row(tmp_path, "A", 0.3, 0.2, math.nan),
        row(tmp_path, "B", 0.2, 0.4, math.nan),
        row(tmp_path, "C", 0.1, 0.6, math.nan),
        row(tmp_path, "center", 0.0, 0.3, math.nan, control=True),
    ]


def test_values_and_ranks(rows: list[Measured]) -> None:
    frame = measure(rows, METRICS).set_index("method")
    assert list(frame["gae"]) == pytest.approx([0.3, 0.2, 0.1, 0.0])
    assert list(frame["gae_rank"]) == [1, 2, 3, 4]
    assert list(frame["road_rank"]) == [1, 3, 4, 2]  # low is good, and the control comes second
    assert frame["energy_in_mask"].isna().all()
    assert list(frame["forward_equivalents"]) == [3.0] * 4


def test_tables(rows: list[Measured], tmp_path: Path) -> None:
    product = multi_metric(rows, brief(tmp_path, "demo"), title="Quality", metrics=METRICS)
    values, ranks, agreement = product.tables
    (tmp_path / "product").mkdir()
    about = {"name": "quality", "title": "Quality", "paper": None, "dataset": "demo", "command": ""}
    write_product(tmp_path / "product", product, about, rows)
    assert read_product(tmp_path / "product")["tables"] == [table.to_dict() for table in product.tables]
    assert values.header == ["Method", "GAE ↑", "ROAD ↓", "Mass ↑", "forwards"]
    assert [len(group) for group in values.groups] == [3, 1]
    assert [cell.bold for cell in values.groups[0][0]] == [False, True, True, False, False]
    assert [r[2].text for r in values.groups[0]] == ["0.200", "0.400 †", "0.600 †"]  # the control's is 0.3
    assert [r[3].text for r in values.groups[0]] == ["–"] * 3
    assert [r[-1].text for group in ranks.groups for r in group] == ["1.0", "2.5", "3.5", "3.0"]
    # Low ROAD and high GAE are the same order; what no method has is left out.
    assert agreement.header == ["", "GAE", "ROAD"]
    assert agreement.groups[0][0][2].text == "+1.000"
    assert "45 forward passes a mosaic" in to_markdown(values)


def test_published_columns_stand_empty_with_the_reason(rows: list[Measured], tmp_path: Path) -> None:
    product = multi_metric(
        rows, brief(tmp_path, "demo"), title="T", metrics=METRICS[:1], ranks=False, no_published="none was found"
    )
    (table,) = product.tables
    assert table.header == ["Method", "GAE ↑", "paper", "forwards"]
    assert {r[2].text for group in table.groups for r in group} == {"–"}
    assert table.notes[-1] == "none was found"


def test_what_cannot_be_laid_out(rows: list[Measured], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no column gini: evaluate 'A'"):
        measure(rows, [{"column": "gini", "label": "Gini", "better": "high"}])
    with pytest.raises(InputError, match="must be high or low"):
        multi_metric(rows, brief(tmp_path, "demo"), title="T", metrics=[{**METRICS[0], "better": "more"}])


def test_methods_on_a_network() -> None:
    networks = {"demo": {"vit": ["model=small"], "cnn": ["model=narrow", "trainer=demo"]}}
    methods = [
        {"label": "CAM", "overrides": ["explainer=grad_cam"], "networks": ["cnn"]},
        {"label": "Gradient", "overrides": ["explainer=input_x_gradient", "map=raw"]},
    ]
    assert on_network("cnn", "demo", networks, methods, ["one_pixel"]) == [
        {"label": "CAM", "overrides": ["explainer=grad_cam", "model=narrow", "trainer=demo"]},
        {"label": "Gradient", "overrides": ["explainer=input_x_gradient", "map=raw", "model=narrow", "trainer=demo"]},
        {"label": "one pixel", "overrides": ["explainer=one_pixel", "model=narrow", "trainer=demo"], "control": True},
    ]
    assert [each["label"] for each in on_network("vit", "demo", networks, methods)] == ["Gradient"]
    with pytest.raises(InputError, match="made of dataset=demo, not cub"):
        on_network("cnn", "cub", networks, methods)


def test_differences_to_rows_of_reference(tmp_path: Path) -> None:
    """Paired: what the samples have in common cancels; a sample without a value in either row plays no part."""
    easy = np.linspace(0, 1, 20)
    a = easy + 0.1
    b = easy.copy()
    a[3], b[5] = math.nan, math.nan
    rows = [
        Measured(name, (write_run(tmp_path / name, name, num_samples=20, more={"road": values}),), control=control)
        for name, values, control in (("A", a, False), ("B", b, False), ("center", easy - 0.2, True))
    ]
    product = multi_metric(rows, brief(tmp_path, "demo"), title="T", metrics=METRICS[1:2], references=["B", "A"])
    versus_b, versus_a = product.tables[1:3]
    assert versus_b.title == "T — minus B"
    assert versus_b.header == ["Method", "ROAD ↓"]
    (method,), (control,) = versus_b.groups
    assert [cell.text for cell in method] == ["A", "+0.100 [+0.100, +0.100]"]
    assert [cell.text for cell in control] == ["center", "-0.200 [-0.200, -0.200]"]
    assert method[1].bold
    assert [cell.text for cell in versus_a.groups[0][0]] == ["B", "-0.100 [-0.100, -0.100]"]
    frame = product.frame.set_index("method")
    assert frame.loc["A", "road_minus_B"] == pytest.approx(0.1)
    assert math.isnan(frame.loc["B", "road_minus_B"])


def test_rows_of_reference_on_other_samples(tmp_path: Path) -> None:
    rows = [
        Measured(name, (write_run(tmp_path / name, name, num_samples=count, more={"road": 0.5}),))
        for name, count in (("A", 4), ("B", 5))
    ]
    with pytest.raises(InputError, match=r"'A' .* and 'B' .* were measured on different samples"):
        multi_metric(rows, brief(tmp_path, "demo"), title="T", metrics=METRICS[1:2], references=["B"])
