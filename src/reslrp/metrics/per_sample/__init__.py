"""Further metrics of an evaluation: one file and one file of conf/metric each."""

from reslrp.metrics.per_sample.conservation import Conservation
from reslrp.metrics.per_sample.explained_batch import ExplainedBatch, SampleMetric
from reslrp.metrics.per_sample.localisation import Localisation
from reslrp.metrics.per_sample.randomisation import Randomisation
from reslrp.metrics.per_sample.sensitivity import Sensitivity
from reslrp.metrics.per_sample.sparsity import Sparsity

__all__ = ["Conservation", "ExplainedBatch", "Localisation", "Randomisation", "SampleMetric", "Sensitivity", "Sparsity"]
