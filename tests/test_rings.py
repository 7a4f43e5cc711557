"""The rings: the library knows neither the bench nor the papers, the bench not the papers."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src"
RINGS = ("library", "bench", "papers")
"""From the inside out."""
CHOICES = {
    ("relsplit/bench/configuration/settings.py", f"relsplit.papers.{task}.run")
    for task in ("report", "reproduce", "table", "explorer")
}
"""Names that nobody imports there: what ``task._target_`` may be, which the command then imports."""


def ring(module: str) -> str:
    """The ring of a module of this package: of its second name, but for the commands, which may know all."""
    second = module.split(".")[1:2]
    return second[0] if second and second[0] in RINGS else "library"


def module_of(file: Path, source: Path) -> str:
    parts = file.relative_to(source).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(file: Path, source: Path) -> Iterator[str]:
    """All that a file imports, at its top or inside functions, by statement, or by a text that names a module.

    What imports such a text (``import_module``, ``get_method``, ``-m``, ``_target_``) is not asked: any text counts
    that begins like a module of this package, but for docstrings.
    """
    module = module_of(file, source)
    package = module.split(".") if file.stem == "__init__" else module.split(".")[:-1]
    tree = ast.parse(file.read_text(encoding="utf-8"))
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            home = [*around(package, node.level), *filter(None, [node.module])]
            yield from (".".join([*home, alias.name]) for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            if re.match(r"relsplit\.\w", node.value):
                yield node.value
            elif found := re.match(r"(\.+)\w[\w.]*$", node.value):  # import_module("..bench", __package__)
                yield ".".join([*around(package, len(found[1])), node.value.lstrip(".")])


def around(package: list[str], level: int) -> list[str]:
    """The package that so many dots in a relative import mean; none for none."""
    return package[: len(package) - level + 1] if level else []


def arrows_outwards(source: Path) -> list[str]:
    """Imports that lead from a ring to one outside of it: ``file -> module``."""
    found = []
    for file in sorted([*source.rglob("*.py"), *source.rglob("*.pyi")]):
        module = module_of(file, source)
        if module == "relsplit.__main__":  # starts the bench
            continue
        for other in imported(file, source):
            known = (file.relative_to(source).as_posix(), other) in CHOICES
            if other.split(".")[0] == "relsplit" and not known and RINGS.index(ring(other)) > RINGS.index(ring(module)):
                found.append(f"{file.relative_to(source).as_posix()} -> {other}")
    return found


def test_no_import_leads_outwards() -> None:
    assert arrows_outwards(SOURCE) == []


METHODS = ("explainers", "metrics", "pictures")


@pytest.mark.parametrize(
    ("folder", "unknown"), [("networks", ("lrp", *METHODS)), ("targets", ("lrp", *METHODS)), ("lrp", METHODS)]
)
def test_a_network_is_known_before_relevance_and_that_before_methods(folder: str, unknown: tuple[str, ...]) -> None:
    files = sorted((SOURCE / "relsplit" / folder).rglob("*.py"))
    assert files
    for file in files:
        found = {other for other in imported(file, SOURCE) for name in unknown if other.startswith(f"relsplit.{name}")}
        assert not found, f"{file.name} knows {found}"


def test_every_ring_is_read() -> None:
    read = [module_of(file, SOURCE) for file in SOURCE.rglob("*.py")]
    assert {ring(module) for module in read} == set(RINGS)
    inwards = [other for file in (SOURCE / "relsplit/papers").rglob("*.py") for other in imported(file, SOURCE)]
    assert {ring(other) for other in inwards if other.startswith("relsplit.")} == set(RINGS)


@pytest.mark.parametrize(
    ("file", "text", "arrow"),
    [
        ("lrp/a.py", "from relsplit.bench.runs import store", "relsplit.bench.runs.store"),
        ("lrp/a.py", "from relsplit import bench", "relsplit.bench"),
        ("a.py", "import relsplit.papers.plan", "relsplit.papers.plan"),
        ("bench/a.py", "def f():\n    from relsplit.papers import plan", "relsplit.papers.plan"),
        ("bench/runs/a.py", "from ...papers.plan import Row", "relsplit.papers.plan.Row"),
        ("bench/__init__.py", "from ..papers import plan", "relsplit.papers.plan"),
        ("metrics/__init__.pyi", "from relsplit.bench.data import dataset as d", "relsplit.bench.data.dataset"),
        ("a.py", "import importlib\nimportlib.import_module('relsplit.bench')", "relsplit.bench"),
        ("bench/a.py", "get_method(f'relsplit.papers.{name}.run')", "relsplit.papers."),
        ("a.py", "importlib.import_module(name='relsplit.bench')", "relsplit.bench"),
        ("lrp/a.py", "from importlib import import_module as load\nload('relsplit.bench.runs')", "relsplit.bench.runs"),
        ("lrp/a.py", "importlib.import_module('..bench.runs', __package__)", "relsplit.bench.runs"),
        ("a.py", "__import__('relsplit.papers')", "relsplit.papers"),
        ("a.py", "pkgutil.resolve_name('relsplit.bench.runs:store')", "relsplit.bench.runs:store"),
        ("a.py", "sys.modules['relsplit.bench.runs']", "relsplit.bench.runs"),
        ("a.py", "instantiate({'_target_': 'relsplit.papers.plan.Row'})", "relsplit.papers.plan.Row"),
        ("a.py", "subprocess.run([sys.executable, '-m', 'relsplit.bench.command'])", "relsplit.bench.command"),
        ("explainers/a.py", "if TYPE_CHECKING:\n    from relsplit.bench.runs import maps", "relsplit.bench.runs.maps"),
    ],
)  # fmt: skip
def test_a_planted_arrow_is_found(tmp_path: Path, file: str, text: str, arrow: str) -> None:
    planted = tmp_path / "relsplit" / file
    planted.parent.mkdir(parents=True, exist_ok=True)
    planted.write_text(text)
    assert arrows_outwards(tmp_path) == [f"relsplit/{file} -> {arrow}"]


def test_arrows_inwards_are_none(tmp_path: Path) -> None:
    for folder in RINGS[1:]:
        (tmp_path / "relsplit" / folder).mkdir(parents=True)
    (tmp_path / "relsplit/papers/a.py").write_text("from relsplit.bench.runs import store\nfrom relsplit import LRP")
    (tmp_path / "relsplit/bench/a.py").write_text("import relsplit.lrp\nimport torch\nfrom . import runs")
    assert arrows_outwards(tmp_path) == []
