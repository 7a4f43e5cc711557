"""Methods that say how much each pixel speaks for a class, one file each, and controls that know nothing."""

from relsplit.lazy_exports import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__)
