"""What one evaluated sample leaves behind: one row of ``samples.csv`` and its curves."""

from dataclasses import dataclass, field
from typing import Literal

SCORES = ("insertion", "deletion", "id_score")
"""Columns of the primary protocol; another protocol's have its name as a suffix."""
CONSERVATION = "conservation.csv"
"""What task ``conservation`` leaves: sample_id, probability, then the relevance sum at each of three places."""
COLUMNS = ("sample_id", "path", "label", "predicted", "probability", *SCORES, "relevance_sum", "seconds")
"""Columns that every ``samples.csv`` begins with; ``SampleRecord.more`` adds the rest."""
CurveName = Literal["insertion", "deletion"]


@dataclass(frozen=True)
class SampleRecord:
    """One evaluated sample.

    Attributes:
        sample_id: identifier within the dataset.
        path: image file.
        label: ground-truth class index.
        predicted: class index with the highest score.
        probability: softmax probability of the explained class, in [0, 1].
        insertion: area under the insertion curve of the primary protocol, in [0, 1].
        deletion: area under the deletion curve of the primary protocol, in [0, 1].
        id_score: insertion minus deletion, in [-1, 1].
        relevance_sum: sum of the attribution before any post-processing.
        seconds: wall-clock time of making the map, the batch's time divided by its size; of the scoring nothing.
        more: further columns: ``insertion_<protocol>`` ... of the other protocols, ``flat_map`` (1 where the map is
            constant, so that its scores mean nothing, else 0), then the other metrics. NaN where a metric is not
            defined for the sample (no box, say).
    """

    sample_id: str
    path: str
    label: int
    predicted: int
    probability: float
    insertion: float
    deletion: float
    id_score: float
    relevance_sum: float
    seconds: float
    more: dict[str, float] = field(default_factory=dict)

    def row(self) -> dict[str, str | int | float]:
        """The record as one flat row, in the order of the columns."""
        return {**{name: getattr(self, name) for name in COLUMNS}, **self.more}


@dataclass(frozen=True)
class SampleCurves:
    """Insertion and deletion curves of one sample under one protocol.

    Attributes:
        sample_id: identifier within the dataset.
        protocol: name of the protocol.
        fraction: position on the horizontal axis, in [0, 1].
        insertion: probability of the scored class with that fraction inserted, in [0, 1]; None where a refined curve
            was not evaluated.
        deletion: probability of the scored class with that fraction deleted, in [0, 1]; None as in ``insertion``.
        checks: of refined curves, by the curve's name, weight and residual of every gap (see
            :class:`relsplit.metrics.insertion_deletion.refinement.Checks`); None where every point was evaluated.
    """

    sample_id: str
    protocol: str
    fraction: list[float]
    insertion: list[float | None]
    deletion: list[float | None]
    checks: dict[CurveName, list[list[float]]] | None = None

    def evaluated(self, curve: CurveName) -> tuple[list[float], list[float]]:
        """Return positions and probabilities of the points of a curve that were evaluated."""
        points = zip(self.fraction, getattr(self, curve), strict=True)
        found = [(position, probability) for position, probability in points if probability is not None]
        return [position for position, _ in found], [probability for _, probability in found]


@dataclass(frozen=True)
class SkippedSample:
    """A sample whose image could not be read, when the run was told to skip such images."""

    sample_id: str
    path: str
    reason: str
