"""Going on with an evaluation: what of an earlier start still holds."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from relsplit.data.readable import check_readable
from relsplit.errors import InputError
from relsplit.runs.folder import CONFIG
from relsplit.runs.provenance import is_changed, made_with
from relsplit.runs.store import CURVES, Entry, SampleStore
from relsplit.runs.summary import EVALUATION, read_summary
from relsplit.tasks.setup.configuration import targets
from relsplit.tasks.setup.prepare import Prepared
from relsplit.tasks.setup.terminal import say


def begin(store: SampleStore, prepared: Prepared, order: Sequence[str]) -> None:
    """Bring what an earlier start has left into order, and check that this one may go on with it.

    Raises:
        InputError: rows were measured by other code or on other images and ``task.on_change`` is "refuse", or, before
            the first start, an image cannot be read.
    """
    dataset, folder = prepared.config["dataset"], store.folder
    if not (folder / CONFIG).exists():
        if dataset["on_bad_image"] == "error":  # one bad image shall show before hours of work
            check_readable(prepared.samples, dataset["num_workers"])
        return
    if damaged := store.damaged():
        say(f"warning: {damaged} lines of {folder / CURVES} are damaged: their samples are measured again")
    changed = changed_since(store.entries(), prepared)
    if changed and prepared.config["task"]["on_change"] == "refuse":
        reasons = "; ".join(sorted(set(changed.values())))
        raise InputError(
            f"{folder} holds {len(changed)} samples that would be measured differently now ({reasons}): say "
            "task.on_change=anew to measure them again, task.on_change=accept to keep them, or another output_dir"
        )
    store.merge(order, changed if prepared.config["task"]["on_change"] == "anew" else ())


def changed_since(entries: Mapping[str, Entry], prepared: Prepared) -> dict[str, str]:
    """Return the samples that would be measured differently now, and why.

    Another version of this package or of a library counts only where samples are left to be measured: a finished run
    keeps its numbers (``results_version`` says when they must not be kept), but none is of two kinds.
    """
    now = made_with(targets(prepared.config))
    finished = all(sample.sample_id in entries for sample in prepared.samples)
    counted = {"own": "the code that the configuration names has changed"}
    if not finished:
        counted |= {"package": "relsplit's code has changed", "libraries": "versions of libraries have changed"}
    found = {}
    for sample in prepared.samples:
        entry = entries.get(sample.sample_id)
        if entry is None:
            continue
        for name, reason in counted.items():
            if entry.made_with.get(name) != now[name]:
                found[sample.sample_id] = reason
        if is_changed(sample.path, entry.image):
            found[sample.sample_id] = f"the image {sample.path} has changed"
    return found


def is_summarised(folder: Path, done: int) -> bool:
    """Say whether the summary of so many samples is there, whole."""
    try:
        return bool(read_summary(folder, EVALUATION)["num_samples"] == done)
    except InputError:
        return False
