"""The paper that the project reproduces, as a run of it would see it."""

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from relsplit.bench.runs.maps import Maps
from relsplit.papers.products.product import Brief
from relsplit.papers.products.published import Paper

FOLDER = Path(__file__).parents[2] / "conf" / "experiment" / "otsuki2024"
SETTINGS: Any = OmegaConf.to_container(OmegaConf.load(FOLDER / "paper.yaml").reproduce.paper)
OTSUKI2024 = Paper(name="otsuki2024", folder=FOLDER, **SETTINGS)


def brief(folder: Path, dataset: str, maps: Maps | None = None) -> Brief:
    """What a product of the paper is made for; ``maps`` are what explaining samples once more gives."""

    def explain(_run: Path, _samples: Any) -> Maps:
        assert maps is not None
        return maps

    return Brief(folder, dataset, OTSUKI2024, explain)
