"""Where configuration files are searched: those of the package, then the ``conf`` of the working directory."""

from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin

from relsplit.bench.installation import PACKAGE, is_wheel
from relsplit.errors import InputError


def packaged() -> Path:
    """Return the folder of the package's own files: inside an installed package, at the top of a clone."""
    return PACKAGE / "conf" if is_wheel() else PACKAGE.parents[1] / "conf"


def own() -> Path | None:
    """Return the folder ``conf`` of the working directory; None where there is none, or it is the package's."""
    folder = Path("conf").resolve()
    return folder if folder.is_dir() and folder != packaged().resolve() else None


def folders() -> list[Path]:
    """Return all of them, in the order in which they are searched."""
    mine = own()
    return [packaged()] if mine is None else [packaged(), mine]


def search_own_files() -> None:
    """Let every composition of this process find the files of :func:`own`, too.

    Raises:
        InputError: one of them is called like one of the package's and says something else, so that it would be hidden.
    """
    mine = own()
    if mine is not None:
        for file in packaged().rglob("*.yaml"):
            name = file.relative_to(packaged())
            if (mine / name).is_file() and (mine / name).read_bytes() != file.read_bytes():
                raise InputError(
                    f"{Path('conf', name)} is hidden by the file of that name in relsplit: rename yours, or start "
                    "in a folder without it"
                )
    Plugins.instance().register(OwnFolder)


class OwnFolder(SearchPathPlugin):
    """Adds :func:`own` to what Hydra searches."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append the folder, where there is one."""
        mine = own()
        if mine is not None:
            search_path.append("conf of the working directory", str(mine))
