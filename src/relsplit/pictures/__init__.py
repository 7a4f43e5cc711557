"""Attribution maps as pictures."""

from relsplit.lazy_exports import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__)
