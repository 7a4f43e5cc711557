"""Evaluation folders written through the project's own store, with scores that the test chooses."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from relsplit.bench.configuration.identity import Identity
from relsplit.bench.runs.records import SampleCurves, SampleRecord
from relsplit.bench.runs.store import SampleStore
from relsplit.bench.runs.summary import SAMPLES_CHECK, summarise, write_summary


def write_run(
    folder: Path,
    explainer: str = "ours",
    insertion: float | list[float] = 0.5,
    deletion: float | list[float] = 0.1,
    strict: tuple[float, float] = (0.4, 0.2),
    num_samples: int = 12,
    noise: float = 0.0,
    seed: int = 0,
    points: int = 5,
    more: Mapping[str, float | npt.NDArray[np.float64]] | None = None,
    relevance: float | list[float] = 1.0,
    options: Mapping[str, Any] | None = None,
    protocols: Mapping[str, Any] | None = None,
    task: Mapping[str, Any] | None = None,
) -> Path:
    """A finished run scored under ``published`` and ``strict``; ids are s00, s01, ...

    ``relevance`` is the relevance sum as a share of the probability; ``options`` are further ones of the explainer,
    ``protocols`` and ``task`` what the configuration says of those.
    """
    generator = np.random.default_rng(seed)
    ins = np.broadcast_to(np.asarray(insertion, dtype=float), (num_samples,)) + noise * generator.normal(
        size=num_samples
    )
    dele = np.broadcast_to(np.asarray(deletion, dtype=float), (num_samples,))
    arrived = np.broadcast_to(np.asarray(relevance, dtype=float), (num_samples,))
    chosen = {"name": explainer, "_target_": explainer, **(options or {})}
    groups = {"protocol": dict(protocols or {}), "task": dict(task or {})}
    document = {"explainer": chosen, "seed": seed, "dataset": {"name": "demo"}, **groups}
    store = SampleStore(folder, Identity(document))
    records, curves = [], []
    for i in range(num_samples):
        name = f"s{i:02d}"
        further = {
            "insertion_strict": strict[0],
            "deletion_strict": strict[1],
            "id_score_strict": strict[0] - strict[1],
            "flat_map": 0,
            **{name: float(np.broadcast_to(value, (num_samples,))[i]) for name, value in (more or {}).items()},
        }
        records.append(
            SampleRecord(
                sample_id=name,
                path=f"images/{name}.jpg",
                label=i % 3,
                predicted=i % 3,
                probability=0.9 - 0.02 * i,
                insertion=float(ins[i]),
                deletion=float(dele[i]),
                id_score=float(ins[i] - dele[i]),
                relevance_sum=(0.9 - 0.02 * i) * float(arrived[i]),
                seconds=0.01,
                more=further,
            )
        )
        x = np.linspace(0, 1, points)
        for protocol in ("published", "strict"):
            curves.append(
                SampleCurves(name, protocol, x.tolist(), (ins[i] * 2 * x).tolist(), (dele[i] * 2 * (1 - x)).tolist())
            )
    images = {record.sample_id: {"bytes": 0, "modified": 0, "sha256": ""} for record in records}
    store.append(records, curves, {"package": "", "own": "", "libraries": ""}, images)
    measured = store.read()
    description = {
        "explainer": explainer,
        "split": "ratio",
        "dataset": "demo",
        "model": "demo",
        "protocol": "published",
        "protocols": ["published", "strict"],
        "forward_equivalents": 3.0,
        "config_hash": store.identity.hash,
        SAMPLES_CHECK: measured.check,
        "command": f"python run.py explainer={explainer} num_samples={num_samples}",
        "versions": {"python": "3.11"},
        "hardware": {"accelerator": "cpu"},
        "seed": seed,
        "skipped": [],
    }
    write_summary(folder, summarise(measured.table(), description))
    return folder
