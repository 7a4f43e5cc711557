"""Which images can be read, found out before work starts."""

import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from rich.progress import track

from relsplit.bench.data.catalogue import Sample
from relsplit.bench.data.image_reading import BadImage, read_image


def readable(samples: Sequence[Sample], num_workers: int) -> tuple[Sample, ...]:
    """Those samples whose images can be read; a warning names the others."""
    errors = _errors(samples, num_workers)
    bad = [f"{sample.path} ({error.reason})" for sample, error in zip(samples, errors, strict=True) if error]
    if bad:
        warnings.warn(f"left out {len(bad)} of {len(samples)} images: {'; '.join(bad)}", stacklevel=2)
    return tuple(sample for sample, error in zip(samples, errors, strict=True) if error is None)


def check_readable(samples: Sequence[Sample], num_workers: int) -> None:
    """Raise the BadImage of the first sample whose image cannot be read, if there is one."""
    for error in _errors(samples, num_workers):
        if error is not None:
            raise error


def _errors(samples: Sequence[Sample], num_workers: int) -> list[BadImage | None]:
    def error_of(sample: Sample) -> BadImage | None:
        try:
            read_image(sample.path)
        except BadImage as error:
            return error
        return None

    with ThreadPoolExecutor(max(num_workers, 1)) as pool:
        return list(
            track(pool.map(error_of, samples), description="Checking images", total=len(samples), transient=True)
        )
