"""Metrics of attribution maps: one file is one metric, with its function and its columns of ``samples.csv``."""

from relsplit.face import lazy_face

__getattr__, __all__ = lazy_face(__name__)
