"""Getting CUB-200-2011 onto the disk."""

from pathlib import Path

from relsplit.bench.data.archive import extract
from relsplit.bench.data.download import check_md5, download

CUB_URL = "https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz?download=1"
CUB_MD5 = "97eceeb196236b17998738112f37df78"
SEGMENTATIONS_URL = "https://data.caltech.edu/records/w9d68-gec53/files/segmentations.tgz?download=1"
SEGMENTATIONS_MD5 = "4d47ba1228eae64f2fa547c47bc65255"


def get_cub(data_dir: Path, archive: Path | None = None, url: str = CUB_URL, md5: str = CUB_MD5) -> Path:
    """Makes ``data_dir/CUB_200_2011``; a folder that is there already is left as it is.

    Args:
        data_dir: where data live.
        archive: ``CUB_200_2011.tgz`` on the disk; None downloads it to ``data_dir``, and goes on where an earlier
            attempt stopped.
        url: of the archive.
        md5: see ``url``.

    Returns:
        the folder, for ``dataset.root``.

    Raises:
        InputError: the download fails, the archive has another md5 sum, or it holds what it must not.
    """
    return _get(data_dir, "CUB_200_2011", archive, url, md5)


def get_segmentations(
    data_dir: Path, archive: Path | None = None, url: str = SEGMENTATIONS_URL, md5: str = SEGMENTATIONS_MD5
) -> Path:
    """Makes ``data_dir/segmentations``, which :func:`relsplit.bench.data.cub.read_cub` finds; as :func:`get_cub`."""
    return _get(data_dir, "segmentations", archive, url, md5)


def _get(data_dir: Path, content: str, archive: Path | None, url: str, md5: str) -> Path:
    if (data_dir / content).is_dir():
        return data_dir / content
    if archive is None:
        archive = data_dir / f"{content}.tgz"
        download(url, archive, md5)
    else:
        check_md5(archive, md5)
    return extract(archive, data_dir, content)
