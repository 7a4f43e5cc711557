"""The documentation site: built without a warning, whole, and of what lies in the checkout alone."""

import ast
import importlib.util
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

PROJECT = Path(__file__).parents[1]
FACES = {
    "relsplit": "__init__.pyi",
    "relsplit.lrp": "lrp/__init__.py",
    "relsplit.targets": "targets/__init__.pyi",
    "relsplit.pictures": "pictures/__init__.pyi",
    "relsplit.explainers": "explainers/__init__.pyi",
    "relsplit.metrics": "metrics/__init__.pyi",
}
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("mkdocs") is None, reason="the site's tools come with the extra docs"
)


class Resources(HTMLParser):
    """Collects what a page loads when it is opened, the names that can be linked to, and its text."""

    LOADED = ("script", "link", "img", "iframe", "source", "video", "audio", "embed", "object")

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.names: set[str] = set()
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.names.add(given.get("id") or "")
        if tag in self.LOADED:
            self.loaded += [value for key in ("src", "href", "srcset", "data") if (value := given.get(key))]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=PROJECT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},  # an announcement of the theme's authors, not of this site
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr, done.stderr
    return folder


def read(page: Path) -> Resources:
    found = Resources()
    found.feed(page.read_text(encoding="utf-8"))
    return found


def test_every_page_is_in_the_navigation(site: Path) -> None:
    def pages(entries: list[dict[str, Any]]) -> set[str]:
        values = [value for entry in entries for value in entry.values()]
        return set().union(*(pages(value) if isinstance(value, list) else {value} for value in values))

    configured = yaml.safe_load((PROJECT / "mkdocs.yml").read_text(encoding="utf-8"))
    built = {page.relative_to(site).with_suffix(".md").as_posix() for page in site.rglob("*.html")} - {"404.md"}
    assert built == pages(configured["nav"])


def test_a_page_loads_nothing_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        for resource in read(page).loaded:
            assert "//" not in resource, f"{page.name} loads {resource}"
    for style in site.rglob("*.css"):
        for resource in re.findall(r"(?:url\(|@import\s+)['\"]?([^'\")]+)", style.read_text(encoding="utf-8")):
            assert resource.startswith("data:") or "//" not in resource, f"{style.name} loads {resource}"


def test_every_public_name_is_in_the_reference(site: Path) -> None:
    package = PROJECT / "src/relsplit"
    assert {face.relative_to(package).as_posix() for face in package.rglob("__init__.pyi")} <= set(FACES.values())
    anchors = set().union(*(read(page).names for page in (site / "api").glob("*.html")))
    for package, face in FACES.items():
        tree = ast.parse((PROJECT / "src/relsplit" / face).read_text(encoding="utf-8"))
        imports = [statement for statement in tree.body if isinstance(statement, ast.ImportFrom)]
        names = [(of.module, name.name) for of in imports for name in of.names if not name.name.startswith("_")]
        assert names
        for module, name in names:
            assert {f"{module}.{name}", f"{package}.{name}"} & anchors, f"{package}.{name}"


def test_formulas_are_drawn_without_a_script(site: Path) -> None:
    assert "<math" in (site / "faithful_maps.html").read_text(encoding="utf-8")
    for page in site.rglob("*.html"):
        assert 'class="arithmatex"' not in page.read_text(encoding="utf-8"), page.name


def test_references_in_docstrings_are_no_markup(site: Path) -> None:
    for page in (site / "api").glob("*.html"):
        assert not re.search(r":(?:class|meth|mod|func|data|attr):", "".join(read(page).text)), page.name
