"""What others do to a run's folder, its images and its data-loading processes while it goes on."""

import os
import random
import shutil
import signal
import threading
from collections.abc import Callable
from pathlib import Path

from hostile_inputs import write_image

CURVES = Path("run/curves.jsonl")


def a_line_is_cut() -> None:
    """The last line that was written is gone."""
    if CURVES.exists():
        CURVES.write_bytes(b"".join(CURVES.read_bytes().splitlines(keepends=True)[:-1]))


def the_lines_are_removed() -> None:
    """All that was measured is gone."""
    CURVES.unlink(missing_ok=True)


def a_line_is_torn() -> None:
    """Of the last line half is left, without its end."""
    if CURVES.exists():
        os.truncate(CURVES, max(0, CURVES.stat().st_size - 200))


def the_folder_is_renamed() -> None:
    """Somebody tidies up."""
    if Path("run/config.yaml").exists() and not Path("elsewhere").exists():
        Path("run").rename("elsewhere")


def the_images_are_replaced() -> None:
    """A data set is copied again, with other pictures under the same names."""
    replace_images(Path("../photographs"))


def replace_images(photographs: Path) -> None:
    """Write another picture into every test image."""
    for seed, path in enumerate(sorted((photographs / "test").rglob("*.png"))):
        write_image(path, 1000 + seed)


def the_lines_are_another_runs() -> None:
    """The lines of another evaluation of the same samples lie in the folder, whole ones."""
    if CURVES.exists():
        shutil.copy("../other.jsonl", CURVES)


def the_loading_processes_are_killed() -> None:
    """The system is short of memory and picks those that load data."""
    for child in children():
        os.kill(child, signal.SIGKILL)


def the_loading_processes_are_killed_soon() -> None:
    """The same, while the network is recorded, relevance walks back or masked images are scored."""
    threading.Timer(random.SystemRandom().uniform(0, 0.3), the_loading_processes_are_killed).start()


def children() -> list[int]:
    """Processes that this one has started."""
    return [int(child) for child in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]


DEEDS: dict[str, Callable[[], None]] = {
    deed.__name__: deed
    for deed in (
        a_line_is_cut, the_lines_are_removed, a_line_is_torn, the_folder_is_renamed, the_images_are_replaced,
        the_lines_are_another_runs,
    )
}  # fmt: skip
TO_PROCESSES: dict[str, Callable[[], None]] = {
    deed.__name__: deed for deed in (the_loading_processes_are_killed, the_loading_processes_are_killed_soon)
}
