"""The folder of a run belongs to one configuration, however many processes claim it for that one."""

import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from pausing import GUARD
from relsplit.bench.configuration.identity import Identity
from relsplit.bench.runs import folder as folder_module
from relsplit.bench.runs.folder import CONFIG, claim_folder, holding, read_config
from relsplit.errors import InputError

CONFIGURATION = {"seed": 0}
IDENTITY = Identity(CONFIGURATION)
PROCESSES, FOLDERS = 3, 60


def claims(root: Path, together: Barrier) -> None:
    for number in range(FOLDERS):
        together.wait(GUARD)
        claim_folder(root / str(number), IDENTITY)


def test_processes_of_one_run_claim_its_folder_at_the_same_moment(tmp_path: Path) -> None:
    spawning = get_context("spawn")
    with spawning.Manager() as manager:
        together = manager.Barrier(PROCESSES)
        with ProcessPoolExecutor(PROCESSES, mp_context=spawning) as pool:
            for done in [pool.submit(claims, tmp_path, together) for _ in range(PROCESSES)]:
                done.result()
    assert all(read_config(tmp_path / str(number)) == CONFIGURATION for number in range(FOLDERS))


def test_what_a_process_left_that_was_killed_while_it_claimed_the_folder_is_not_in_the_way(tmp_path: Path) -> None:
    (tmp_path / ".config.4242.tmp.yaml").write_text("seed:", encoding="utf-8")
    claim_folder(tmp_path, IDENTITY)
    assert read_config(tmp_path) == CONFIGURATION


@pytest.mark.parametrize(
    "name", ["config.4242.tmp.yaml", ".config.4242.tmp.csv", ".samples.4242.tmp.csv", "config.yml"]
)
def test_a_folder_of_other_files_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(InputError, match=f"holds other files \\({name}\\)"):
        claim_folder(tmp_path, IDENTITY)
    assert not (tmp_path / CONFIG).exists()


def test_a_folder_that_is_in_use_is_waited_for_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the other says of waiting is when the first lets go, so that no time decides."""
    said: list[str] = []
    waits, order = threading.Event(), []

    def say(text: str) -> None:
        said.append(text)
        waits.set()

    def wait() -> None:
        with holding(tmp_path / "train", waiting=True):
            order.append("second")

    monkeypatch.setattr("relsplit.bench.runs.folder.say", say)
    with holding(tmp_path / "train"):
        with pytest.raises(InputError, match="is in use"), holding(tmp_path / "train"):
            pass
        second = threading.Thread(target=wait)
        second.start()
        assert waits.wait(GUARD)
        order.append("first")
    second.join(GUARD)
    assert order == ["first", "second"]
    assert said[0].startswith(f"waiting until {tmp_path / 'train'} is no longer in use")
    assert not list((tmp_path / "train").glob("*"))


def test_a_folder_that_is_removed_when_its_lock_is_to_be_acquired_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The moment is forced: whoever held it, and left nothing, removes it between its making and its lock."""
    folder, make = tmp_path / "outputs" / "train", folder_module._make
    left = [folder]

    def make_and_lose(each: Path) -> list[Path]:
        made = make(each)
        if left:
            left.pop().rmdir()
        return made

    monkeypatch.setattr(folder_module, "_make", make_and_lose)
    with holding(folder):
        (folder / "result").write_text("1")
    assert [path.name for path in folder.iterdir()] == ["result"]
