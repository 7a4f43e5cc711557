"""The folder of a run belongs to one configuration, however many processes claim it for that one."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from pausing import GUARD
from relsplit.bench.runs.folder import CONFIG, claim_folder, read_config
from relsplit.errors import InputError

CONFIGURATION = {"seed": 0}
PROCESSES, FOLDERS = 3, 60


def claims(root: Path, together: Barrier) -> None:
    for number in range(FOLDERS):
        together.wait(GUARD)
        claim_folder(root / str(number), CONFIGURATION)


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
    claim_folder(tmp_path, CONFIGURATION)
    assert read_config(tmp_path) == CONFIGURATION


@pytest.mark.parametrize(
    "name", ["config.4242.tmp.yaml", ".config.4242.tmp.csv", ".samples.4242.tmp.csv", "config.yml"]
)
def test_a_folder_of_other_files_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(InputError, match=f"holds other files \\({name}\\)"):
        claim_folder(tmp_path, CONFIGURATION)
    assert not (tmp_path / CONFIG).exists()
