"""What a package's face names is what its module has, however often and in whichever order it is imported."""

import ast
import importlib
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src"
FACES = sorted(SOURCE.rglob("__init__.pyi"))


@pytest.mark.parametrize("face", FACES, ids=lambda face: ".".join(face.parent.relative_to(SOURCE).parts))
def test_a_name_is_not_hidden_by_a_module_of_the_same_name(face: Path) -> None:
    package = importlib.import_module(".".join(face.parent.relative_to(SOURCE).parts))
    imports = [line for line in ast.parse(face.read_text(encoding="utf-8")).body if isinstance(line, ast.ImportFrom)]
    homes = {alias.asname or alias.name: (line.module, alias.name) for line in imports for alias in line.names}
    assert set(homes) == set(package.__all__)
    for name, (module, there) in homes.items():  # importing a module makes it an attribute of its package
        assert getattr(package, name) is getattr(importlib.import_module(str(module)), there)
        assert getattr(package, name) is getattr(importlib.import_module(str(module)), there), name
