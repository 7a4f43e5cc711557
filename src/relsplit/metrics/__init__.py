"""Metrics of attribution maps: one file is one metric, with its function and its columns of ``samples.csv``."""

from relsplit.lazy_exports import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__)
