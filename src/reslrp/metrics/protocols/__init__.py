"""Protocols of the insertion and deletion metric: one small file each, plus one in conf/protocol."""

from reslrp.metrics.protocols.levels import Levels
from reslrp.metrics.protocols.protocol import CurvePoints, Protocol
from reslrp.metrics.protocols.published import Published
from reslrp.metrics.protocols.strict import Strict

PROTOCOLS = {"published": Published, "strict": Strict, "levels": Levels}

__all__ = ["PROTOCOLS", "CurvePoints", "Levels", "Protocol", "Published", "Strict"]
