"""Metrics of attribution maps."""

from reslrp.metrics.conservation import ConservationGap, conservation_gap
from reslrp.metrics.inference import BatchSize
from reslrp.metrics.insertion_deletion import InsertionDeletion
from reslrp.metrics.localisation import EnergyInside, PointingGame, energy_inside, pointing_game
from reslrp.metrics.randomisation import CascadingRandomisation, randomisation_correlation, rank_correlation
from reslrp.metrics.score_curves import Curve, CurveScores, score_curves
from reslrp.metrics.sensitivity import MaxSensitivity, max_sensitivity
from reslrp.metrics.sparsity import Gini, gini

__all__ = [
    "BatchSize",
    "CascadingRandomisation",
    "ConservationGap",
    "Curve",
    "CurveScores",
    "EnergyInside",
    "Gini",
    "InsertionDeletion",
    "MaxSensitivity",
    "PointingGame",
    "conservation_gap",
    "energy_inside",
    "gini",
    "max_sensitivity",
    "pointing_game",
    "randomisation_correlation",
    "rank_correlation",
    "score_curves",
]
