"""Methods that say how much each pixel speaks for a class, one file each, and controls that know nothing."""

from relsplit.face import lazy_face

__getattr__, __all__ = lazy_face(__name__)
