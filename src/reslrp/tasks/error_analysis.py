"""The product of Table D: it explains the failures once more, because an evaluation keeps no maps of all samples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from hydra.utils import instantiate
from matplotlib.figure import Figure
from omegaconf import DictConfig, OmegaConf

from reslrp.data.dataset import EvaluationDataset
from reslrp.errors import InputError
from reslrp.models.build import load_model
from reslrp.results.error_analysis import (
    FAILURES,
    SHEET_LEGEND,
    best_baseline,
    contact_sheet,
    keep_confirmed,
    propose,
    table_d,
    worst_samples,
    write_failures,
)
from reslrp.results.maps import Maps
from reslrp.results.measured import Measured
from reslrp.results.product import Product
from reslrp.tasks.configuration import without_digests
from reslrp.tasks.evaluate import read_catalogue
from reslrp.tasks.explaining import ConfiguredExplainer
from reslrp.tasks.lightning import chosen_device
from reslrp.tasks.sample_maps import sample_maps


def failures(
    rows: Sequence[Measured], folder: Path, dataset: str, *, proposed: str, threshold: float | None, worst: int
) -> Product:
    """Find the failures, propose a category for the worst and count.

    Args:
        rows: the proposed method and its baselines.
        folder: where ``failures.csv`` is written, and read back from.
        dataset: what was measured.
        proposed: label of the method whose failures are analysed.
        threshold: ID score up to which a sample failed; None for the best baseline's mean.
        worst: how many failures are categorised.

    Raises:
        InputError: there is no such row or no baseline, or ``failures.csv`` cannot be used.
    """
    ours = [row for row in rows if row.label == proposed]
    if not ours:
        raise InputError(f"reproduce.product.proposed: {proposed!r} is none of the rows {[row.label for row in rows]}")
    if threshold is None:
        baseline, limit = best_baseline(rows, proposed)
        origin = f"mean ID score of {baseline}"
    else:
        limit, origin = threshold, "given"
    scores = worst_samples(ours[0], limit)
    shown = scores.head(worst)
    figures: dict[str, Figure] = {}
    table = pd.DataFrame(columns=["sample_id", "id_score", "proposed", "confirmed"])
    if len(shown):
        maps = maps_of(ours[0].folders[0], list(shown.index))
        found = propose(maps)
        found.insert(1, "id_score", shown.loc[list(maps.sample_id)].to_numpy())
        table = keep_confirmed(found, folder / FAILURES)
        figures["contact_sheet"] = contact_sheet(maps, table)
    write_failures(table, folder / FAILURES)
    grid = table_d(table, dataset, limit, origin, len(scores), len(ours[0].samples[0]))
    return Product([grid], table, figures, notes=[SHEET_LEGEND] if figures else [])


def maps_of(run: Path, sample_ids: Sequence[str]) -> Maps:
    """Maps of chosen samples of a finished evaluation, made with its own configuration, in the given order."""
    cfg = OmegaConf.load(run / "config.yaml")
    assert isinstance(cfg, DictConfig)
    without_digests(cfg)
    catalogue = read_catalogue(cfg)
    network = load_model(cfg, catalogue.num_classes).to(chosen_device(cfg.device))
    by_id = {sample.sample_id: sample for sample in catalogue.split("test")}
    samples = [by_id[name] for name in sample_ids]
    dataset = EvaluationDataset(samples, instantiate(cfg.dataset.transform), "skip")
    config = OmegaConf.to_container(cfg)
    assert isinstance(config, dict)
    explainer = ConfiguredExplainer(config["explainer"], network)
    return sample_maps(explainer, dataset, range(len(samples)), catalogue.class_names, cfg.task.batch_size)
