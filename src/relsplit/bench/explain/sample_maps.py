"""Maps of chosen samples, with everything that a picture of them needs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from omegaconf import OmegaConf
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from relsplit.bench.configuration.composition import resolved
from relsplit.bench.configuration.identity import identified, without_identity
from relsplit.bench.configuration.settings import Evaluate, Settings
from relsplit.bench.data.catalogue import Catalogue, Sample
from relsplit.bench.data.dataset import EvaluationDataset, collate_evaluation
from relsplit.bench.data.transforms import Normalization
from relsplit.bench.explain.explanation import ConfiguredExplainer
from relsplit.bench.explain.prepare import prepare
from relsplit.bench.runs.folder import check_folder, read_config
from relsplit.bench.runs.maps import Maps, joined
from relsplit.errors import InputError

ScoredClass = Literal["label", "predicted"]


def sample_maps(
    explainer: ConfiguredExplainer,
    dataset: EvaluationDataset,
    positions: Sequence[int],
    class_names: Sequence[str],
    batch_size: int,
    *,
    labelled: bool = True,
    scored: ScoredClass | None = None,
) -> Maps:
    """Explain samples on the device that the explainer's network is on.

    Args:
        explainer: what explains.
        dataset: all samples of the run.
        positions: which of them; samples whose image cannot be read are left out if the dataset skips them.
        class_names: by label.
        batch_size: images explained at once.
        labelled: whether the samples' labels are their classes; otherwise nobody knows these.
        scored: whose probability the curves of these samples read, if there are curves.

    Raises:
        InputError: none of the images can be read.
    """
    device = next(explainer.network.parameters()).device
    loader = DataLoader(Subset(dataset, list(positions)), batch_size=batch_size, collate_fn=collate_evaluation)
    parts = []
    for batch in loader:
        if not batch.indices:
            continue
        ids = [dataset.samples[index].sample_id for index in batch.indices]
        explanation = explainer.explain(batch.images.to(device), batch.labels.to(device), ids)
        classes = {
            "label": batch.labels if labelled else None,
            "predicted": explanation.predicted.cpu(),
            "explained": explanation.target.cpu(),
            "scored": {"label": batch.labels, "predicted": explanation.predicted.cpu(), None: None}[scored],
        }
        drawn = torch.where(batch.segmentations.flatten(1).any(1)[:, None, None], batch.segmentations, batch.boxes)
        parts.append(
            Maps(
                sample_id=np.array(ids),
                image=pixels(batch.images, dataset.transform.normalization),
                map=explanation.maps.cpu().numpy(),
                region=drawn.numpy(),
                label=batch.labels.numpy(),
                predicted=explanation.predicted.cpu().numpy(),
                probability=explanation.probability.cpu().numpy(),
                class_name=np.array(
                    [
                        in_words({part: class_names[of[index]] for part, of in classes.items() if of is not None})
                        for index in range(len(batch.indices))
                    ]
                ),
            )
        )
    if not parts:
        raise InputError("none of the images can be read: there is nothing to explain")
    return joined(parts)


def in_words(parts: Mapping[str, str]) -> str:
    """Return the class of a sample, or a line for each class with the parts that it plays: "label, scored: finch".

    Args:
        parts: the class's name by part: "label", "predicted", ...; without "label" the parts are always named.
    """
    by_class: dict[str, list[str]] = {}
    for part, name in parts.items():
        by_class.setdefault(" ".join(name.split()), []).append(part)
    if len(by_class) == 1 and "label" in parts:
        return next(iter(by_class))
    return "\n".join(f"{', '.join(played)}: {name}" for name, played in by_class.items())


def maps_of_run(run: Path, sample_ids: Sequence[str]) -> Maps:
    """Explain samples of a finished evaluation once more, as its own configuration says, in the given order.

    Args:
        run: folder of the evaluation.
        sample_ids: which of its samples.

    Raises:
        InputError: the data or the network of the evaluation cannot be used any more or are others, or no image can be
            read.
    """
    document = resolved(OmegaConf.create(without_identity(read_config(run))))
    check_folder(run, identified(document))
    document["dataset"]["on_bad_image"] = "skip"
    settings = Settings.of(document)

    def choose(settings: Settings, catalogue: Catalogue) -> list[Sample]:
        by_id = {sample.sample_id: sample for sample in catalogue.split("test")}
        return [by_id[name] for name in sample_ids]

    prepared = prepare(settings, choose).on_device()
    names, task = prepared.catalogue.class_names, settings.task_as(Evaluate)
    positions = range(len(prepared.samples))
    return sample_maps(
        prepared.explainer, prepared.dataset, positions, names, task.batch_size, scored=task.scored_class
    )


def pixels(images: Tensor, normalization: Normalization) -> npt.NDArray[np.uint8]:
    """Return normalised images (N, 3, H, W) as (N, H, W, 3) uint8."""
    channels = (images.double() * normalization.std + normalization.mean).permute(0, 2, 3, 1)
    return (255 * channels).round().clamp(0, 255).to(torch.uint8).numpy()
