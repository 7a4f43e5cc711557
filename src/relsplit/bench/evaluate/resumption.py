"""Going on with an evaluation: what of an earlier start still holds."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from relsplit.bench.configuration.configuration import resolved, run_folder, run_title, targets
from relsplit.bench.data.catalogue import Sample
from relsplit.bench.data.readable import check_readable
from relsplit.bench.data.samples import chosen_samples
from relsplit.bench.machine.processes import first_process
from relsplit.bench.machine.terminal import say
from relsplit.bench.runs.folder import CONFIG, check_folder, holding
from relsplit.bench.runs.identity import config_hash, identified
from relsplit.bench.runs.maps import MAPS
from relsplit.bench.runs.provenance import is_changed, made_with
from relsplit.bench.runs.records import CONSERVATION
from relsplit.bench.runs.store import CURVES, Entry, SampleStore, samples_check
from relsplit.bench.runs.summary import EVALUATION, SAMPLES_CHECK, SUMMARY, read_summary
from relsplit.errors import InputError

LEFT = {
    "relsplit.bench.evaluate.task.run": ("evaluate", SUMMARY),
    "relsplit.bench.explain.task.run": ("explain", MAPS),
    "relsplit.bench.conservation.task.run": ("conservation", CONSERVATION),
}
"""The file that a task leaves in the end; it may be damaged since."""


def finished_folder(cfg: DictConfig) -> Path | None:
    """Return the folder of an evaluation that has nothing left to do; None where something is left, or may be wrong.

    Nothing that the configuration names is imported for that, no network is built and nothing is written: the folder is
    of this very configuration, all of its samples are there, whole, and neither their images nor the user's own code
    has changed since they were measured.

    Raises:
        InputError: another process works in the folder, or the data cannot be used.
    """
    config = identified(resolved(cfg))
    folder = run_folder("evaluate", config)
    if not was_carried_out(folder, config):
        return None
    _, samples = chosen_samples(cfg)
    with holding(folder) if first_process() else nullcontext():
        entries = SampleStore(folder, config).whole_entries([sample.sample_id for sample in samples])
        if entries is None or not is_summarised(folder, config):
            return None
        if config["task"]["on_change"] != "accept" and changed_since(entries, samples, config):
            return None
    say_done(config, folder, len(entries), len(samples))
    return folder


def was_measured(cfg: DictConfig) -> bool:
    """Say whether this very configuration was carried out once, so that its options were checked; see :data:`LEFT`."""
    if cfg.task["_target_"] not in LEFT:
        return False
    task, file = LEFT[cfg.task["_target_"]]
    config = identified(resolved(cfg))
    folder = run_folder(task, config)
    try:
        check_folder(folder, config)
    except (InputError, OSError):  # whoever goes on with the folder says what is wrong with it
        return False
    return (folder / file).is_file()


def was_carried_out(folder: Path, config: Mapping[str, Any]) -> bool:
    """Say whether a folder holds an evaluation of this configuration that came to its end once.

    Args:
        folder: of the run.
        config: with what identifies the run.
    """
    try:
        check_folder(folder, config)
        return bool(read_summary(folder, EVALUATION))
    except (InputError, OSError):  # whoever goes on with the folder says what is wrong with it
        return False


def begin(stores: Sequence[SampleStore], samples: Sequence[Sample]) -> None:
    """Bring what an earlier start has left into order, and check that this one may go on with it.

    Args:
        stores: of the runs, which are of the same samples.
        samples: of the runs, in order.

    Raises:
        InputError: rows were measured by other code or on other images and ``task.on_change`` is "refuse", or, before
            the first start, an image cannot be read.
    """
    new = [store for store in stores if not (store.folder / CONFIG).exists()]
    for store in stores:
        if store not in new:
            go_on(store, samples)
    if new and new[0].config["dataset"]["on_bad_image"] == "error":  # one bad image shall show before hours of work
        check_readable(samples, new[0].config["dataset"]["num_workers"])


def go_on(store: SampleStore, samples: Sequence[Sample]) -> None:
    """Bring what an earlier start has left of one run into order; see :func:`begin`."""
    folder, config, on_change = store.folder, store.config, store.config["task"]["on_change"]
    if damaged := store.damaged():
        say(
            f"warning: {damaged} lines of {folder / CURVES} are damaged or another run's: their samples are measured "
            "again"
        )
    changed = changed_since(store.entries(), samples, config)
    if changed and on_change == "refuse":
        reasons = "; ".join(sorted(set(changed.values())))
        raise InputError(
            f"{folder} holds {len(changed)} samples that would be measured differently now ({reasons}): say "
            "task.on_change=anew to measure them again, task.on_change=accept to keep them, or another output_dir"
        )
    store.forget_skipped()
    store.merge([sample.sample_id for sample in samples], changed if on_change == "anew" else ())


def changed_since(entries: Mapping[str, Entry], samples: Sequence[Sample], config: Mapping[str, Any]) -> dict[str, str]:
    """Return the samples that would be measured differently now, and why.

    Another version of this package or of a library counts only where samples are left to be measured: a finished run
    keeps its numbers (``results_version`` says when they must not be kept), but none is of two kinds.
    """
    now = made_with(targets(config))
    counted = {"own": "the code that the configuration names has changed"}
    if any(sample.sample_id not in entries for sample in samples):
        counted |= {"package": "relsplit's code has changed", "libraries": "versions of libraries have changed"}
    found = {}
    for sample in samples:
        entry = entries.get(sample.sample_id)
        if entry is None:
            continue
        for name, reason in counted.items():
            if entry.made_with.get(name) != now[name]:
                found[sample.sample_id] = reason
        if is_changed(sample.path, entry.image):
            found[sample.sample_id] = f"the image {sample.path} has changed"
    return found


def say_done(config: dict[str, Any], folder: Path, done: int, count: int) -> None:
    """Say how many of the samples of a run are measured."""
    protocols = ", ".join(config["protocol"])
    say(f"{done} of {count} samples done, {folder}", title=f"{run_title(config)}, {protocols}")


def is_summarised(folder: Path, config: Mapping[str, Any]) -> bool:
    """Say whether the summary of a run is there, whole, and of the very samples that the folder holds."""
    try:
        summary = read_summary(folder, EVALUATION)
    except InputError:
        return False
    return (summary["config_hash"], summary[SAMPLES_CHECK]) == (config_hash(config), samples_check(folder))
