"""The evaluation as a Lightning module, so that Lightning's strategies spread it over processes, GPUs and nodes."""

import hashlib
import math
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from relsplit.attribution import is_flat
from relsplit.bench.configuration.settings import Evaluate, Settings
from relsplit.bench.data.dataset import EvaluationBatch, EvaluationDataset, collate_evaluation
from relsplit.bench.data.piped import SECONDS_WITHOUT_A_BATCH
from relsplit.bench.explain.explanation import ConfiguredExplainer, Explanation
from relsplit.bench.runs.provenance import made_with
from relsplit.bench.runs.records import SCORES, CurveName, SampleCurves, SampleRecord, SkippedSample
from relsplit.bench.runs.store import SampleStore
from relsplit.bench.runs.summary import score_column
from relsplit.errors import InputError
from relsplit.metrics.explained_batch import ExplainedBatch, SampleMetric
from relsplit.metrics.insertion_deletion.curves import CurveScores, score_methods
from relsplit.metrics.sure_images import content_of
from relsplit.networks.batches import BatchSize, images_per_pass
from relsplit.networks.inference_copy import inference_copy


@dataclass(frozen=True, eq=False)
class Method:
    """One of the methods that an evaluation measures, on the device of its process.

    Attributes:
        store: its run folder.
        explainer: of the network that all methods explain.
        metrics: its own, as some of them remember what they have seen.
        measured: ids of the samples that earlier starts have measured.
        made_with: see :func:`relsplit.bench.runs.provenance.made_with`.
    """

    store: SampleStore
    explainer: ConfiguredExplainer
    metrics: list[SampleMetric]
    measured: frozenset[str]
    made_with: dict[str, str]


SHOWN = "images_of_the_run"


class ShownImages:
    """Reads the images of a run, and knows which ones it has read."""

    def __init__(self, dataset: EvaluationDataset) -> None:
        self._dataset = dataset
        self._contents: dict[int, str] = {}

    def __call__(self, position: int) -> Tensor | None:
        """Return an image (C, H, W), normalised; None where it cannot be read."""
        image = self._dataset[position].image
        if image is not None:
            self._contents[position] = content_of(image)
        return image

    def digest(self) -> str:
        """Return what tells these images, each with its class, from any others."""
        labels = [sample.label for sample in self._dataset.samples]
        shown = sorted(f"{content} {labels[position]}" for position, content in self._contents.items())
        return hashlib.blake2b("\n".join(shown).encode(), digest_size=16).hexdigest()


def _check_same_run(method: Method) -> None:
    entries = method.store.read().entries.values()
    others = [entry for entry in entries if entry.made_with.get(SHOWN) != method.made_with[SHOWN]]
    if others:
        raise InputError(
            f"{method.store.folder} holds {len(others)} samples that a metric has measured beside other images "
            "than the run has now (replaced, added or removed): say another output_dir, or task.on_change=accept"
        )


class EvaluationModule(pl.LightningModule):
    """Explains fixed batches of samples by several methods and scores these together.

    Each process writes its rows to the run folders itself.

    Args:
        network: the network to explain.
        methods: the settings and the run folder of each method, and the ids of the samples that earlier starts have
            measured. The settings differ in the explainer and its map alone.
        dataset: the chosen samples, in order.
        batches: positions in ``dataset``, one list a batch, of all that some method has not measured yet. The
            composition of a batch never depends on what is done already or on the number of processes, so neither do
            the numbers.
    """

    def __init__(
        self,
        network: nn.Module,
        methods: Sequence[tuple[Settings, SampleStore, frozenset[str]]],
        dataset: EvaluationDataset,
        batches: Sequence[list[int]],
    ) -> None:
        super().__init__()
        self.network = network
        self.given = methods
        self.settings = methods[0][0]  # what is read of them is the same in all
        self.task = self.settings.task_as(Evaluate)
        self.dataset = dataset
        self.batches = batches

    def setup(self, stage: str) -> None:
        # All processes deal from the first one's lists, whatever each of them saw in the run folders.
        self.batches, self.measured = self.trainer.strategy.broadcast(
            (self.batches, [measured for *_, measured in self.given])
        )

    def test_dataloader(self) -> DataLoader[EvaluationBatch]:
        """This process's share: every ``world_size``-th batch."""
        workers = self.settings.dataset.num_workers
        return DataLoader(
            self.dataset,  # type: ignore[arg-type]  # the collate function turns its items into batches
            # A process without a share gets a batch without samples: Lightning wants one.
            batch_sampler=self.batches[self.trainer.global_rank :: self.trainer.world_size] or [[]],
            collate_fn=collate_evaluation,
            num_workers=workers,
            timeout=SECONDS_WITHOUT_A_BATCH if workers else 0,
        )

    def on_test_start(self) -> None:
        # Built here and not earlier: the network is now on this process's device.
        self.methods = [
            Method(
                store,
                ConfiguredExplainer(settings, self.network),
                [metric.build(f"metric.{name}") for name, metric in settings.metric.items()],
                measured,
                made_with(settings.code()),
            )
            for (settings, store, _), measured in zip(self.given, self.measured, strict=True)
        ]
        self._show_the_run()
        self.protocols = {name: each.build(f"protocol.{name}") for name, each in self.settings.protocol.items()}
        # Most of the forward passes are the curves'.
        self.scored_network = inference_copy(self.network, self.task.precision)
        pixels = self.settings.dataset.image_size**2
        self.batch_size = BatchSize(
            images_per_pass(self.task.forward_batch_size, self.device, pixels, self.task.precision)
        )

    def _show_the_run(self) -> None:
        """Let metrics that look at all samples do so: what they cannot use shows before anything is measured.

        Raises:
            InputError: one of them cannot use the samples, or has measured some beside other images than these.
        """
        labels = [sample.label for sample in self.dataset.samples]
        for method in self.methods:
            if looks := [metric.look_at for metric in method.metrics if hasattr(metric, "look_at")]:
                shown = ShownImages(self.dataset)
                for look_at in looks:
                    look_at(self.network, labels, shown)
                method.made_with[SHOWN] = shown.digest()
                if self.task.on_change != "accept":
                    _check_same_run(method)

    def on_test_end(self) -> None:
        self.trainer.strategy.barrier()  # the first process then merges what all of them have written

    def test_step(self, batch: EvaluationBatch, batch_index: int) -> None:
        """Explain and score one batch by the methods that have not measured all of it, and write its rows."""
        samples = [self.dataset.samples[index] for index in batch.indices]
        images = {sample.sample_id: file for sample, file in zip(samples, batch.files, strict=True)}
        left = [method for method in self.methods if not method.measured.issuperset(images)]
        measured = iter(self._measured(batch, left) if left else [])
        skipped = [self._skipped(index, reason) for index, reason in batch.skipped]
        for method in self.methods:
            records, curves = next(measured) if method in left else ([], [])
            new = [record for record in records if record.sample_id not in method.measured]
            method.store.append(new, curves, method.made_with, images, skipped, rank=self.trainer.global_rank)

    def _measured(
        self, batch: EvaluationBatch, methods: Sequence[Method]
    ) -> list[tuple[list[SampleRecord], list[SampleCurves]]]:
        """Rows and curves of a batch, for each method."""
        ids = [self.dataset.samples[index].sample_id for index in batch.indices]
        explanations, seconds = [], []
        for method in methods:
            start = self._now()
            explanations.append(self._explain(method, batch.images, batch.labels, ids))
            seconds.append(self._now() - start)
        label = self.task.scored_class == "label"
        scored = score_methods(
            self.scored_network,
            batch.images,
            [explanation.maps for explanation in explanations],
            [batch.labels if label else explanation.predicted for explanation in explanations],
            self.protocols,
            batch_size=self.batch_size,
            mean=self.settings.dataset.mean,
            std=self.settings.dataset.std,
            tolerance=self.task.curve_tolerance,
            seed=self.settings.seed,
        )
        found = []
        for method, explanation, explaining, scores in zip(methods, explanations, seconds, scored, strict=True):
            further = self._further(method, batch, explanation)
            each = explaining / len(batch.indices)
            found.append((self._records(batch, explanation, scores, further, each), self._curves(batch, scores)))
        return found

    def _now(self) -> float:
        """Seconds on a clock, when the device has done what it was told."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def _explain(self, method: Method, images: Tensor, labels: Tensor, sample_ids: Sequence[str]) -> Explanation:
        """Explain a batch; one that does not fit into memory is halved."""
        try:
            return method.explainer.explain(images, labels, sample_ids)
        except torch.OutOfMemoryError:
            if len(images) == 1:
                raise InputError("out of memory: not even one image can be explained at once on this device") from None
        # Outside the handler, whose traceback keeps the failed batch alive.
        warnings.warn(f"out of memory: {len(images)} images are explained in two halves", RuntimeWarning, stacklevel=2)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        half = len(images) // 2
        halves = [slice(0, half), slice(half, None)]
        parts = [self._explain(method, images[each], labels[each], sample_ids[each]) for each in halves]
        names = [field.name for field in fields(Explanation)]
        return Explanation(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})

    def _further(self, method: Method, batch: EvaluationBatch, explanation: Explanation) -> dict[str, Tensor]:
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
            explain_with=method.explainer.maps_of,
            attribute=method.explainer.explainer.attribute,
        )
        return {name: values for metric in method.metrics for name, values in metric.columns(explained).items()}

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
