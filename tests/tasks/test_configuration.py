"""What names a run's folder."""

from pathlib import Path

import torch
from omegaconf import OmegaConf
from small_runs import configured

from reslrp.results.run_config import config_hash
from reslrp.tasks.configuration import identified, resolved, without_digests


def test_weights_and_manifests_count_by_what_they_hold(photographs: Path) -> None:
    weights, manifest = photographs / "start.pt", photographs / "chosen.csv"

    def name() -> str:
        options = [f"model.weights={weights}", f"dataset.manifest={manifest}"]
        return config_hash(identified(resolved(configured(photographs, *options))))

    torch.save({"weight": torch.zeros(1)}, weights)
    manifest.write_text("a")
    names = [name(), name()]
    torch.save({"weight": torch.ones(1)}, weights)
    names.append(name())
    manifest.write_text("b")
    names.append(name())
    assert names[0] == names[1]
    assert len(set(names)) == 3


def test_digests_are_taken_back(photographs: Path) -> None:
    cfg = configured(photographs)
    marked = identified(resolved(cfg))
    assert len(marked["model"]["checkpoint_sha256"]) == 64
    assert marked["model"]["weights_sha256"] is None
    assert resolved(without_digests(OmegaConf.create(marked))) == resolved(cfg)
