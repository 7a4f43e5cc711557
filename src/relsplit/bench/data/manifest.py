"""A chosen set of samples as a CSV file that can be shared, so that two labs evaluate the same images."""

import csv
from collections.abc import Sequence
from pathlib import Path

from relsplit.bench.data.catalogue import Catalogue, Sample
from relsplit.errors import InputError
from relsplit.files import replacing

COLUMNS = ("sample_id", "path", "label", "class")


def write_manifest(path: Path, samples: Sequence[Sample], catalogue: Catalogue) -> None:
    """Writes one row (sample_id, path relative to the dataset's root, label, class) per sample, in order."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for sample in samples:
            row = (sample.sample_id, catalogue.relative_path(sample), sample.label, catalogue.class_names[sample.label])
            writer.writerow(row)


def read_manifest(path: Path, samples: Sequence[Sample], catalogue: Catalogue) -> tuple[Sample, ...]:
    """Those of the samples that a manifest names, in the manifest's order.

    Args:
        path: file written by :func:`write_manifest`.
        samples: the samples of the split that is evaluated.
        catalogue: their dataset.

    Raises:
        InputError: the file is missing or no manifest, or a row does not fit the samples; names file and line.
    """
    if not path.is_file():
        raise InputError(f"there is no manifest {path}: correct dataset.manifest, or set it to null to sample afresh")
    by_path = {catalogue.relative_path(sample): sample for sample in samples}
    chosen: dict[str, Sample] = {}
    with path.open(encoding="utf-8-sig", errors="backslashreplace", newline="") as file:
        reader = csv.reader(file)
        if tuple(next(reader, ())) != COLUMNS:
            raise InputError(f"{path}, line 1: not a manifest, whose header is {','.join(COLUMNS)}")
        for row in reader:
            where = f"{path}, line {reader.line_num}"
            if len(row) != len(COLUMNS):
                raise InputError(f"{where}: {len(row)} fields instead of {len(COLUMNS)}; the file may have been cut")
            _, relative, label, class_name = row
            sample = by_path.get(relative)
            if sample is None:
                raise InputError(f"{where}: {relative} is not in the split that is evaluated of {catalogue.root}")
            if (label, class_name) != (str(sample.label), catalogue.class_names[sample.label]):
                raise InputError(
                    f"{where}: {relative} has label {label} ({class_name}) here, but {sample.label} "
                    f"({catalogue.class_names[sample.label]}) in the dataset: the manifest is of another dataset"
                )
            if relative in chosen:
                raise InputError(f"{where}: {relative} is listed twice")
            chosen[relative] = sample
    if not chosen:
        raise InputError(f"{path}: the manifest names no samples")
    return tuple(chosen.values())
