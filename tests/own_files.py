"""A folder as a user has it: an explainer of one's own in ``mine.py``, its YAML in ``conf/explainer``."""

from pathlib import Path

EXPLAINER = """
class Bright:
    forward_equivalents = 0.0

    def __init__(self, model):
        pass

    def attribute(self, images, target=None):
        return images.mean(1).abs()
"""


def write_explainer(folder: Path, conf: str = "conf", name: str = "mine") -> None:
    """Write ``mine.py`` into a folder, and into its folder of configuration files ``NAME.yaml``, which names it."""
    (folder / "mine.py").write_text(EXPLAINER)
    group = folder / conf / "explainer"
    group.mkdir(parents=True)
    (group / f"{name}.yaml").write_text(f"name: {name}\n_target_: mine.Bright\ntarget: predicted\n")


def write_experiment(folder: Path, *explainers: str) -> None:
    """Write ``conf/experiment/own.yaml``: a table with a row for each of these explainers."""
    rows = "".join(f"    - {{label: {name}, overrides: [explainer={name}]}}\n" for name in explainers)
    (folder / "conf/experiment").mkdir()
    (folder / "conf/experiment/own.yaml").write_text(
        "# @package _global_\n"
        "defaults:\n  - override /task: reproduce\n  - _self_\n"
        "reproduce:\n"
        "  name: own\n"
        "  title: Own table\n"
        f"  rows:\n{rows}"
        "  product:\n"
        "    _target_: relsplit.papers.products.overview.overview\n"
        "    _partial_: true\n"
        "    title: Own table\n"
    )
