"""Every file of conf can be chosen: it composes, names code that is there, and gives arguments that this takes."""

import re
import shutil
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from relsplit.bench.configuration.code import check_code
from relsplit.bench.configuration.settings import Settings
from relsplit.errors import InputError
from small_runs import ROOT

CONF = ROOT / "conf"
NEEDED = {
    "model=custom": ["model._target_=torchvision.models.resnet18"],
    "model=timm": ["model.name=vit_tiny_patch16_224"],
    "explainer=stored": ["explainer.maps=maps.npz"],
}
"""What only the user knows."""


def choices(conf: Path) -> list[tuple[str, str]]:
    """All files that can be chosen, as (group, name); what begins with ``_`` is a part of others."""
    files = [path.relative_to(conf).with_suffix("") for path in sorted(conf.rglob("*.yaml"))]
    chosen = [path for path in files if len(path.parts) > 1 and not path.name.startswith("_") and path.name != "paper"]
    return [(path.parts[0], "/".join(path.parts[1:])) for path in chosen]


def check(conf: Path, group: str, name: str) -> None:
    """Compose one file and check what it names.

    Raises:
        InputError: something is missing, no setting, or not to be imported.
    """
    typed = [f"{group}={name}", *NEEDED.get(f"{group}={name}", [])]
    with initialize_config_dir(str(conf), version_base="1.3"):
        config: DictConfig = compose("config", typed)
    settings = Settings.composed(config)
    check_code(settings)
    if settings.reproduce is not None and settings.reproduce.product is not None:
        settings.reproduce.product.check("reproduce.product")


@pytest.mark.parametrize(("group", "name"), choices(CONF))
def test_a_file(group: str, name: str) -> None:
    check(CONF, group, name)


HEAD = "# @package _global_\ndefaults: "
PLANTED = {
    "dataset": (
        HEAD + "[demo, _self_]\ndataset: {catalogue: {_target_: relsplit.bench.data.demo.no_such}}\n",
        "dataset.catalogue._target_=relsplit.bench.data.demo.no_such",
    ),
    "model": ("name: x\n_target_: torchvision.models.resnet19\nweights: null\ncheckpoint: null\n", "resnet19"),
    "explainer": (
        "name: x\n_target_: relsplit.explainers.edges.Edges\ntarget: label\nwidth: 3\n",
        "explainer.width is no option of Edges",
    ),
    "metric": (
        "x: {_target_: relsplit.metrics.sparsity.Sparse}\n",
        "metric.x._target_=relsplit.metrics.sparsity.Sparse",
    ),
    "protocol": (
        "x: {_target_: relsplit.metrics.insertion_deletion.protocols.levels.Levels, patch: many}\n",
        "protocol.x.patch must be",
    ),
    "map": ("_target_: relsplit.attribution.AttributionMap\nsign: upwards\n", "map.sign must be one of"),
    "split": ("# @package _global_\nsplit: {power: 2}\n", "explainer.split._target_ is missing"),
    "trainer": ("defaults: [default, _self_]\noptimizer: {_target_: torch.optim.Adamm}\n", "torch.optim.Adamm"),
    "task": ("defaults: [evaluate, _self_]\nscored_class: lable\n", "task.scored_class must be one of"),
    "experiment": (
        HEAD + "[override /task: reproduce, _self_]\n"
        "reproduce: {product: {_target_: relsplit.papers.products.overview.overview, titel: Table}}\n",
        "reproduce.product.titel is no option of overview",
    ),
}


def test_there_is_a_planted_file_for_every_group() -> None:
    assert {group for group, _ in choices(CONF)} - {"logger"} == PLANTED.keys()  # wandb's arguments are anything


@pytest.mark.parametrize("group", PLANTED)
def test_a_file_that_cannot_be_used_is_found(group: str, tmp_path: Path) -> None:
    shutil.copytree(CONF, tmp_path / "conf")
    content, said = PLANTED[group]
    (tmp_path / "conf" / group / "planted.yaml").write_text(content)
    assert (group, "planted") in choices(tmp_path / "conf")
    with pytest.raises(InputError, match=re.escape(said)):
        check(tmp_path / "conf", group, "planted")
