"""A full disk, one that turns read-only, signals at any moment, two starts at once: one line, and the run goes on."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from pausing import GUARD, pausing, wait_until, wait_until_paused
from relsplit.bench.models.checkpoint import read_checkpoint
from relsplit.bench.runs.store import read_samples
from small_runs import ROOT, TINY_NETWORK, command_line, overrides

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
EVALUATION = ("explainer=edges", "metric=[sparsity]", "num_samples=12", "task.batch_size=1", "task.pictures=1")
ENDLESS = ("trainer.max_epochs=1000000", "trainer.patience=null")


def mount(folder: Path, *options: str) -> bool:
    return subprocess.run(["mount", *options, str(folder)], capture_output=True, check=False).returncode == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """A file system of its own, of so many bytes."""
    folder = tmp_path / "disk"

    def make(size: str) -> Path:
        folder.mkdir()
        if os.geteuid() != 0 or not mount(folder, "-t", "tmpfs", "-o", f"size={size}", "tmpfs"):
            pytest.skip("only root may mount a small file system")
        return folder

    yield make
    subprocess.run(["umount", "-l", str(folder)], capture_output=True, check=False)


def finished(command: list[str], folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False)


def started(command: list[str], folder: Path, ignoring: bool = False) -> "subprocess.Popen[str]":
    """Start a command as a terminal does, or as a shell starts what it puts into the background."""

    def signals() -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN if ignoring else signal.default_int_handler)

    return subprocess.Popen(
        command, cwd=folder, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        preexec_fn=signals,
    )  # fmt: skip


def paused_after(rows: int, photographs: Path, *more: str, ignoring: bool = False) -> "subprocess.Popen[str]":
    """Start an evaluation that has stopped itself when so many rows are on the disk."""
    command = pausing("curves.jsonl", rows, overrides(photographs, *EVALUATION, *more))
    process = started(command, photographs, ignoring)
    wait_until_paused(process)
    return process


def has_mapped(process: "subprocess.Popen[str]", library: str) -> bool:
    """Whether a process has begun to import what needs a library."""
    return library in Path(f"/proc/{process.pid}/maps").read_text()


def lines(path: Path) -> int:
    return path.read_text().count("\n") if path.exists() else 0


def assert_same_rows(folder: Path, whole: Path) -> None:
    one, other = read_samples(folder), read_samples(whole)
    pd.testing.assert_frame_equal(one.drop(columns="seconds"), other.drop(columns="seconds"), check_exact=True)


def assert_one_line(error: str, *words: str) -> None:
    assert error.count("\n") == 1, error
    for word in words:
        assert word in error


def leftovers(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if ".tmp" in path.name or ".partial" in path.name]


def test_a_full_disk_is_one_line_and_the_evaluation_goes_on(
    photographs: Path, small_disk: Callable[[str], Path]
) -> None:
    disk = small_disk("256k")
    command = command_line(photographs, *EVALUATION, f"output_dir={disk / 'run'}")
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(210 * 1024))
    full = finished(command, photographs)
    assert full.returncode == 1, full.stderr
    assert_one_line(full.stderr, "incomplete: No space left on device", "start the same command to go on")
    assert not leftovers(disk)
    ballast.unlink()
    mount(disk, "-o", "remount,size=16m", "tmpfs")
    again = finished(command, photographs)
    assert again.returncode == 0, again.stderr
    assert finished(command_line(photographs, *EVALUATION), photographs).returncode == 0
    assert_same_rows(disk / "run", photographs / "run")


def test_a_disk_that_turns_read_only_is_one_line_and_the_evaluation_goes_on(
    photographs: Path, small_disk: Callable[[str], Path]
) -> None:
    disk = small_disk("16m")
    command = command_line(photographs, *EVALUATION, f"output_dir={disk / 'run'}")
    process = paused_after(2, photographs, f"output_dir={disk / 'run'}")
    # A kernel makes a broken disk read-only under open files; mount refuses that, so another one is laid over it.
    other = photographs / "other"
    other.mkdir()
    assert mount(other, "-t", "tmpfs", "-o", "size=16m", "tmpfs")
    shutil.copytree(disk / "run", other / "run")
    assert mount(other, "-o", "remount,ro", "tmpfs")
    assert mount(disk, "--bind", str(other))
    process.send_signal(signal.SIGCONT)
    error = process.communicate(timeout=GUARD)[1]
    assert process.returncode == 1, error
    assert_one_line(error, "incomplete: Read-only file system")
    refused = finished(command, photographs)
    assert refused.returncode == 2, refused.stderr
    assert_one_line(refused.stderr, "cannot be written (Read-only file system)")
    for folder in (disk, other):
        subprocess.run(["umount", str(folder)], check=True)
    assert finished(command, photographs).returncode == 0
    assert not leftovers(disk)
    assert len(read_samples(disk / "run")) == 12


def training(photographs: Path, folder: Path, *more: str) -> list[str]:
    options = [
        "task=train", "dataset=image_folder", f"dataset.root={photographs / 'photographs'}", "dataset.resize=32",
        "dataset.image_size=32", "dataset.num_workers=0", *TINY_NETWORK, "model.num_classes=3", "trainer.max_epochs=4",
        "dataset.catalogue.num_val=1", "trainer.batch_size=2", "logger=none", "device=cpu", f"output_dir={folder}",
    ]  # fmt: skip
    return [sys.executable, str(ROOT / "run.py"), *options, *more]


def add_training_images(photographs: Path) -> None:
    """Three images to learn from, and three to validate with."""
    for name in ("finch", "jay", "wren"):
        folder = photographs / "photographs/train" / name
        shutil.copy(folder / "0.png", folder / "1.png")


def test_a_full_disk_leaves_the_checkpoints_of_a_training_whole(
    photographs: Path, small_disk: Callable[[str], Path]
) -> None:
    add_training_images(photographs)
    disk = small_disk("180m")
    folder = disk / "run"
    process = started(training(photographs, folder, "trainer.batch_size=5", *ENDLESS), photographs)
    wait_until(lambda: (folder / "last.ckpt").exists(), process)
    (disk / "ballast").write_bytes(b"")
    with (disk / "ballast").open("wb") as file:
        try:
            while True:
                file.write(bytes(1 << 20))
        except OSError:
            pass
    error = process.communicate(timeout=GUARD)[1]
    assert process.returncode == 1, error
    assert_one_line(error, "incomplete: ", "start the same command to go on")
    assert not leftovers(disk)
    assert "state_dict" in read_checkpoint(folder / "best.ckpt")
    assert "state_dict" in read_checkpoint(folder / "last.ckpt")


@pytest.mark.parametrize(("number", "code", "said"), [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "int")])
@pytest.mark.parametrize("moment", ["imports settings", "imports torch", "rows"])
def test_a_signal_at_any_moment_is_one_line(
    photographs: Path, number: signal.Signals, code: int, said: str, moment: str
) -> None:
    if moment == "rows":
        process = paused_after(2, photographs)
    else:
        process = started(command_line(photographs, *EVALUATION), photographs)
        library = "_yaml" if moment == "imports settings" else "libtorch_cpu"
        wait_until(lambda: has_mapped(process, library), process)
    process.send_signal(number)
    process.send_signal(signal.SIGCONT)
    error = process.communicate(timeout=GUARD)[1]
    assert process.returncode == code, error
    assert_one_line(error, said, "start the same command again to go on")
    assert not leftovers(photographs)
    assert (photographs / "run").exists() == (lines(photographs / "run/curves.jsonl") > 0)


def test_what_ignores_ctrl_c_is_not_interrupted(photographs: Path) -> None:
    process = paused_after(2, photographs, ignoring=True)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGCONT)
    assert process.communicate(timeout=GUARD)[1] == ""
    assert process.returncode == 0
    assert len(read_samples(photographs / "run")) == 12


def test_of_two_starts_at_once_one_works_and_the_other_says_who(photographs: Path) -> None:
    command = command_line(photographs, *EVALUATION)
    first = paused_after(1, photographs)
    second = finished(command, photographs)
    first.send_signal(signal.SIGCONT)
    assert second.returncode == 2, second.stderr
    assert_one_line(second.stderr, f"is in use by process {first.pid} on", "wait until that run has ended")
    assert first.communicate(timeout=GUARD)[1] == ""
    assert first.returncode == 0
    assert len(read_samples(photographs / "run")) == 12
    assert not (photographs / "run/.lock").exists()


@pytest.mark.parametrize("kind", ["evaluation", "training"])
def test_little_shared_memory_is_enough(photographs: Path, kind: str) -> None:
    """A container has 64 MB of it; here a batch of 800 KB does not fit into 256 KB."""
    alone = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs -o size=256k tmpfs /dev/shm && exec "$@"', "sh"]
    if os.geteuid() != 0 or subprocess.run([*alone, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("only root may mount a small file system")
    large = ("dataset.image_size=128", "dataset.resize=128", "dataset.num_workers=2")
    if kind == "evaluation":
        command = command_line(
            photographs, "explainer=center", "protocol.published.step=8192", "task.batch_size=4", *large
        )
    else:
        add_training_images(photographs)
        command = training(photographs, photographs / "run", "trainer.batch_size=5", *large, "trainer.max_epochs=1")
    done = subprocess.run(
        [*alone, *command], cwd=photographs, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=GUARD
    )
    assert done.returncode == 0, done.stderr
    assert (photographs / "run/summary.json").exists()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_without_signs_for_the_progress_bar(photographs: Path, encoding: str) -> None:
    command = command_line(photographs, "explainer=center", "metric=[]", "num_samples=3")
    environment = {**ENVIRONMENT, "PYTHONIOENCODING": encoding}
    done = subprocess.run(command, cwd=photographs, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert b"id_score" in done.stdout


def test_an_output_that_nobody_reads_is_one_line(photographs: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    command = command_line(photographs, "explainer=center", "metric=[]", "num_samples=3")
    done = subprocess.run(command, cwd=photographs, env=ENVIRONMENT, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert done.stderr.startswith("incomplete: whoever read what is said here")
    done = subprocess.run(command, cwd=photographs, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_no_room_for_the_line_leaves_the_exit_code(photographs: Path) -> None:
    command = command_line(photographs, "explainer=nope")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, cwd=photographs, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=full)
    assert done.returncode == 2


def test_too_few_open_files_are_one_line(photographs: Path) -> None:
    command = command_line(photographs, "explainer=center", "dataset.num_workers=8")
    limited = ["sh", "-c", 'ulimit -n 30 && exec "$@"', "sh", *command]
    done = subprocess.run(limited, cwd=photographs, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    said = [
        line for line in done.stderr.splitlines() if "check_worker_number" not in line and "UserWarning" not in line
    ]
    assert len(said) == 1, done.stderr
    assert said[0].startswith("incomplete: Too many open files: raise it with `ulimit -n 1024`")


def test_a_data_loading_process_that_is_killed_is_one_line(photographs: Path) -> None:
    more = ("dataset.num_workers=1", "explainer=ours")
    process = paused_after(1, photographs, *more)  # two of the other eleven batches are loaded ahead
    (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(child), signal.SIGKILL)
    process.send_signal(signal.SIGCONT)
    error = process.communicate(timeout=GUARD)[1]
    assert process.returncode == 1, error
    assert_one_line(error, "incomplete: a data-loading process was killed", "dataset.num_workers=0")
    assert finished(command_line(photographs, *EVALUATION, *more), photographs).returncode == 0


def test_more_devices_than_batches_are_left(photographs: Path) -> None:
    more = ("explainer=center", "metric=[]", "task.batch_size=9", "trainer.devices=3", "device=cpu")
    done = finished(command_line(photographs, *more), photographs)
    assert done.returncode == 0, done.stderr
    assert len(read_samples(photographs / "run")) == 9
