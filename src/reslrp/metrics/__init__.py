"""Metrics of attribution maps."""

from reslrp.metrics.inference import BatchSize
from reslrp.metrics.insertion_deletion import InsertionDeletion
from reslrp.metrics.score_curves import Curve, CurveScores, score_curves

__all__ = ["BatchSize", "Curve", "CurveScores", "InsertionDeletion", "score_curves"]
