"""Task ``explain``: maps and pictures of photographs, without a score."""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from relsplit.bench.configuration.code import check_code
from relsplit.bench.configuration.folders import is_to_be_trained, run_folder
from relsplit.bench.configuration.settings import Explain, Model, Settings
from relsplit.bench.configuration.typed import each_explainer
from relsplit.bench.data.catalogue import Catalogue, Sample
from relsplit.bench.data.configured import read_catalogue
from relsplit.bench.data.labels import label_of
from relsplit.bench.data.samples import choose_samples
from relsplit.bench.explain.explained_network import explained_network
from relsplit.bench.explain.photographs import without_dataset
from relsplit.bench.explain.prepare import Prepared, prepare
from relsplit.bench.explain.sample_maps import sample_maps
from relsplit.bench.explain.samples import chosen_samples
from relsplit.bench.machine.terminal import say
from relsplit.bench.runs.folder import check_folder, claim_folder, holding
from relsplit.bench.runs.map_grid import map_grid
from relsplit.bench.runs.maps import MAPS, are_made_with, read_maps, write_maps
from relsplit.bench.runs.pictures import write_pictures
from relsplit.bench.runs.provenance import own_code
from relsplit.errors import IncompleteRun, InputError
from relsplit.files import write_bytes


def run(settings: Settings) -> None:
    """Explain by one method or by several (``task.explainers``), and say where the pictures are.

    Raises:
        InputError: as :func:`explain`.
        IncompleteRun: unreadable images were skipped (``dataset.on_bad_image=skip``).
    """
    several = each_explainer(settings)
    folders, incomplete = [], []
    for each in several:
        try:
            folders.append(explain(each))
        except IncompleteRun as error:
            incomplete.append(str(error))
    if incomplete:
        raise IncompleteRun(incomplete[0])
    if len(folders) > 1:
        names = settings.task_as(Explain).explainers or ()
        say(f"{len(folders)} methods side by side: {write_grid(folders, names)}")


def write_grid(folders: Sequence[Path], names: Sequence[str]) -> Path:
    """Draw the maps of several methods beside the same images; beside their folders, in a file that bears their hash.

    Args:
        folders: of the methods, which have explained the same samples.
        names: of the methods.
    """
    digest = hashlib.sha256("\n".join(folder.name for folder in folders).encode()).hexdigest()[:8]
    path = folders[0].parent / f"grid-{digest}.png"
    grid = io.BytesIO()
    titles = [name.replace("explainer.", "").replace(" ", "\n") for name in names]
    columns = [(title, read_maps(folder)) for title, folder in zip(titles, folders, strict=True)]
    map_grid(columns).savefig(grid, format="png", dpi=160, bbox_inches="tight")
    write_bytes(path, grid.getbuffer())
    return path


def explain(settings: Settings) -> Path:
    """Explain ``task.images`` (files), or the first samples that an evaluation would take.

    What is explained is the predicted class, or the one that ``task.target`` names.

    Returns:
        The run folder with maps.npz, config.yaml and pictures.

    Raises:
        InputError: the configuration, the data or a named file cannot be used; nothing was written.
        IncompleteRun: unreadable images were skipped; the maps of the others are written.
    """
    task = settings.task_as(Explain)
    own = photographs(task.images)
    if not own and (finished := explained_before(settings)) is not None:
        say(f"explained before: {finished}")
        return finished
    check_code(settings)
    if own:
        settings = configured_for_photographs(settings)
    choose = partial(with_target, samples=own) if own else shown_samples
    prepared = prepare(targeted(settings), choose).on_device()
    folder = run_folder("explain", prepared.settings, prepared.identity)
    with holding(folder):
        explain_prepared(prepared, folder, bool(own))
    return folder


def shown_samples(settings: Settings, catalogue: Catalogue) -> Sequence[Sample]:
    """Return the first samples that an evaluation would take, ``task.pictures`` of them."""
    count = settings.task_as(Explain).pictures
    return with_target(settings, catalogue, choose_samples(settings, catalogue)[:count])


def targeted(settings: Settings) -> Settings:
    """Return the settings with ``task.target``, if there is one, as the class that the explainer explains."""
    if settings.task_as(Explain).target is None:
        return settings
    document = settings.document()
    document["explainer"]["target"] = "label"
    return Settings.of(document)


def with_target(settings: Settings, catalogue: Catalogue, samples: Sequence[Sample]) -> Sequence[Sample]:
    """Return samples with ``task.target``, if there is one, as their label.

    Raises:
        InputError: the network has no such class.
    """
    target = settings.task_as(Explain).target
    if target is None:
        return samples
    label = label_of(target, catalogue.class_names, "task.target")
    return [replace(sample, label=label) for sample in samples]


def explained_before(settings: Settings) -> Path | None:
    """Return the folder that holds the maps of just the samples that are asked for, whole; None where none does.

    Nothing that the configuration names is imported for that, and no network is built. Maps that were made before the
    user's own code changed do not count.

    Raises:
        InputError: another process works in the folder, it belongs to another run, or the data cannot be used.
    """
    settings = targeted(settings)
    identity = settings.identity()
    folder = run_folder("explain", settings, identity)
    check_folder(folder, identity)
    if not (folder / MAPS).is_file():
        return None
    _, samples = chosen_samples(settings, shown_samples)
    with holding(folder):
        there = shows(folder, [sample.sample_id for sample in samples])
        return folder if there and are_made_with(folder, own_code(settings.code())) else None


def explain_prepared(prepared: Prepared, folder: Path, own: bool) -> None:
    """Write the maps and pictures of the samples into a run folder.

    Args:
        prepared: the task's ingredients.
        folder: of the run.
        own: the samples are photographs of the user's own, whose class nobody said.

    Raises:
        InputError: the folder belongs to another run, or no image can be read.
        IncompleteRun: unreadable images were skipped.
    """
    check_folder(folder, prepared.identity)
    task, samples, names = prepared.settings.task_as(Explain), prepared.samples, prepared.catalogue.class_names
    labelled = not own and task.target is None
    positions = range(len(samples))
    maps = sample_maps(prepared.explainer, prepared.dataset, positions, names, task.batch_size, labelled=labelled)
    if own and task.target is None:
        maps = replace(maps, label=maps.predicted)
    claim_folder(folder, prepared.identity)
    grid = write_pictures(folder, maps, title=prepared.title)
    write_maps(folder, maps, own_code(prepared.settings.code()))  # last: they say that the folder is whole
    say(f"{len(maps.sample_id)} maps of {network_in_words(prepared.settings.model)}: {grid}")
    skipped = [sample for sample in samples if sample.sample_id not in set(maps.sample_id.tolist())]
    if skipped:
        raise IncompleteRun(
            f"{len(skipped)} of {len(samples)} images were skipped, because they cannot be read ({skipped[0].path})"
        )


def configured_for_photographs(settings: Settings) -> Settings:
    """Return the settings for photographs of the user's own, which need no dataset.

    Raises:
        InputError: the label is to be explained, which nobody said, or the network cannot be used.
    """
    if settings.explainer.target == "label" and settings.task_as(Explain).target is None:
        raise InputError(
            "explainer.target=label: nobody said which class task.images are of, use predicted or task.target=CLASS"
        )
    if is_to_be_trained(settings):
        explained_network(settings, read_catalogue(settings.dataset))
    if settings.model.name == "demo":
        say("warning: the demo network knows drawn birds only; model=resnet50_imagenet knows photographs")
    return without_dataset(settings)


def shows(folder: Path, sample_ids: Sequence[str]) -> bool:
    """Say whether a folder holds the maps of just these samples, whole."""
    try:
        return list(read_maps(folder).sample_id) == list(sample_ids)
    except InputError:
        return False


def photographs(images: Sequence[str] | str | None) -> tuple[Sample, ...]:
    """Return files of the user's own as samples; their label is not known and not used (``target: predicted``).

    Raises:
        InputError: a file does not exist.
    """
    paths = [images] if isinstance(images, str) else list(images or [])
    missing = [path for path in paths if not Path(path).is_file()]
    if missing:
        raise InputError(f"task.images: there is no file {missing[0]}")
    return tuple(Sample(f"{index}-{Path(path).stem}", Path(path), 0, "test") for index, path in enumerate(paths))


def network_in_words(model: Model) -> str:
    """Return which network explained itself: "model=demo (best.ckpt)"."""
    weights = model.checkpoint or model.weights or "its constructor's weights"
    return f"model={model.name} ({weights})"
