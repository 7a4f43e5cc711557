"""Every task in small, stopped at each of its file operations, and what it comes to when it is started again."""

import csv
import fcntl
import io
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from deeds import CURVES, replace_images
from hostile_inputs import demo_network, write_photographs
from relsplit.bench.runs.folder import LOCK
from small_runs import TINY_NETWORK
from starts import Ended, Starts

SMALL = (
    "dataset=image_folder", "dataset.root=../photographs", "dataset.resize=32", "dataset.image_size=32",
    "dataset.num_workers=0", "logger=none", "device=cpu",
)  # fmt: skip
DEMO = ("model=demo", "model.checkpoint=../weights.pt")
SIX = ("num_samples=6", "task.batch_size=3", "protocol=[published]", "metric=[sparsity]", "task.pictures=1")
TRAINING = (
    *TINY_NETWORK, "model.num_classes=3", "trainer.max_epochs=2", "trainer.batch_size=5", "dataset.catalogue.num_val=3",
)  # fmt: skip
ROWS = (
    "reproduce.rows=[{label: Edges, overrides: ['explainer=edges']}, {label: Center, overrides: ['explainer=center']}]"
)
TASKS: dict[str, tuple[str, ...]] = {
    "evaluate": (*SMALL, *DEMO, *SIX, "explainer=edges", "output_dir=run"),
    "together": (*SMALL, *DEMO, *SIX, "task.explainers=[edges,center]", "output_dir=run"),
    "train": ("task=train", *SMALL, *TRAINING, "output_dir=run"),
    "train_and_evaluate": (
        *SMALL, *TRAINING, *SIX, "explainer=edges", "+model.train_if_missing=true",
        "model.checkpoint=outputs/train/image_folder/custom/seed42/best.ckpt",
    ),
    "explain": ("task=explain", *SMALL, *DEMO, "explainer=edges", "task.pictures=2", "output_dir=run"),
    "conservation": ("task=conservation", *SMALL, *DEMO, "num_samples=3", "explainer=ours", "output_dir=run"),
    "sweep": ("-m", *SMALL, *DEMO, *SIX, "explainer=edges,center"),
    "reproduce": (
        "experiment=otsuki2024/table1", *SMALL, *DEMO, *SIX, ROWS, "reproduce.product.reference=null",
        "reproduce.controls=[]", "reproduce.processes=1",
    ),
}  # fmt: skip
LOADING = (
    *SMALL, *DEMO, *SIX, "task.batch_size=1", "num_samples=12", "explainer=ours", "dataset.num_workers=1",
    "output_dir=run",
)  # fmt: skip
TIMED = ("seconds", "seconds_per_sample", "command", "check", "samples_check", "hardware", "modified")
PICTURES = (".png", ".pdf")
TORN = "a torn picture"


@dataclass(frozen=True)
class Outcome:
    """What a start that was stopped came to.

    Attributes:
        operation: at which it was stopped.
        moment: before or after it.
        found: what differs from an undisturbed run, and how the second start ended; empty where all is as it should be.
    """

    operation: str
    moment: str
    found: str


def make_world(root: Path) -> None:
    """Write the photographs and the weights that the tasks name."""
    write_photographs(root / "photographs", train=4)
    torch.save(demo_network(3).state_dict(), root / "weights.pt")


def undisturbed(starts: Starts, root: Path, task: Sequence[str]) -> tuple[Ended, dict[str, Any]]:
    """Carry a task out; return how it ended, with its operations, and what it has left."""
    folder = fresh(root)
    ended = starts.start(task, folder)
    assert ended.code == 0, ended.error
    return ended, state(folder)


def prepared(starts: Starts, root: Path) -> tuple[int, dict[str, Any], dict[str, Any]]:
    """Make what :func:`disturbed` needs.

    Returns:
        The number of file operations until an evaluation has written its summary, what it leaves, and what it leaves
        where the images are those of the deed.
    """
    another = ["explainer=center" if text == "explainer=edges" else text for text in TASKS["evaluate"]]
    undisturbed(starts, root, another)
    shutil.copy(root / "work" / CURVES, root / "other.jsonl")
    ended, expected = undisturbed(starts, root, TASKS["evaluate"])
    shutil.copytree(root / "photographs", root / "kept")
    replace_images(root / "photographs")
    _, renewed = undisturbed(starts, root, TASKS["evaluate"])
    shutil.rmtree(root / "photographs")
    (root / "kept").rename(root / "photographs")
    return ended.operations.index("replace run/summary.json") + 1, expected, renewed


def fresh(root: Path) -> Path:
    """Return an empty folder to work in."""
    folder = root / "work"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def stopped(
    starts: Starts, root: Path, task: Sequence[str], number: int, moment: str, expected: dict[str, Any]
) -> Outcome:
    """Stop a task at a file operation, start it again, and compare."""
    folder = fresh(root)
    first = starts.start(task, folder, number, moment)
    operation = first.operations[-1] if first.operations else "none"
    if first.code != -9 or len(first.operations) != number:
        return Outcome(operation, moment, f"was not stopped: code {first.code}, {len(first.operations)} operations")
    return Outcome(operation, moment, torn_pictures(folder) or after_another_start(starts, folder, task, expected))


def after_another_start(starts: Starts, folder: Path, task: Sequence[str], expected: dict[str, Any]) -> str:
    """Start a task that was disturbed once more; return what differs from an undisturbed run, "" for nothing."""
    second = starts.start(task, folder)
    if second.code != 0:
        return f"the second start ended with code {second.code}: {second.error.strip()[:300]}"
    return difference(state(folder), expected)


def disturbed(
    starts: Starts, root: Path, number: int, deed: str, expected: dict[str, Any], renewed: dict[str, Any]
) -> Outcome:
    """Do something to the files of an evaluation that goes on; it must notice, or not be touched by it.

    Args:
        starts: starts the evaluation.
        root: see :func:`make_world`.
        number: of the file operation before which it happens.
        deed: one of :data:`deeds.DEEDS`.
        expected: what an undisturbed evaluation leaves.
        renewed: what it leaves where the images are those of the deed.
    """
    task = TASKS["evaluate"]
    folder = fresh(root)
    photographs, kept = root / "photographs", root / "kept"
    shutil.copytree(photographs, kept)
    try:
        first = starts.start(task, folder, number, deed=deed)
        operation = first.operations[number - 1] if len(first.operations) >= number else "none"
        found = _after_disturbance(starts, folder, task, first, deed, expected, renewed)
    finally:
        shutil.rmtree(photographs)
        kept.rename(photographs)
    return Outcome(operation, deed, found)


def _after_disturbance(
    starts: Starts, folder: Path, task: Sequence[str], first: Ended, deed: str, expected: dict[str, Any],
    renewed: dict[str, Any],
) -> str:  # fmt: skip
    replaced = deed == "the_images_are_replaced"
    elsewhere = folder / "elsewhere"
    if first.code == 0:
        if elsewhere.exists():
            return f"code 0 without {task[-1]}" if difference(state(elsewhere.parent / "run"), {}) else ""
        was = difference(state(folder), expected)
        if was and replaced:
            was = difference(state(folder), renewed)
        return f"code 0 with {was}" if was else ""
    if first.code not in (1, 2) or first.error.count("\n") != 1:
        return f"code {first.code}: {first.error.strip()[:300]}"
    shutil.rmtree(elsewhere, ignore_errors=True)
    if replaced:
        again = starts.start([*task, "task.on_change=anew"], folder)
        return (
            difference(state(folder), renewed) if again.code == 0 else f"code {again.code}: {again.error.strip()[:300]}"
        )
    return after_another_start(starts, folder, task, expected)


def without_loaders(starts: Starts, root: Path, number: int, deed: str, expected: dict[str, Any]) -> Outcome:
    """Kill the data-loading process of an evaluation at a file operation or soon after; start it again, and compare.

    Either it had loaded everything, or the evaluation says in a line that it is gone.
    """
    folder = fresh(root)
    first = starts.start(LOADING, folder, number, deed=deed)
    operation = first.operations[number - 1] if len(first.operations) >= number else "none"
    if first.code == 0:
        return Outcome(operation, deed, difference(state(folder), expected))
    if first.code != 1 or first.error.count("\n") != 1 or "a data-loading process was killed" not in first.error:
        return Outcome(operation, deed, f"code {first.code}: {first.error.strip()[:300]}")
    return Outcome(operation, deed, after_another_start(starts, folder, LOADING, expected))


def limited(starts: Starts, root: Path, task: Sequence[str], largest: int, expected: dict[str, Any]) -> Outcome:
    """Carry a task out where no file may have more than so many bytes, start it again without that, and compare."""
    folder = fresh(root)
    first = starts.start(task, folder, largest_file=largest)
    return Outcome(f"files of {largest} bytes", "", after_a_full_disk(starts, folder, task, first, expected))


def after_a_full_disk(starts: Starts, folder: Path, task: Sequence[str], first: Ended, expected: dict[str, Any]) -> str:
    """Check that a start for which there was no room has said so in a line, make room, start again, and compare."""
    if first.code == 0:
        return difference(state(folder), expected)
    if first.code != 1 or first.error.count("\n") != 1 or "start the same command" not in first.error:
        return f"code {first.code}: {first.error.strip()[:300]}"
    if left := [name for name in state(folder) if ".tmp" in name]:
        return f"left over by the full disk: {', '.join(left)}"
    if torn := torn_pictures(folder):
        return torn
    return after_another_start(starts, folder, task, expected)


def difference(found: dict[str, Any], expected: dict[str, Any]) -> str:
    """Say in what two states differ, "" where they do not."""
    if more := sorted(found.keys() - expected.keys()):
        return f"left over: {', '.join(more)}"
    if fewer := sorted(expected.keys() - found.keys()):
        return f"missing: {', '.join(fewer)}"
    other = [name for name in expected if not _equal(found[name], expected[name])]
    return f"another content: {', '.join(other)}" if other else ""


def state(folder: Path) -> dict[str, Any]:
    """Return the content of every file below a folder, without what no two runs have in common: times.

    A lock that nobody holds is none: of a training that is done nobody takes it again.
    """
    return {
        path.relative_to(folder).as_posix(): "unfinished" if ".tmp" in path.name else _content(path)
        for path in folder.rglob("*")
        if path.is_file() and (path.name != LOCK or is_held(path))
    }


def is_held(lock: Path) -> bool:
    """Whether a process holds a lock."""
    with lock.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _content(path: Path) -> Any:
    try:
        return _parsed(path)
    except ValueError:
        return path.read_text(errors="replace")


def _parsed(path: Path) -> Any:
    if path.suffix == ".json":
        return _timeless(json.loads(path.read_text()))
    if path.suffix == ".jsonl":
        return [_timeless(json.loads(line)) for line in path.read_text().splitlines()]
    if path.suffix == ".csv":
        return [_timeless(row) for row in csv.DictReader(io.StringIO(path.read_text()))]
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return {name: arrays[name].tolist() for name in arrays.files}
    if path.suffix == ".ckpt":
        return torch.load(path, weights_only=True)["state_dict"]
    if path.suffix in PICTURES:
        return TORN if is_torn(path) else "a picture"
    if path.suffix == ".html":
        return len(path.read_text()) > 0
    return path.read_text()


def is_torn(picture: Path) -> bool:
    """Whether a PNG or PDF file is not there to its end."""
    if picture.suffix == ".pdf":
        return not picture.read_bytes().endswith(b"%%EOF\n")
    try:
        with Image.open(picture) as image:
            image.load()
    except OSError:
        return True
    return False


def torn_pictures(folder: Path) -> str:
    """Name the pictures below a folder that a reader would find torn, "" for none; unfinished ones have other names."""
    files = [path for path in folder.rglob("*") if path.suffix in PICTURES and ".tmp" not in path.name]
    torn = sorted(path.relative_to(folder).as_posix() for path in files if is_torn(path))
    return f"{TORN}: {', '.join(torn)}" if torn else ""


def _timeless(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _timeless(value) for key, value in content.items() if key not in TIMED}
    return [_timeless(value) for value in content] if isinstance(content, list) else content


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    return bool(one == other)
