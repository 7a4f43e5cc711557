"""The HTML page in a real browser: it sorts, and shows the samples and curves of what is clicked."""

import json
import re
import subprocess
from html import unescape
from typing import Any

import pytest
from synthetic_runs import write_run

from chromium import browser
from relsplit.papers.reports.html import write_report

# Clicks as a reader would, and leaves what is then to be seen in an element of the page.
READER = """
<script>
const seen = {}, all = (selector) => [...document.querySelectorAll(selector)];
const texts = (selector) => all(selector).map(found => found.textContent);
const table = document.querySelector("tr.pick").closest("table");
const heading = [...table.tHead.rows[0].cells].find(cell => cell.textContent === "ID published");
const column = () => [...table.tBodies[0].rows].map(row => parseFloat(row.cells[heading.cellIndex].textContent));
heading.click(); seen.descending = column();
heading.click(); seen.ascending = column();
table.tBodies[0].rows[0].click();
seen.chosen = table.tBodies[0].rows[0].cells[0].textContent;
seen.command = texts("#details > pre"); seen.configuration = texts("#details details pre");
seen.samples = texts("#details tbody tr").length;
all("#details tbody tr")[1].click();
seen.sample = texts("#curves h3"); seen.curves = all("#curves polyline").map(line => line.getAttribute("points"));
seen.errors = errors;
document.body.append(element("pre", { id: "seen" }, JSON.stringify(seen)));
</script>
"""


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    chromium = browser()
    root = tmp_path_factory.mktemp("results")
    for name, insertion in (("middle", 0.5), ("best", 0.9), ("worst", 0.2)):
        write_run(root / name, name, insertion=[insertion, insertion / 2], num_samples=2)
    write_report(root, root / "report.html", "Results")
    page = (root / "report.html").read_text(encoding="utf-8")
    page = page.replace("<head>", "<head><script>const errors = []; onerror = text => { errors.push(text); }</script>")
    (root / "read.html").write_text(page.replace("</body>", READER + "</body>"), encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={root / 'profile'}", "--dump-dom"]
    done = subprocess.run(
        [chromium, *options, (root / "read.html").as_uri()], capture_output=True, text=True, timeout=900, check=True
    )
    found = re.search(r'<pre id="seen">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stdout[-2000:]
    result: dict[str, Any] = json.loads(unescape(found.group(1)))
    return result


def test_a_click_on_a_heading_sorts(seen: dict[str, Any]) -> None:
    assert seen["descending"] == pytest.approx([0.575, 0.275, 0.05])
    assert seen["ascending"] == seen["descending"][::-1]


def test_a_click_on_an_evaluation_shows_its_command_configuration_and_samples(seen: dict[str, Any]) -> None:
    assert seen["chosen"] == "worst"
    assert seen["command"] == ["python run.py explainer=worst num_samples=2"]
    assert "_target_: worst" in seen["configuration"][0]
    assert seen["samples"] == 2


def test_a_click_on_a_sample_draws_its_curves(seen: dict[str, Any]) -> None:
    assert seen["sample"] == ["s01"]
    insertion, deletion = seen["curves"][:2]
    assert len(seen["curves"]) == 4  # two of each protocol

    def heights(points: str) -> list[float]:
        return [float(point.split(",")[1]) for point in points.split()]

    assert heights(insertion) == sorted(heights(insertion), reverse=True)  # a curve that rises; y points down
    assert heights(deletion) == sorted(heights(deletion))
    assert heights(insertion)[0] == heights(deletion)[-1]  # 0 pixels inserted are all deleted
    assert heights(deletion)[0] == heights(insertion)[-1]
    assert [points.split()[0].split(",")[0] for points in (insertion, deletion)] == ["36.0", "36.0"]  # the left edge


def test_the_page_runs_without_errors(seen: dict[str, Any]) -> None:
    assert seen["errors"] == []
