"""The walk from the published setting to the strict one."""

from pathlib import Path

import numpy as np
import pytest
from synthetic_runs import write_run

from papers import brief
from relsplit.errors import InputError
from relsplit.papers.products.audit import audit, effects, walk
from relsplit.papers.products.measured import Measured

METHODS = [
    {"label": "Ours", "overrides": ["explainer=ours"]},
    {"label": "one pixel", "overrides": ["explainer=one_pixel"], "control": True},
]
SWITCHES = [
    {"label": "pooling", "overrides": {"Ours": ["explainer.max_pool=average"]}},
    {"label": "ties", "protocol": "strict"},
]


def test_switches_accumulate() -> None:
    rows = walk(METHODS, SWITCHES)
    assert [(row["method"], row["switch"], row["protocol"]) for row in rows] == [
        ("Ours", "published setting", None),
        ("Ours", "pooling", None),
        ("Ours", "ties", "strict"),
        ("one pixel", "published setting", None),
        ("one pixel", "pooling", None),
        ("one pixel", "ties", "strict"),
    ]
    assert rows[2]["overrides"] == ["explainer=ours", "explainer.max_pool=average"]
    assert rows[4]["overrides"] == ["explainer=one_pixel"]
    assert [row["changed"] for row in rows] == [True, True, True, True, False, True]


def test_a_switch_for_all_changes_those_that_do_not_have_it_yet() -> None:
    turned = ["map.heat_quantization=floor"]
    switches = [{"label": "style", "overrides": {"Ours": turned}}, {"label": "all", "overrides": {"*": turned}}]
    rows = {(row["method"], row["switch"]): row for row in walk(METHODS, switches)}
    assert rows["Ours", "all"]["overrides"] == ["explainer=ours", *turned]
    assert rows["one pixel", "all"]["overrides"] == ["explainer=one_pixel", *turned]
    assert (rows["Ours", "all"]["changed"], rows["one pixel", "all"]["changed"]) == (False, True)


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(InputError, match="none of the methods"):
        walk(METHODS, [{"label": "pooling", "overrides": {"Theirs": []}}])


def test_each_switch_shows_its_own_effect(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    before, after = 0.7 + 0.05 * draw.normal(size=12), 0.6 + 0.05 * draw.normal(size=12)
    folders = [
        write_run(tmp_path / "a", insertion=list(before), deletion=0.1),
        write_run(tmp_path / "b", insertion=list(after), deletion=0.1, strict=(0.3, 0.2)),
    ]
    pixel = write_run(tmp_path / "p", insertion=0.9, deletion=0.0, strict=(0.2, 0.2))
    order = [folders[0], folders[1], folders[1], pixel, pixel, pixel]
    rows = [
        Measured(
            entry["label"],
            (folder,),
            control=entry["control"],
            traits={name: entry[name] for name in ("method", "switch", "changed", "protocol")},
        )
        for entry, folder in zip(walk(METHODS, SWITCHES), order, strict=True)
    ]
    frame = effects(rows).set_index(["method", "switch"])
    assert frame.loc[("Ours", "pooling"), "id_score_change"] == pytest.approx((after - before).mean())
    assert frame.loc[("Ours", "ties"), "id_score_change"] == pytest.approx(0.1 - (after - 0.1).mean())
    assert np.isnan(frame.loc[("one pixel", "pooling"), "id_score_change"])
    assert frame.loc[("one pixel", "ties"), "id_score_change"] == pytest.approx(-0.9)
    assert frame.loc[("one pixel", "ties"), "id_score_change_high"] < 0
    product = audit(rows, brief(tmp_path, "demo"))
    ids = product.tables[0]
    assert ids.header == ["Method", "published setting", "pooling", "ties", "strict setting"]
    assert [cell.text for cell in ids.groups[1][0]] == ["one pixel", "0.900", "·", "-0.900", "0.000"]
