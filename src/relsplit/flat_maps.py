"""What is said of maps in which no position stands out, because nothing was found that could."""

import warnings

from torch import Tensor


def warn_of_flat_maps(method: str, is_flat: Tensor, why: str, stacklevel: int) -> None:
    """Warn of the images of a batch whose map is flat, if there are any.

    Args:
        method: that made the maps.
        is_flat: (N,) bool.
        why: nothing stands out.
        stacklevel: of :func:`warnings.warn`, as seen by the caller.
    """
    flat = is_flat.nonzero().flatten().tolist()
    if flat:
        named = ", ".join(map(str, flat[:8]))
        warnings.warn(f"{method}: {why} in image {named} of the batch: flat map", stacklevel=stacklevel + 1)
