"""The HTML page: complete, self-contained, and with the very curves of the runs."""

import base64
import html
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from synthetic_runs import write_run

from papers import brief
from relsplit.errors import InputError
from relsplit.papers.products.comparison import comparison
from relsplit.papers.products.measured import Measured
from relsplit.papers.products.product import write_product
from relsplit.papers.reports.html import write_report


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = tmp_path_factory.mktemp("results")
    run = write_run(root / "evaluate" / "ours", "ours", insertion=[0.3, 0.4, 0.45], num_samples=3)
    write_run(root / "evaluate" / "grad_cam", "grad_cam", num_samples=3)
    folder = root / "reproduce" / "table1"
    folder.mkdir(parents=True)
    rows = [Measured("Ours </script><b>", (run,), "6", command="python run.py explainer=ours 'x=<1>'")]
    product = comparison(rows, brief(folder, "imagenet"), title="Table 1", paper_table="1")
    command = "python run.py experiment=table1"
    description = {"name": "table1", "title": "Table 1", "paper": "p", "dataset": "imagenet", "command": command}
    write_product(folder, product, description, rows)
    write_report(root, root / "report.html", "Results & more")
    return (root / "report.html").read_text(encoding="utf-8")


def embedded(page: str) -> list[dict[str, object]]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    data: list[dict[str, object]] = json.loads(found.group(1))
    return data


def test_nothing_is_loaded_from_elsewhere(page: str) -> None:
    class Links(HTMLParser):
        found: list[str] = []  # noqa: RUF012

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.found += [value or "" for name, value in attrs if name in ("src", "href", "data", "action")]

    links = Links()
    links.feed(page)
    assert links.found
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in links.found)
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest", page)


def test_tables_are_there_without_javascript(page: str) -> None:
    assert html.escape("Ours </script><b>") in page
    assert "<b>" not in page
    assert page.count("<script") == page.count("</script>") == 2
    assert '<td class="number best">0.383' in page
    assert "Results &amp; more" in page
    assert "%%" not in page


def test_commands_versions_and_hardware_are_there(page: str) -> None:
    runs = {str(run["name"]).split()[0]: run for run in embedded(page)}
    assert "python run.py experiment=table1" in page
    assert runs["ours"]["command"] == "python run.py explainer=ours 'x=<1>'"
    assert "_target_: ours" in str(runs["ours"]["config"])
    assert "<td>accelerator</td><td>cpu</td>" in page
    assert page.count("data-run=") >= 2


def test_curves_and_samples_are_the_runs(page: str) -> None:
    (run,) = (run for run in embedded(page) if str(run["name"]).startswith("ours"))
    columns, samples, curves = run["columns"], run["samples"], run["curves"]
    assert isinstance(columns, list)
    assert isinstance(samples, list)
    assert isinstance(curves, dict)
    assert columns[:4] == ["sample_id", "label", "predicted", "probability"]
    assert [row[columns.index("insertion")] for row in samples] == [0.3, 0.4, 0.45]
    packed = curves["published"]
    values = np.frombuffer(base64.b64decode(packed["data"]), dtype=np.uint8).reshape(3, 2, packed["points"]) / 255
    np.testing.assert_allclose(values[1, 0], np.linspace(0, 0.8, packed["points"]), atol=1 / 255)
    np.testing.assert_allclose(values[1, 1], np.linspace(0.2, 0.0, packed["points"]), atol=1 / 255)


def test_runs_are_found_from_anywhere_and_named_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = write_run(tmp_path / "evaluate" / "odd", "ours <!-- x </script>", num_samples=2)
    folder = tmp_path / "reproduce" / "table1"
    folder.mkdir(parents=True)
    rows = [Measured("Ours", (run,), "6")]
    product = comparison(rows, brief(folder, "imagenet"), title="Table 1", paper_table="1")
    description = {"name": "table1", "title": "T", "paper": None, "dataset": "demo", "command": "c"}
    write_product(folder, product, description, rows)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for here, root in ((tmp_path, Path()), (elsewhere, tmp_path), (elsewhere, Path(".."))):
        monkeypatch.chdir(here)
        write_report(root, elsewhere / "report.html", "Results")
        page = (elsewhere / "report.html").read_text(encoding="utf-8")
        assert [run["name"].split(" on ")[0] for run in embedded(page)] == ["ours <!-- x </script>"]
        assert "1 evaluations" in page
        assert "no longer" not in page
    shutil.move(run, tmp_path / "away")
    write_report(Path("../reproduce"), elsewhere / "report.html", "Results")
    assert "1 runs of these tables and figures lie no longer" in (elsewhere / "report.html").read_text("utf-8")


def test_an_empty_folder_has_no_report(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no finished evaluation"):
        write_report(tmp_path, tmp_path / "report.html", "Results")
