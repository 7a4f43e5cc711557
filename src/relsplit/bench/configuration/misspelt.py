"""What Hydra says of a misspelt key or group, with what may have been meant."""

import re
from collections.abc import Sequence
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from relsplit.bench.configuration.identity import flatten
from relsplit.spelling import did_you_mean

_NO_KEY = re.compile(r"Could not override '([^']+)'")
_NO_FILE = re.compile(r"(?:Could not find|In '[^']*': Could not find) '([\w./@-]+)'")
_NO_GROUP = re.compile(r"[Cc]ould not override '([^']+)'.*No match in the defaults list", re.DOTALL)


def explained(text: str, typed: Sequence[str], conf: Path) -> str:
    """Return Hydra's message in one sentence, with names that are spelt alike.

    Args:
        text: of Hydra's error.
        typed: the command line.
        conf: folder of the configuration files.
    """
    if found := _NO_FILE.search(text):
        if (launcher := found[1].removeprefix("hydra/launcher/")) in LAUNCHERS:
            return f"{found[1]} is not installed: it comes with `pip install -e '.[{LAUNCHERS[launcher]}]'`"
        group, _, name = found[1].rpartition("/")
        folder = conf / group
        while not folder.is_dir() and group:  # experiment/PAPER/NAME, where the paper is misspelt, too
            group, _, rest = group.rpartition("/")
            name, folder = f"{rest}/{name}", conf / group
        files = [path.relative_to(folder).with_suffix("").as_posix() for path in sorted(folder.rglob("*.yaml"))]
        options = [each for each in files if not each.rpartition("/")[2].startswith("_")]
        listed = f" ({', '.join(options)})" if len(options) <= MOST_LISTED else ""
        hint = did_you_mean(name, options)
        return (
            f"there is no {found[1]} in {conf.name}: {group.partition('/')[0]}= names a file of {group}/{listed}{hint}"
        )
    if (found := _NO_GROUP.search(text) or _NO_KEY.search(text)) is not None:
        key = found[1].partition("@")[0]
        return f"{key} is no setting{did_you_mean(key, known_keys(typed, conf))}"
    return text


MOST_LISTED = 30
LAUNCHERS = {"submitit_slurm": "slurm", "submitit_local": "slurm", "joblib": "parallel"}
"""Extras that bring Hydra's launchers."""


def known_keys(typed: Sequence[str], conf: Path) -> list[str]:
    """Return the keys of the configuration that the groups which were typed give, as far as these exist."""
    groups = {path.name for path in conf.iterdir() if path.is_dir()}
    chosen = [text for text in typed if text.partition("=")[0] in groups and "," not in text]
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf.resolve()), version_base="1.3"):
        for overrides in (chosen, []):
            try:
                config = OmegaConf.to_container(compose("config", overrides), resolve=False)
            except (HydraException, OmegaConfBaseException):
                continue
            assert isinstance(config, dict)
            flat = list(flatten({str(key): value for key, value in config.items()}))
            parts = [key.rsplit(".", depth)[0] for key in flat for depth in range(key.count(".") + 1)]
            return [*flat, *parts, *groups]
    return sorted(groups)
