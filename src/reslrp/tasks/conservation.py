"""Task ``conservation``: how much relevance arrives at the input and at the first and last residual block."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch.utils.data import DataLoader

from reslrp.data.dataset import EvaluationDataset, collate_evaluation
from reslrp.errors import InputError
from reslrp.lrp import LRP
from reslrp.results.append_log import write_atomically
from reslrp.results.figures_conservation import CONSERVATION
from reslrp.results.run_config import claim_folder
from reslrp.tasks.configuration import identified, resolved, run_folder
from reslrp.tasks.evaluate import check_numbers, choose_samples, read_catalogue
from reslrp.tasks.explained_network import explained_network
from reslrp.tasks.explaining import build
from reslrp.tasks.lightning import chosen_device

LRP_EXPLAINER = "reslrp.explainers.ours.Ours"


def run(cfg: DictConfig) -> Path:
    """Explain the predicted class of every sample and write the relevance sums.

    Returns:
        The run folder with ``conservation.csv``: sample_id, probability, input, first_block, last_block.

    Raises:
        InputError: the explainer is not ``reslrp.LRP``, or the network has no residual block.
    """
    if cfg.explainer._target_ != LRP_EXPLAINER:
        raise InputError(f"relevance sums are those of reslrp.LRP: explainer={cfg.explainer.name} has none, use ours")
    check_numbers(cfg)
    catalogue = read_catalogue(cfg)
    samples = choose_samples(cfg, catalogue)
    network = explained_network(cfg, catalogue).to(chosen_device(cfg.device))
    config = identified(resolved(cfg))
    folder = run_folder("conservation", config)
    claim_folder(folder, config)
    asked = {sample.sample_id for sample in samples}
    if (folder / CONSERVATION).exists():
        found = _explained(folder)
        if found == asked or (cfg.dataset.on_bad_image == "skip" and found < asked):
            return folder
    options = {key: value for key, value in config["explainer"].items() if key not in ("name", "target", "map")}
    lrp: LRP = build({**options, "_target_": "reslrp.LRP"}, "explainer", model=network)
    dataset = EvaluationDataset(samples, instantiate(cfg.dataset.transform), cfg.dataset.on_bad_image)
    loader = DataLoader(dataset, batch_size=cfg.task.batch_size, collate_fn=collate_evaluation)
    lines = []
    for batch in loader:
        if not batch.indices:
            continue
        images = batch.images.to(next(network.parameters()).device)
        _, sums = lrp.attribute(images, return_sums=True)
        blocks = [name for name in sums if name not in ("input", "output")]
        if not blocks:
            raise InputError(f"model={cfg.model.name} has no residual block: its conservation has no such checkpoints")
        with torch.no_grad():
            probability = network(images).double().softmax(dim=1).amax(dim=1)
        columns = [probability, sums["input"], sums[blocks[0]], sums[blocks[-1]]]
        for index, values in zip(batch.indices, torch.stack([c.double().cpu() for c in columns], dim=1), strict=True):
            lines.append([samples[index].sample_id, *values.tolist()])
    if not lines:
        raise InputError(f"none of the {len(samples)} images can be read ({samples[0].path} and the others)")
    frame = pd.DataFrame(lines, columns=["sample_id", "probability", "input", "first_block", "last_block"])
    write_atomically(folder / CONSERVATION, frame.to_csv(index=False, lineterminator="\n"))
    return folder


def _explained(folder: Path) -> set[str]:
    """Ids of the samples whose sums the folder holds."""
    return set(pd.read_csv(folder / CONSERVATION, dtype={"sample_id": str}, keep_default_na=False)["sample_id"])
