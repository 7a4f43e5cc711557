"""What a run goes through has an order, and so have the bench's folders: each imports those before it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import relsplit.bench

BENCH = Path(relsplit.bench.__file__).parent
ORDER = ["configuration", "data", "models", "runs", "train", "explain", "evaluate"]
"""``conservation`` stands beside ``evaluate``."""
ANYBODYS = {"machine", "installation"}
"""They import nobody: a folder, and a file beside the folders."""
ALLOWED = {name: {*ORDER[:position], *ANYBODYS} for position, name in enumerate(ORDER)}
ALLOWED |= {"machine": set(), "conservation": ALLOWED["evaluate"]}


def imported(source: str) -> Iterator[str]:
    """The folders of the bench that a module imports, wherever in it."""
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports are not read here"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[:2] == ["relsplit", "bench"] and len(parts) > 2:
                yield parts[2]


def wrong(folder: str, source: str) -> set[str]:
    """The folders that a module of ``folder`` imports and may not."""
    return set(imported(source)) - {folder} - ALLOWED[folder]


def test_every_folder_has_a_place() -> None:
    assert {path.parent.name for path in BENCH.glob("*/__init__.py")} == ALLOWED.keys()


def test_every_folder_imports_those_before_it() -> None:
    found = {
        path.relative_to(BENCH).as_posix(): folders
        for path in BENCH.glob("*/**/*.py")
        if (folders := wrong(path.relative_to(BENCH).parts[0], path.read_text(encoding="utf-8")))
    }
    assert not found


def test_what_stands_beside_the_folders_imports_none_of_them() -> None:
    """But for the command, which starts all, and which none of them imports."""
    source = (BENCH / "installation.py").read_text(encoding="utf-8")
    assert not set(imported(source))
    assert wrong("evaluate", "from relsplit.bench import command") == {"command"}


def test_an_import_that_points_back_is_seen_wherever_it_stands() -> None:
    assert wrong("data", "from relsplit.bench.models.build import load_model") == {"models"}
    assert wrong("data", "def read():\n    import relsplit.bench.train.training") == {"train"}
    assert wrong("configuration", "from relsplit.bench import explain") == {"explain"}
    assert wrong("conservation", "from relsplit.bench.evaluate import task") == {"evaluate"}
    assert not wrong("evaluate", "from relsplit.bench.machine.terminal import say\nimport relsplit.errors")
