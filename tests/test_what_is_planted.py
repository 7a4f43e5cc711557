"""The contract tests find what is new by themselves: what breaks its promise fails them, what keeps it passes."""

import os
import re
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parent
CONTRACTS = ("lrp/test_what_is_registered.py", "metrics/test_every_metric.py", "explainers/test_every_class.py")
PLANTED = {
    "relsplit.lrp.rules": '''
from relsplit.lrp.rules import RULES
from relsplit.lrp.rules.ratio import RatioRule

@RULES.register("planted_right")
class Right(RatioRule):
    """Keeps its promise."""

@RULES.register("planted_leak")
class Leak(RatioRule):
    """Says that it conserves relevance, and loses a tenth."""
    def propagate(self, layer, h, relevance, *, nonnegative, support):
        return 0.9 * super().propagate(layer, h, relevance, nonnegative=nonnegative, support=support)
''',
    "relsplit.lrp.splitting": '''
from relsplit.lrp.splitting import SPLITTINGS

@SPLITTINGS.register("planted_unbounded")
class Unbounded:
    """Says that it conserves relevance, of which rounding leaves little."""
    conserves = True
    def share(self, skip, branch):
        return 1e12
''',
    "relsplit.lrp.attention": """
from relsplit.lrp.attention import ATTENTIONS
from relsplit.lrp.attention.treatment import Attention
from relsplit.lrp.rules.flow import Flow

class Leak(Flow):
    def propagate(self, layer, h, relevance, *, nonnegative, support):
        return 0.9 * super().propagate(layer, h, relevance, nonnegative=nonnegative, support=support)

@ATTENTIONS.register("planted_attention")
def leak():
    return Attention(Leak())
""",
    "relsplit.lrp.operations": '''
from relsplit.lrp.operations import OPERATIONS

@OPERATIONS.register("lgamma", "planted_misspelt")
def halved(call):
    """Says that relevance passes, and hands on a half."""
    output = call.run()
    call.record(output, [call.sources[0][1]], lambda relevance: [relevance / 2])
    return output
''',
    "relsplit.metrics.insertion_deletion.protocols": '''
import torch
from relsplit.metrics.insertion_deletion.protocols import PROTOCOLS
from relsplit.metrics.insertion_deletion.protocols.protocol import CurvePoints

@PROTOCOLS.register("planted_protocol")
class TooFar:
    """Shows more pixels than there are."""
    baseline, patch = "black", 1
    def points(self, values):
        return CurvePoints(torch.tensor([0, len(values) + 1]), torch.tensor([0.0, 1.0], dtype=torch.float64))
''',
    "relsplit.metrics": '''
class PlantedMetric:
    """Its values depend on what else is in the batch."""
    def columns(self, batch):
        return {"planted": batch.maps.mean((1, 2)) - batch.maps.mean()}
''',
    "relsplit.explainers": '''
class PlantedExplainer:
    """Its maps depend on what else is in the batch."""
    forward_equivalents = 0.0
    def __init__(self, model):
        pass
    def attribute(self, images, target=None):
        from relsplit.checks import checked_images
        return checked_images(images).mean(1) - images.mean()
''',
}
PLUGIN = """
import importlib
for package, folder in {folders!r}.items():
    importlib.import_module(package).__path__.append(folder)
"""


def test_what_is_planted_is_found(tmp_path: Path) -> None:
    folders = {package: str(tmp_path / package) for package in PLANTED}
    for package, code in PLANTED.items():
        (tmp_path / package).mkdir()
        (tmp_path / package / f"planted_{package.rpartition('.')[2]}.py").write_text(code)
    (tmp_path / "planting.py").write_text(PLUGIN.format(folders=folders))
    command = [sys.executable, "-m", "pytest", "-p", "planting", "-p", "no:cacheprovider", "-rA", "--tb=no"]
    run = subprocess.run(
        [*command, "-k", "planted or lgamma", *(str(TESTS / each) for each in CONTRACTS)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    found = re.findall(r"^(PASSED|FAILED) \S*::(\w+)\[(\w+)", run.stdout, re.MULTILINE)
    failed = {(test, name) for result, test, name in found if result == "FAILED"}
    passed = {(test, name) for result, test, name in found if result == "PASSED"}
    assert failed == {
        ("test_a_rule", "planted_leak"),
        ("test_a_splitting", "planted_unbounded"),
        ("test_a_treatment_of_attention", "planted_attention"),
        ("test_an_operation_is_called_as_pytorch_calls_it", "planted_misspelt"),
        ("test_an_operation_on_one_activation", "lgamma"),
        ("test_a_protocol", "planted_protocol"),
        ("test_a_metric", "PlantedMetric"),
        ("test_an_explainer", "PlantedExplainer"),
    }, run.stdout + run.stderr
    assert passed >= {("test_a_rule", "planted_right")}
    assert not failed & passed
