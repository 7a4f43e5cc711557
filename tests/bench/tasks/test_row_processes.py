"""How the rows of a table are dealt to several processes, and the machine divided among them."""

from collections.abc import Callable
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from threading import Thread
from typing import Literal

import pytest
import torch

from relsplit.bench.configuration.settings import Settings
from relsplit.papers.row_processes import Answer, Share, dealt, machine_shares, visible_gpus
from small_runs import settings_of, with_value


def rows(count: int, *typed: str) -> list[Settings]:
    whole = settings_of("device=cpu", *typed)
    return [with_value(whole, "seed", seed) for seed in range(count)]


def worker(answers: Callable[[Settings], Answer]) -> Connection:
    """One end of a pipe, at whose other end somebody answers until an answer is an error, of which it dies."""
    ours, theirs = Pipe()

    def work() -> None:
        try:
            while True:
                theirs.send(answers(theirs.recv()))
        except (EOFError, OSError, ZeroDivisionError):
            theirs.close()

    Thread(target=work, daemon=True).start()
    return ours


def test_every_row_is_measured_once() -> None:
    configs = rows(20)
    workers = [worker(lambda config: str(config.seed)) for _ in range(3)]
    answers = [answer for *_, answer in dealt(configs, workers)]
    assert sorted(int(str(answer)) for answer in answers) == list(range(20))


def test_fewer_rows_than_processes() -> None:
    assert [answer for *_, answer in dealt(rows(1), [worker(lambda _: "done") for _ in range(3)])] == ["done"]


def test_what_fails_is_said_and_the_process_goes_on() -> None:
    answers = [answer for *_, answer in dealt(rows(4), [worker(lambda config: "odd" if config.seed % 2 else None)])]
    assert answers == [None, "odd", None, "odd"]


def test_others_take_over_from_a_process_that_dies() -> None:
    configs = rows(9)
    dying, living = worker(lambda _: str(1 // 0)), worker(lambda config: str(config.seed))
    answers = [(config.seed, answer) for config, _, answer in dealt(configs, [dying, living])]
    assert (0, None) in answers
    assert sorted(str(answer) for _, answer in answers if answer) == [str(seed) for seed in range(1, 9)]


def test_without_a_living_process_the_rest_is_left() -> None:
    answers = [(config.seed, answer) for config, _, answer in dealt(rows(9), [worker(lambda _: str(1 // 0))])]
    assert answers == [(0, None)]
    two = [worker(lambda _: str(1 // 0)) for _ in range(2)]  # which of the two dies first is not said
    assert sorted(config.seed for config, *_ in dealt(rows(9), two)) == [0, 1]


@pytest.mark.parametrize(
    ("threads", "count", "processes", "expected"),
    [
        (2, 44, "auto", [1, 1]),
        (16, 44, "auto", [4, 4, 4, 4]),
        (16, 9, "auto", [8, 8]),  # one for at least four rows
        (2, 7, "auto", [2]),
        (1, 44, "auto", [1]),
        (2, 3, 2, [1, 1]),
        (8, 44, 3, [2, 2, 2]),
        (2, 2, 5, [1, 1]),
    ],
)
def test_cores_are_divided(
    monkeypatch: pytest.MonkeyPatch, threads: int, count: int, processes: int | Literal["auto"], expected: list[int]
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert machine_shares(rows(count), processes) == [Share(each, None) for each in expected]


@pytest.mark.parametrize("typed", ["trainer.devices=2", "trainer.num_nodes=2"])
def test_rows_that_are_divided_themselves_stay_in_one_process(typed: str) -> None:
    assert len(machine_shares(rows(40, typed), 2)) == 1


@pytest.mark.parametrize("name", ["WORLD_SIZE", "SLURM_NTASKS"])
def test_processes_that_a_launcher_started_start_no_more(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "2")
    assert len(machine_shares(rows(40), 2)) == 1
    monkeypatch.setenv(name, "1")
    assert len(machine_shares(rows(40), 2)) == 2


@pytest.mark.parametrize("device", ["cuda:1", "mps"])
def test_one_accelerator_is_not_divided(device: str) -> None:
    assert len(machine_shares(rows(40, f"device={device}"), "auto")) == 1
    assert len(machine_shares(rows(40, f"device={device}"), 3)) == 3


def test_gpus_bear_the_names_that_the_environment_gives_them() -> None:
    assert visible_gpus({}, 2) == ["0", "1"]
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": "4,GPU-8932f937"}, 2) == ["4", "GPU-8932f937"]
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": "4"}, 0) == []
