"""Getting PASCAL VOC onto the disk."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torchvision.datasets.voc import DATASET_YEAR_DICT

from relsplit.bench.data.archive import extract
from relsplit.bench.data.download import check_md5, download
from relsplit.bench.data.voc import Year
from relsplit.files import discarded

ARCHIVES: dict[str, tuple[str, ...]] = {"2007": ("2007", "2007-test"), "2012": ("2012",)}
"""Of a year: names of its archives in torchvision's list, which has their addresses and md5 sums."""


def get_voc(
    data_dir: Path,
    year: Year = "2012",
    archives: Path | None = None,
    sources: Mapping[str, Mapping[str, Any]] = DATASET_YEAR_DICT,
) -> Path:
    """Makes ``data_dir/VOCdevkit/VOC<year>``; a folder that is there already is left as it is.

    Args:
        data_dir: where VOC lives; the archives are downloaded to it, and an interrupted download goes on.
        year: "2007" has an archive for training and one for testing, which end up in one folder.
        archives: a folder that holds the archives already.
        sources: ``url``, ``filename`` and ``md5`` of every archive.

    Returns:
        ``data_dir``, for ``dataset.root``.

    Raises:
        InputError: a download fails, an archive has another md5 sum, or it holds what it must not.
    """
    target = data_dir / "VOCdevkit" / f"VOC{year}"
    if target.is_dir():
        return data_dir
    with discarded(data_dir / f".VOC{year}") as partial:
        for name in ARCHIVES[year]:
            source = sources[name]
            archive = (archives or data_dir) / source["filename"]
            if archives is None:
                download(source["url"], archive, source["md5"])
            else:
                check_md5(archive, source["md5"])
            _merge(extract(archive, partial / name, "VOCdevkit") / f"VOC{year}", partial / "whole")
        target.parent.mkdir(parents=True, exist_ok=True)
        (partial / "whole").replace(target)
    return data_dir


def _merge(source: Path, target: Path) -> None:
    """Move the files of ``source`` into ``target``, folder by folder."""
    for path in sorted(source.rglob("*")):
        place = target / path.relative_to(source)
        if path.is_dir():
            place.mkdir(parents=True, exist_ok=True)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            path.replace(place)
