"""Tasks that are stopped, disturbed or short of room at their file operations go on to an undisturbed run's results.

Here are some of the points, evenly spread, and all where a training may be mistaken for a finished one;
``python tests/faults/every_point.py`` tries all of them.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from deeds import DEEDS, TO_PROCESSES
from kill_points import (
    LOADING,
    SIX,
    TASKS,
    difference,
    disturbed,
    fresh,
    limited,
    make_world,
    prepared,
    state,
    stopped,
    undisturbed,
    without_loaders,
)
from starts import Starts, starts_in

POINTS = 4
MOMENTS = ("before", "after")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("faults")
    make_world(root)
    return root


@pytest.fixture(scope="module")
def starts(root: Path) -> Iterator[Starts]:
    with starts_in(root / "scratch") as starts:
        yield starts


def spread(count: int, points: int = POINTS) -> list[int]:
    """Numbers from 1 to ``count``, evenly."""
    return sorted({1 + (2 * point + 1) * count // (2 * points) for point in range(points)} - {count + 1})


def first_epoch(operations: Sequence[str]) -> list[int]:
    """The operations of a training from its claim to its first checkpoint from which it goes on."""
    begin = next(i for i, each in enumerate(operations) if each.startswith("open run/.config."))
    end = operations.index("replace run/last.ckpt")
    return [i + 1 for i in range(begin, end + 1) if not operations[i].startswith(("mkdir", "unlink"))]


@pytest.mark.parametrize("name", TASKS)
def test_a_task_that_is_killed_goes_on(starts: Starts, root: Path, name: str) -> None:
    ended, expected = undisturbed(starts, root, TASKS[name])
    points = [(number, MOMENTS[place % 2]) for place, number in enumerate(spread(len(ended.operations)))]
    if name == "train":
        points += [(number, "after") for number in first_epoch(ended.operations)]
    outcomes = [stopped(starts, root, TASKS[name], *point, expected) for point in points]
    assert [outcome for outcome in outcomes if outcome.found] == []


def test_a_disturbed_evaluation_notices_or_is_not_touched(starts: Starts, root: Path) -> None:
    count, expected, renewed = prepared(starts, root)
    points = [(12 + place if place % 2 else count - 4 * place, deed) for place, deed in enumerate(DEEDS)]
    outcomes = [disturbed(starts, root, *point, expected, renewed) for point in points]
    assert [outcome for outcome in outcomes if outcome.found] == []


def test_an_evaluation_whose_data_loading_process_is_killed_says_so_and_goes_on(starts: Starts, root: Path) -> None:
    ended, expected = undisturbed(starts, root, LOADING)
    numbers = spread(len(ended.operations))
    outcomes = [without_loaders(starts, root, number, deed, expected) for number in numbers for deed in TO_PROCESSES]
    assert [outcome for outcome in outcomes if outcome.found] == []


@pytest.mark.parametrize("name", ["evaluate", "train"])
def test_a_task_without_room_says_so_and_goes_on(starts: Starts, root: Path, name: str) -> None:
    _, expected = undisturbed(starts, root, TASKS[name])
    largest = max(path.stat().st_size for path in (root / "work").rglob("*") if path.is_file())
    outcomes = [limited(starts, root, TASKS[name], size - 1, expected) for size in spread(largest)]
    assert [outcome for outcome in outcomes if outcome.found] == []


def test_different_tasks_that_need_one_network_train_it_once(starts: Starts, root: Path) -> None:
    """All want to train it in the first moment; one does, the others wait for it."""
    trained = [text for text in TASKS["train_and_evaluate"] if text != "explainer=edges" and text not in SIX]
    tasks = [
        [*trained, *SIX, "explainer=edges"],
        ["task=explain", *trained, "explainer=edges", "task.pictures=2"],
        ["task=conservation", *trained, "num_samples=3", "explainer=ours"],
        ["-m", *trained, *SIX, "explainer=center,random"],
    ]
    folder = fresh(root)
    assert [starts.start(task, folder).code for task in tasks] == [0] * len(tasks)
    expected = state(folder)
    folder = fresh(root)
    ended = starts.start_at_once(tasks, folder)
    assert [each.code for each in ended] == [0] * len(tasks), [each.error for each in ended]
    assert difference(state(folder), expected) == ""
    said = [line for each in ended for line in each.said.splitlines()]
    assert sum(line.startswith("trained: outputs/train") for line in said) == 1, said


def test_different_tasks_work_in_one_folder_at_once(starts: Starts, root: Path) -> None:
    names = ("sweep", "train_and_evaluate", "explain", "conservation")
    tasks = [[text for text in TASKS[name] if text != "output_dir=run"] for name in names]
    folder = fresh(root)
    assert [starts.start(task, folder).code for task in tasks] == [0] * len(tasks)
    expected = state(folder)
    folder = fresh(root)
    ended = starts.start_at_once(tasks, folder)
    assert [each.code for each in ended] == [0] * len(tasks), [each.error for each in ended]
    assert difference(state(folder), expected) == ""
