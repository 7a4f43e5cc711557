"""Task ``conservation``: how much relevance arrives at the input and at the first and last residual block."""

from pathlib import Path

import pandas as pd
import torch
from hydra.utils import get_class
from torch.utils.data import DataLoader

from relsplit.bench.configuration.code import check_code
from relsplit.bench.configuration.folders import run_folder
from relsplit.bench.configuration.settings import Conservation, Settings
from relsplit.bench.data.catalogue import Sample
from relsplit.bench.data.dataset import collate_evaluation
from relsplit.bench.explain.prepare import Prepared, prepare
from relsplit.bench.machine.terminal import say
from relsplit.bench.runs.folder import check_folder, claim_folder, holding
from relsplit.bench.runs.provenance import own_code
from relsplit.bench.runs.records import CONSERVATION
from relsplit.errors import IncompleteRun, InputError
from relsplit.files import write_text
from relsplit.lrp import LRP
from relsplit.networks.answer import AnswerReader


def run(settings: Settings) -> None:
    """Measure the relevance sums and say how far they are from the probability.

    Raises:
        InputError: as :func:`measure`.
        IncompleteRun: unreadable images were skipped (``dataset.on_bad_image=skip``).
    """
    folder, skipped = measured(settings)
    frame = pd.read_csv(folder / CONSERVATION)
    places = ("input", "first_block", "last_block")
    gaps = ((frame[place] - frame["probability"]).abs() / frame["probability"] for place in places)
    largest = ", ".join(f"{place} {gap.max():.1e}" for place, gap in zip(places, gaps, strict=True))
    say(f"largest gap: {largest} ({len(frame)} samples)\n{folder}")
    if skipped:
        raise IncompleteRun(
            f"{len(skipped)} of {len(skipped) + len(frame)} samples were skipped, because their images cannot be read "
            f"({skipped[0].path})"
        )


def measure(settings: Settings) -> Path:
    """Explain the predicted class of every sample and write the relevance sums.

    Returns:
        The run folder with ``conservation.csv``: sample_id, probability, input, first_block, last_block, run,
        the hash of its configuration, and code, a digest of the user's own.

    Raises:
        InputError: the explainer is not relevance splitting, or the network has no residual block.
    """
    return measured(settings)[0]


def measured(settings: Settings) -> tuple[Path, list[Sample]]:
    """As :func:`measure`; return the samples that were skipped, too."""
    settings.task_as(Conservation)
    check_code(settings)
    if get_class(settings.explainer.import_path) is not LRP:
        raise InputError(
            f"relevance sums are those of relsplit.LRP: explainer={settings.explainer.name} has none, use ours"
        )
    prepared = prepare(settings)
    folder = run_folder("conservation", settings, prepared.identity)
    asked = {sample.sample_id for sample in prepared.samples}
    with holding(folder):
        check_folder(folder, prepared.identity)
        run, code = prepared.identity.hash, own_code(settings.code())
        found = _explained(folder, run, code)
        if found != asked and not (settings.dataset.on_bad_image == "skip" and found and found < asked):
            frame = relevance_sums(prepared.on_device())
            claim_folder(folder, prepared.identity)
            write_text(folder / CONSERVATION, frame.assign(run=run, code=code).to_csv(index=False, lineterminator="\n"))
            found = set(frame["sample_id"])
    return folder, [sample for sample in prepared.samples if sample.sample_id not in found]


def relevance_sums(prepared: Prepared) -> pd.DataFrame:
    """Return the relevance sums of the samples, one row each.

    Raises:
        InputError: the network has no residual block, or no image can be read.
    """
    explainer, network, settings = prepared.explainer.explainer, prepared.network, prepared.settings
    assert isinstance(explainer, LRP)
    device = next(network.parameters()).device
    lines, reader = [], AnswerReader()
    batch_size = settings.task_as(Conservation).batch_size
    for batch in DataLoader(prepared.dataset, batch_size=batch_size, collate_fn=collate_evaluation):
        if not batch.indices:
            continue
        images = batch.images.to(device)
        _, sums = explainer.attribute(images, return_sums=True)
        blocks = [name for name in sums if name not in ("input", "output")]
        if not blocks:
            name = settings.model.name
            raise InputError(f"model={name} has no residual block: its conservation has no such checkpoints")
        with torch.no_grad():
            answer = reader.read(network(images).double(), len(images))
        probability = answer.probability(answer.predicted)
        columns = [probability, sums["input"], sums[blocks[0]], sums[blocks[-1]]]
        for index, values in zip(batch.indices, torch.stack([c.double().cpu() for c in columns], dim=1), strict=True):
            lines.append([prepared.samples[index].sample_id, *values.tolist()])
    if not lines:
        first = prepared.samples[0].path
        raise InputError(f"none of the {len(prepared.samples)} images can be read ({first} and the others)")
    frame: pd.DataFrame = pd.DataFrame(
        lines, columns=["sample_id", "probability", "input", "first_block", "last_block"]
    )
    return frame


def _explained(folder: Path, run: str, code: str) -> set[str]:
    """Ids of the samples whose sums the folder holds; none where the file is damaged, another run's or other code's."""
    try:
        texts = dict.fromkeys(("sample_id", "run", "code"), str)
        frame = pd.read_csv(folder / CONSERVATION, dtype=texts, keep_default_na=False)
        ours = set(frame["run"]) == {run} and set(frame["code"]) == {code}
        whole = ours and frame.select_dtypes("number").shape[1] == 4
        return set(frame["sample_id"]) if whole else set()
    except (OSError, ValueError, KeyError):
        return set()
