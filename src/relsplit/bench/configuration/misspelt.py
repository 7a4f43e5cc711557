"""What Hydra says of a misspelt key or group, with what may have been meant."""

import itertools
import re
from collections.abc import Sequence

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from relsplit.bench.configuration.extras import how_to_install
from relsplit.bench.configuration.identity import flatten
from relsplit.bench.configuration.search_path import folders, packaged
from relsplit.spelling import did_you_mean

_NO_KEY = re.compile(r"Could not override '([^']+)'")
_NO_FILE = re.compile(r"(?:Could not find|In '[^']*': Could not find) '([\w./@-]+)'")
_LIST = re.compile(r"\[.*\]")
"""Several files at once; a comma outside is a sweep."""
_NO_GROUP = re.compile(r"[Cc]ould not override '([^']+)'.*No match in the defaults list", re.DOTALL)


def explained(text: str, typed: Sequence[str]) -> str:
    """Return Hydra's message in one sentence, with names that are spelt alike.

    Args:
        text: of Hydra's error.
        typed: the command line.
    """
    if found := _NO_FILE.search(text):
        if (launcher := found[1].removeprefix("hydra/launcher/")) in LAUNCHERS:
            return f"{found[1]} is not installed: it comes with {how_to_install(LAUNCHERS[launcher])}"
        group, _, name = found[1].rpartition("/")
        while group and not any((conf / group).is_dir() for conf in folders()):
            group, _, rest = group.rpartition("/")  # experiment/PAPER/NAME, where the paper is misspelt, too
            name = f"{rest}/{name}"
        options = options_of(group)
        listed = f" ({', '.join(options)})" if len(options) <= MOST_LISTED else ""
        hint = did_you_mean(name, options)
        return f"there is no {found[1]} in conf: {group.partition('/')[0]}= names a file of {group}/{listed}{hint}"
    if (found := _NO_GROUP.search(text) or _NO_KEY.search(text)) is not None:
        key = found[1].partition("@")[0]
        others = keys_of_files(key.partition(".")[0])
        if owners := others.get(key):
            group = key.partition(".")[0]
            return f"{key} is no setting of what is chosen; it comes with {group}={', '.join(owners)}"
        return f"{key} is no setting{did_you_mean(key, [*known_keys(typed), *others])}"
    return text


MOST_LISTED = 30
LAUNCHERS = {"submitit_slurm": "slurm", "submitit_local": "slurm", "joblib": "parallel"}
"""Extras that bring Hydra's launchers."""


def options_of(group: str) -> list[str]:
    """Return what a group can be, by name."""
    found = {
        path.relative_to(conf / group).with_suffix("").as_posix()
        for conf in folders()
        for path in (conf / group).rglob("*.yaml")
        if path.is_file()
    }
    return sorted(name for name in found if not name.rpartition("/")[2].startswith("_"))


def keys_of_files(group: str) -> dict[str, list[str]]:
    """Return the keys that the files of a group write out, with the names of these; {} for what is no group.

    What a file takes over from another of its group is not among its own keys.
    """
    found: dict[str, list[str]] = {}
    for conf, name in itertools.product(folders(), options_of(group)):
        file = conf / group / f"{name}.yaml"
        try:
            content = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
            is_global = file.read_text().startswith("# @package _global_")
        except (OSError, ValueError, yaml.YAMLError, OmegaConfBaseException):
            continue  # a file that was not asked for says itself what is wrong with it once it is
        if isinstance(content, dict):
            for key in flatten({str(key): value for key, value in content.items()}, "" if is_global else f"{group}."):
                found.setdefault(key, []).append(name)
    return found


def known_keys(typed: Sequence[str]) -> list[str]:
    """Return the keys of the configuration that the groups which were typed give, as far as these exist."""
    groups = {path.name for conf in folders() for path in conf.iterdir() if path.is_dir()}
    chosen = [text for text in typed if text.partition("=")[0] in groups and "," not in _LIST.sub("", text)]
    running = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        return _known_keys(groups, chosen)
    finally:
        GlobalHydra.instance().hydra = running  # further points of a sweep are composed with it


def _known_keys(groups: set[str], chosen: Sequence[str]) -> list[str]:
    with initialize_config_dir(str(packaged().resolve()), version_base="1.3"):
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
