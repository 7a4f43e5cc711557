"""Where a library is not installed, one line says what to install."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from relsplit.bench.configuration.extras import extra_of
from relsplit.bench.configuration.parts import imported
from relsplit.errors import InputError
from small_runs import overrides

BLOCKED = """
import sys

blocked = sys.argv.pop(1)

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == blocked:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocked())
"""
COMMAND = """
from relsplit.bench.command import main
sys.exit(main())
"""


def without(module: str, code: str, folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run code where a module cannot be imported."""
    command = [sys.executable, "-W", "ignore", "-c", BLOCKED + code, module, *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("module", "explainer", "extra"),
    [
        ("captum", "lrp_epsilon", "explainers"),
        ("captum", "integrated_gradients", "explainers"),
        ("torchmetrics", "edges", "metrics"),
        ("torchvision", "edges", "bench"),
        ("pytorch_lightning", "edges", "bench"),
        ("hydra", "edges", "bench"),
        ("omegaconf", "edges", "bench"),
        ("pandas", "edges", "bench"),
        ("pydantic", "edges", "bench"),
    ],
)
def test_a_run_names_the_extra(photographs: Path, module: str, explainer: str, extra: str) -> None:
    done = without(module, COMMAND, photographs, *overrides(photographs, f"explainer={explainer}"))
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert f"No module named '{module}" in done.stderr
    assert f"[{extra}]" in done.stderr
    assert "pip install" in done.stderr
    assert not (photographs / "run").exists()


@pytest.mark.parametrize(
    ("module", "statement", "extra"),
    [
        ("captum", "from relsplit.explainers import IntegratedGradients", "explainers"),
        ("torchmetrics", "from relsplit.metrics import InsertionDeletion", "metrics"),
        ("numpy", "from relsplit.metrics import score_curves", "metrics"),
        ("numpy", "from relsplit.explainers import GradCAM", "explainers"),
    ],
)
def test_the_library_names_the_extra(tmp_path: Path, module: str, statement: str, extra: str) -> None:
    done = without(module, statement, tmp_path)
    said = done.stderr.splitlines()[-1]
    assert said.startswith(f"ModuleNotFoundError: No module named '{module}")
    assert f'pip install "relsplit[{extra}]"' in said


def test_a_name_that_an_installed_library_lacks_is_no_extras() -> None:
    with pytest.raises(InputError, match="cannot be imported") as caught:
        imported("torchvision.models.resnet51", "model._target_")
    assert "pip install" not in str(caught.value)
    assert extra_of("torchvision.models.resnet51") is None
