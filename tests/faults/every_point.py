"""Try every kill point, disturbance and limit of room: python tests/faults/every_point.py [--of TASK ...].

It takes about an hour on two cores and prints a line for every point that goes wrong, and a table in the end. Disks of
every size need root, who may mount them.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from deeds import DEEDS, TO_PROCESSES
from kill_points import (
    LOADING,
    TASKS,
    Outcome,
    after_a_full_disk,
    disturbed,
    fresh,
    limited,
    make_world,
    prepared,
    stopped,
    undisturbed,
    without_loaders,
)
from starts import Starts, starts_in

OTHERS = ("deeds", "loaders", "limits", "disks")
PAGE = 4096
WHAT_IS_SAID = 512
"""Bytes of the line that a run ends with: it goes to a file, which has to hold it."""


def main() -> int:
    """Try all that was asked for; return how many points went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--of", nargs="+", choices=[*TASKS, *OTHERS], help="default: all")
    parser.add_argument("--step", type=int, default=1, help="every how manieth point")
    parser.add_argument(
        "--first", type=int, default=1, help="the point of a task to begin with, to fill up another step"
    )
    options = parser.parse_args()
    chosen, step = options.of or [*TASKS, *OTHERS], options.step
    lines, wrong = [], 0
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        root = Path(folder)
        make_world(root)
        with starts_in(root / "scratch") as starts:
            for name in chosen:
                began = time.monotonic()
                tried = bad = 0
                for outcome in outcomes(starts, root, name, step, options.first):
                    tried += 1
                    if outcome.found:
                        bad += 1
                        print(f"  {outcome.operation} {outcome.moment}: {outcome.found}", flush=True)
                wrong += bad
                lines.append(f"{name}: {tried} tried, {bad} wrong, {time.monotonic() - began:.0f} s")
                print(lines[-1], flush=True)
    print("\n".join(["", *lines]))
    return wrong


def outcomes(starts: Starts, root: Path, name: str, step: int, begin: int) -> Iterable[Outcome]:
    """Try every ``step``-th point of a task, of the disturbances, of killed loaders, or of the room on a disk.

    Points of a task are numbered from 1; ``begin`` is the first of them that is tried.
    """
    if name == "deeds":
        count, expected, renewed = prepared(starts, root)
        for deed in DEEDS:
            for number in range(1, count + 1, step):
                yield disturbed(starts, root, number, deed, expected, renewed)
    elif name == "loaders":
        ended, expected = undisturbed(starts, root, LOADING)
        for number in range(1, len(ended.operations) + 1, step):
            for deed in TO_PROCESSES:
                yield without_loaders(starts, root, number, deed, expected)
    elif name in ("limits", "disks"):
        for task in ("evaluate", "train", "explain"):
            _, expected = undisturbed(starts, root, TASKS[task])
            sizes = [path.stat().st_size for path in (root / "work").rglob("*") if path.is_file()]
            if name == "limits":
                largest = max(sizes)
                for limit in range(WHAT_IS_SAID, largest + 1, max(1, largest // 64) * step):
                    yield limited(starts, root, TASKS[task], limit, expected)
            else:
                pages = 8 + sum(-(-size // PAGE) + 2 for size in sizes)
                for count in range(1, pages + 1, max(1, pages // 64) * step):
                    yield on_a_small_disk(starts, root, task, count, expected)
    else:
        ended, expected = undisturbed(starts, root, TASKS[name])
        for number in range(begin, len(ended.operations) + 1, step):
            for moment in ("before", "after"):
                yield stopped(starts, root, TASKS[name], number, moment, expected)


def on_a_small_disk(starts: Starts, root: Path, task: str, pages: int, expected: dict[str, object]) -> Outcome:
    """Carry a task out on a disk of so many pages, make the disk large, start it again, and compare."""
    folder = fresh(root)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={pages * PAGE}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        return Outcome(f"a disk of {pages} pages", "", "only root may mount it")
    try:
        first = starts.start(TASKS[task], folder)
        subprocess.run(["mount", "-o", f"remount,size={1 << 28}", str(folder)], check=True)
        return Outcome(
            f"{task} on a disk of {pages} pages", "", after_a_full_disk(starts, folder, TASKS[task], first, expected)
        )
    finally:
        subprocess.run(["umount", str(folder)], check=True)


if __name__ == "__main__":
    sys.exit(min(1, main()))
