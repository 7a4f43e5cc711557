"""A file that an installed package brings: trained weights, photographs."""

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from relsplit.bench.configuration.extras import how_to_install
from relsplit.errors import InputError


def installed_file(package: str, file: str, extra: str) -> Path:
    """Return where a file of an installed package lies; no code of the package is run for that.

    Args:
        package: as the registry calls it ("scikit-image").
        file: as the package has it ("skimage/data/coffee.png").
        extra: of relsplit, that brings the package.

    Raises:
        InputError: the package is not installed, or lacks the file.
    """
    try:
        found = distribution(package)
    except PackageNotFoundError as error:
        raise InputError(f"{package} is not installed: it comes with {how_to_install(extra)}") from error
    path = Path(str(found.locate_file(file)))
    if not path.is_file():
        raise InputError(f"{package} {found.version} has no file {path}: `pip install --force-reinstall {package}`")
    return path
