"""Layer-wise relevance propagation with relevance splitting: maps whose relevance sums to what is explained."""

from relsplit.lazy_exports import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__)
