"""What the documentation says can be typed, and what it points to exists."""

import inspect
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir

import relsplit.explainers
import relsplit.targets
from relsplit.bench.explain.stored_maps import StoredMaps

PROJECT = Path(__file__).parents[1]
PAGES = [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *sorted((PROJECT / "docs").glob("*.md"))]


def commands() -> Iterator[str]:
    """Every ``relsplit ...`` or ``python run.py ...`` of the pages, in code blocks and in the text."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL):
            yield from (
                line.partition("  #")[0]
                for line in block.splitlines()
                if line.startswith(("relsplit ", "python run.py "))
            )
        yield from re.findall(r"`((?:relsplit|python run\.py) [^`]*)`", text)
    config = (PROJECT / "conf" / "config.yaml").read_text(encoding="utf-8")
    for line in re.findall(r"^ +(relsplit [^ ]+=.*)", config, re.MULTILINE):  # what --help shows
        yield re.split(r"  +", line)[0]


def test_there_are_commands() -> None:
    assert len(set(commands())) > 8


@pytest.mark.parametrize("command", sorted(set(commands())))
def test_a_command_composes(command: str) -> None:
    words = [word for word in shlex.split(command.removeprefix("python "))[1:] if "..." not in word]
    if "-m" in words:  # the first point of the sweep
        words = [word if "[" in word else word.partition(",")[0] for word in words if word != "-m"]
    if {"explainer=NAME", "explainer=brightness"} & set(words):
        return
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        compose("config", [word for word in words if not word.startswith("hydra/")])


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert target.startswith("https://") or (page.parent / target).exists(), f"{page.name}: {target}"


def test_paths_that_are_named_exist() -> None:
    for page in PAGES:
        for path in re.findall(r"`((?:src|conf|examples|benchmarks|scripts|docs)/[\w./]+)`", page.read_text("utf-8")):
            if "NAME" not in path and "brightness" not in path:
                assert (PROJECT / path).exists(), f"{page.name}: {path}"


def whole_programs() -> Iterator[tuple[str, str]]:
    """Every block of Python that imports what it uses, and its page."""
    for page in PAGES:
        for block in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
            if block.startswith(("import ", "from ")):
                yield page.name, block


def test_there_are_programs() -> None:
    assert {page for page, _ in whole_programs()} >= {"README.md", "start.md"}


@pytest.mark.parametrize(("page", "program"), list(whole_programs()))
def test_a_program_runs_as_it_stands(page: str, program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if "outputs/center" in program:  # as the command above it leaves them
        Path("outputs/center").mkdir(parents=True)
        Path("outputs/center/manifest.csv").write_text("sample_id,path,label,class\na,a.png,0,A\nb,b.png,1,B\n")
    names: dict[str, Any] = {}
    exec(program, names)
    if "maps" in names:
        StoredMaps(None, "maps.npz").check(["a", "b"])  # type: ignore[arg-type]
    if "heat_map" in names:
        assert names["heat_map"].shape == (1, 224, 224)
    if "cat" in names:
        assert (names["names"][names["cat"].prediction], names["cat"].gap < 1e-5) == ("tiger cat", True)


def paragraphs(text: str) -> Iterator[str]:
    """Every paragraph and every item of a list; no headings, tables, pictures, formulas and code."""
    text = re.sub(r"```.*?```|\$\$.*?\$\$", "", text, flags=re.DOTALL)
    for block in re.split(r"\n\s*\n|\n(?=\s*(?:[-*]|\d+\.) )", text):
        if not block.strip().startswith(("|", "#", "![")):
            yield block.strip()


def test_paragraphs_are_counted() -> None:
    text = "# A b\n\none two\nthree\n\n- four five\n- six\n\n| a |\n\n```bash\nx y\n```\nseven\n"
    assert [len(block.split()) for block in paragraphs(text) if block] == [3, 3, 2, 1]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.name))
def test_no_paragraph_is_long(page: Path) -> None:
    for block in paragraphs(page.read_text(encoding="utf-8")):
        assert len(block.split()) <= 80, f"{page.name}: {len(block.split())} words: {block[:80]}"


def test_the_readme_is_short_enough_to_be_read() -> None:
    assert len((PROJECT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def explained_by_examples() -> Iterator[Any]:
    """What a reader of the API reference calls first: LRP, every explainer and every target."""
    yield relsplit.LRP
    for face in (relsplit.explainers, relsplit.targets):
        yield from (getattr(face, name) for name in face.__all__ if name not in ("Explainer", "Target"))


@pytest.mark.parametrize("public", list(explained_by_examples()), ids=lambda public: str(public.__name__))
def test_what_is_public_has_an_example(public: Any) -> None:
    """Its lines run in the tests, and the site shows a section of this name as code (``Example:`` as a quotation)."""
    assert re.search(r"^Examples:\n +>>> ", inspect.getdoc(public) or "", re.MULTILINE)


def test_no_example_is_shown_as_a_quotation() -> None:
    for path in (PROJECT / "src").rglob("*.py"):
        assert not re.search(r"^ *Example:$", path.read_text(encoding="utf-8"), re.MULTILINE), path
