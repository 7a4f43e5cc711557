"""The evaluation as a Lightning module, so that Lightning's strategies spread it over processes, GPUs and nodes."""

import math
import time
import warnings
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from relsplit.attribution import is_flat
from relsplit.data.dataset import EvaluationBatch, EvaluationDataset, collate_evaluation
from relsplit.errors import InputError
from relsplit.metrics.explained_batch import ExplainedBatch, SampleMetric
from relsplit.metrics.insertion_deletion.curves import CurveScores, score_curves
from relsplit.networks.batches import BatchSize, images_per_pass
from relsplit.networks.inference_copy import inference_copy
from relsplit.runs.provenance import fingerprint, made_with
from relsplit.runs.records import SCORES, CurveName, SampleCurves, SampleRecord, SkippedSample
from relsplit.runs.store import SampleStore
from relsplit.runs.summary import score_column
from relsplit.tasks.setup.build import build
from relsplit.tasks.setup.configuration import targets
from relsplit.tasks.setup.explanation import ConfiguredExplainer, Explanation


class EvaluationModule(pl.LightningModule):
    """Explains and scores fixed batches of samples; each process writes its rows to the run folder itself.

    Args:
        network: the network to explain.
        config: the resolved configuration as plain containers.
        dataset: the chosen samples, in order.
        batches: positions in ``dataset``, one list a batch, of all that is left to do. The composition of a batch
            never depends on what is done already or on the number of processes, so neither do the numbers.
        store: the run folder.
    """

    def __init__(
        self,
        network: nn.Module,
        config: dict[str, Any],
        dataset: EvaluationDataset,
        batches: Sequence[list[int]],
        store: SampleStore,
    ) -> None:
        super().__init__()
        self.network = network
        self.config = config
        self.dataset = dataset
        self.batches = batches
        self.store = store

    def setup(self, stage: str) -> None:
        # All processes deal from the first one's list, whatever each of them saw in the run folder.
        self.batches = self.trainer.strategy.broadcast(self.batches)

    def test_dataloader(self) -> DataLoader[EvaluationBatch]:
        """This process's share: every ``world_size``-th batch."""
        return DataLoader(
            self.dataset,  # type: ignore[arg-type]  # the collate function turns its items into batches
            # A process without a share gets a batch without samples: Lightning wants one.
            batch_sampler=self.batches[self.trainer.global_rank :: self.trainer.world_size] or [[]],
            collate_fn=collate_evaluation,
            num_workers=self.config["dataset"]["num_workers"],
        )

    def on_test_start(self) -> None:
        # Built here and not earlier: the network is now on this process's device.
        self.explainer = ConfiguredExplainer(self.config, self.network)
        self.protocols = {name: build(options, f"protocol.{name}") for name, options in self.config["protocol"].items()}
        self.metrics: list[SampleMetric] = [
            build(options, f"metric.{name}") for name, options in self.config["metric"].items()
        ]
        # Most of the forward passes are the curves'.
        precision = self.config["task"]["precision"]
        self.scored_network = inference_copy(self.network, precision)
        pixels = self.config["dataset"]["image_size"] ** 2
        self.batch_size = BatchSize(
            images_per_pass(self.config["task"]["forward_batch_size"], self.device, pixels, precision)
        )
        self.done = set(self.store.entries())
        self.made_with = made_with(targets(self.config))

    def on_test_end(self) -> None:
        self.trainer.strategy.barrier()  # the first process then merges what all of them have written

    def test_step(self, batch: EvaluationBatch, batch_index: int) -> None:
        """Explain and score one batch and write its rows."""
        start = time.perf_counter()
        records: list[SampleRecord] = []
        curves: list[SampleCurves] = []
        if batch.indices:
            explanation = self._explain(batch.images, batch.labels)
            scored = batch.labels if self.config["task"]["scored_class"] == "label" else explanation.predicted
            scores = score_curves(
                self.scored_network,
                batch.images,
                explanation.maps,
                scored,
                self.protocols,
                batch_size=self.batch_size,
                mean=self.config["dataset"]["mean"],
                std=self.config["dataset"]["std"],
                tolerance=self.config["task"]["curve_tolerance"],
                seed=self.config["seed"],
            )
            seconds = (time.perf_counter() - start) / len(batch.indices)
            records = self._records(batch, explanation, scores, self._further(batch, explanation), seconds)
            curves = self._curves(batch, scores)
        new = [record for record in records if record.sample_id not in self.done]
        self.store.append(
            new,
            curves,
            self.made_with,
            {record.sample_id: fingerprint(Path(record.path)) for record in new},
            [self._skipped(index, reason) for index, reason in batch.skipped],
            rank=self.trainer.global_rank,
        )

    def _explain(self, images: Tensor, labels: Tensor) -> Explanation:
        """Explain a batch; one that does not fit into memory is halved."""
        try:
            return self.explainer.explain(images, labels)
        except torch.OutOfMemoryError:
            if len(images) == 1:
                raise InputError("out of memory: not even one image can be explained at once on this device") from None
        # Outside the handler, whose traceback keeps the failed batch alive.
        warnings.warn(f"out of memory: {len(images)} images are explained in two halves", RuntimeWarning, stacklevel=2)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        half = len(images) // 2
        parts = self._explain(images[:half], labels[:half]), self._explain(images[half:], labels[half:])
        names = [field.name for field in fields(Explanation)]
        return Explanation(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})

    def _further(self, batch: EvaluationBatch, explanation: Explanation) -> dict[str, Tensor]:
        explained = ExplainedBatch(
            images=batch.images,
            labels=batch.labels,
            targets=explanation.target,
            maps=explanation.maps,
            relevance_sum=explanation.relevance_sum,
            probability=explanation.probability,
            boxes=batch.boxes,
            segmentations=batch.segmentations,
            network=self.network,
            explain_with=self.explainer.maps_of,
            attribute=self.explainer.explainer.attribute,
        )
        return {name: values for metric in self.metrics for name, values in metric.columns(explained).items()}

    def _records(
        self,
        batch: EvaluationBatch,
        explanation: Explanation,
        scores: dict[str, CurveScores],
        further: dict[str, Tensor],
        seconds: float,
    ) -> list[SampleRecord]:
        columns = {
            "label": batch.labels,
            "predicted": explanation.predicted,
            "probability": explanation.probability,
            "relevance_sum": explanation.relevance_sum,
        }
        more: dict[str, Tensor] = {}
        for position, (protocol, curve) in enumerate(scores.items()):
            target = columns if position == 0 else more
            for name in SCORES:
                target[score_column(name, protocol, list(scores))] = getattr(curve, name)
        plain = {name: values.tolist() for name, values in columns.items()}
        more["flat_map"] = is_flat(explanation.maps).int()
        others = {name: values.tolist() for name, values in {**more, **further}.items()}
        return [
            SampleRecord(
                sample_id=self.dataset.samples[index].sample_id,
                path=str(self.dataset.samples[index].path),
                seconds=seconds,
                more={name: values[row] for name, values in others.items()},
                **{name: values[row] for name, values in plain.items()},
            )
            for row, index in enumerate(batch.indices)
        ]

    def _curves(self, batch: EvaluationBatch, scores: dict[str, CurveScores]) -> list[SampleCurves]:
        return [
            sample_curves(self.dataset.samples[index].sample_id, protocol, curve, row)
            for row, index in enumerate(batch.indices)
            for protocol, curve in scores.items()
        ]

    def _skipped(self, index: int, reason: str) -> SkippedSample:
        sample = self.dataset.samples[index]
        return SkippedSample(sample.sample_id, str(sample.path), reason)


def sample_curves(sample_id: str, protocol: str, scores: CurveScores, row: int) -> SampleCurves:
    """Return what is recorded of a sample's curves.

    Args:
        sample_id: of the sample.
        protocol: name of the protocol.
        scores: of a batch under that protocol.
        row: of the sample in the batch.
    """
    fraction, insertion, deletion = (values.tolist() for values in scores.curves[row])
    if scores.checks is None:
        return SampleCurves(sample_id, protocol, fraction, insertion, deletion)
    insertion, deletion = (
        [None if math.isnan(probability) else probability for probability in curve] for curve in (insertion, deletion)
    )
    checks: dict[CurveName, Any] = {
        "insertion": scores.checks[row].insertion.tolist(),
        "deletion": scores.checks[row].deletion.tolist(),
    }
    return SampleCurves(sample_id, protocol, fraction, insertion, deletion, checks)
