"""Going on with an evaluation: what of an earlier start still holds."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from relsplit.bench.configuration.folders import SUMMARY, run_folder
from relsplit.bench.configuration.identity import Identity
from relsplit.bench.configuration.settings import Conservation, Evaluate, Explain, Settings
from relsplit.bench.data.catalogue import Sample
from relsplit.bench.data.readable import check_readable
from relsplit.bench.explain.samples import chosen_samples
from relsplit.bench.machine.processes import first_process
from relsplit.bench.machine.terminal import say
from relsplit.bench.runs.folder import CONFIG, check_folder, holding
from relsplit.bench.runs.maps import MAPS, kept_maps
from relsplit.bench.runs.provenance import is_changed, made_with
from relsplit.bench.runs.records import CONSERVATION
from relsplit.bench.runs.store import CURVES, Entry, MeasuredSamples, SampleStore
from relsplit.bench.runs.summary import EVALUATION, SAMPLES_CHECK, read_summary
from relsplit.errors import InputError

LAST_FILES = {
    Evaluate: ("evaluate", SUMMARY),
    Explain: ("explain", MAPS),
    Conservation: ("conservation", CONSERVATION),
}
"""The file that a task leaves in the end; it may be damaged since."""


def finished_folder(settings: Settings) -> Path | None:
    """Return the folder of an evaluation that has nothing left to do; None where something is left, or may be wrong.

    Nothing that the configuration names is imported for that, no network is built and nothing is written: the folder is
    of this very configuration, all of its samples are there, whole, and neither their images nor the user's own code
    has changed since they were measured.

    Raises:
        InputError: another process works in the folder, or the data cannot be used.
    """
    identity = settings.identity()
    folder = run_folder("evaluate", settings, identity)
    if not was_carried_out(folder, identity):
        return None
    _, samples = chosen_samples(settings)
    with holding(folder) if first_process() else nullcontext():
        measured = SampleStore(folder, identity).read()
        if not measured.are([sample.sample_id for sample in samples]):
            return None
        if not is_summarised(folder, identity, measured.check) or lacks_maps(folder, settings, measured):
            return None
        accepted = settings.task_as(Evaluate).on_change == "accept"
        if not accepted and changed_since(measured.entries, samples, settings):
            return None
    say_done(settings, folder, len(measured.entries), len(samples))
    return folder


def lacks_maps(folder: Path, settings: Settings, measured: MeasuredSamples) -> bool:
    """Say whether ``task.maps`` asks for more maps than a run keeps, which holds all of its samples."""
    wanted = min(settings.task_as(Evaluate).maps or 0, len(measured.entries))
    return kept_maps(folder) < wanted


def was_measured(settings: Settings) -> bool:
    """Say whether these very settings were carried out once, so that their options were checked."""
    if type(settings.task) not in LAST_FILES:
        return False
    task, file = LAST_FILES[type(settings.task)]
    identity = settings.identity()
    folder = run_folder(task, settings, identity)
    try:
        check_folder(folder, identity)
    except (InputError, OSError):  # whoever goes on with the folder says what is wrong with it
        return False
    return (folder / file).is_file()


def was_carried_out(folder: Path, identity: Identity) -> bool:
    """Say whether a folder holds an evaluation of this identity that came to its end once.

    Args:
        folder: of the run.
        identity: of the run.
    """
    try:
        check_folder(folder, identity)
        return bool(read_summary(folder, EVALUATION))
    except (InputError, OSError):  # whoever goes on with the folder says what is wrong with it
        return False


def begin(runs: Sequence[tuple[Settings, SampleStore]], samples: Sequence[Sample]) -> list[MeasuredSamples]:
    """Bring what an earlier start has left into order, and check that this one may go on with it.

    Args:
        runs: settings and folder of each; they are of the same samples.
        samples: of the runs, in order.

    Returns:
        What each folder holds.

    Raises:
        InputError: rows were measured by other code or on other images and ``task.on_change`` is "refuse", or, before
            the first start, an image cannot be read.
    """
    new = [not (store.folder / CONFIG).exists() for _, store in runs]
    found = [
        store.read() if is_new else go_on(settings, store, samples)
        for (settings, store), is_new in zip(runs, new, strict=True)
    ]
    dataset = runs[0][0].dataset
    if any(new) and dataset.on_bad_image == "error":  # one bad image shall show before hours of work
        check_readable(samples, dataset.num_workers)
    return found


def go_on(settings: Settings, store: SampleStore, samples: Sequence[Sample]) -> MeasuredSamples:
    """Bring what an earlier start has left of one run into order; see :func:`begin`."""
    folder, on_change = store.folder, settings.task_as(Evaluate).on_change
    measured = store.read()
    if measured.damaged:
        say(
            f"warning: {measured.damaged} lines of {folder / CURVES} are damaged or another run's: their samples are "
            "measured again"
        )
    changed = changed_since(measured.entries, samples, settings)
    if changed and on_change == "refuse":
        reasons = "; ".join(sorted(set(changed.values())))
        raise InputError(
            f"{folder} holds {len(changed)} samples that would be measured differently now ({reasons}): say "
            "task.on_change=anew to measure them again, task.on_change=accept to keep them, or another output_dir"
        )
    anew = changed if on_change == "anew" else {}
    tried_again = replace(measured, skipped={})
    return store.merge(tried_again, [sample.sample_id for sample in samples if sample.sample_id not in anew])


def changed_since(entries: Mapping[str, Entry], samples: Sequence[Sample], settings: Settings) -> dict[str, str]:
    """Return the samples that would be measured differently now, and why.

    Another version of this package or of a library counts only where samples are left to be measured: a finished run
    keeps its numbers (``results_version`` says when they must not be kept), but none is of two kinds.
    """
    now = made_with(settings.code())
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


def say_done(settings: Settings, folder: Path, done: int, count: int) -> None:
    """Say how many of the samples of a run are measured."""
    protocols = ", ".join(settings.protocol)
    say(f"{done} of {count} samples done, {folder}", title=f"{settings.title}, {protocols}")


def is_summarised(folder: Path, identity: Identity, check: str) -> bool:
    """Say whether the summary of a run is there, whole, and of the very samples that the folder holds.

    Args:
        folder: of the run.
        identity: of the run.
        check: of these samples.
    """
    try:
        summary = read_summary(folder, EVALUATION)
    except InputError:
        return False
    return (summary["config_hash"], summary[SAMPLES_CHECK]) == (identity.hash, check)
