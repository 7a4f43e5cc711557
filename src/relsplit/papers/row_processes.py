"""Rows of a table measured by several processes at once, each with a GPU of its own or its share of the cores.

A row is a run folder, whoever measures it. Wrong input ends all, as it does in one process. What a process fails to
measure for another reason is left: the task comes to it afterwards, and says what is wrong.
"""

import os
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, Literal

import torch
from hydra.core.hydra_config import HydraConfig
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from relsplit.bench.configuration.folders import is_to_be_trained, run_folder
from relsplit.bench.configuration.settings import Settings
from relsplit.bench.data.configured import datasets_read_once, read_catalogue
from relsplit.bench.evaluate.resumption import was_measured
from relsplit.bench.machine.memory import keep_freed_memory
from relsplit.bench.machine.processes import started_alone
from relsplit.bench.runs.folder import unwritable
from relsplit.errors import InputError, Terminated

Measure = Callable[[Settings], Path]
Answer = str | InputError | None
"""The run folder of what was measured; what cannot be used; or None for any other failure."""

MOST_ON_CPU = 4
"""Processes of ``processes=auto`` on a CPU: each holds the network and a batch of its own."""

ROWS_EACH = 4
"""Rows that a process of ``processes=auto`` has at least on a CPU: it takes seconds to start."""

SECONDS_TO_END = 30


def measure_at_once(measure: Measure, rows: Sequence[Settings], processes: int | Literal["auto"], folder: Path) -> None:
    """Evaluate what is not evaluated yet in several processes, where that is asked for and possible.

    The dataset is read and missing networks are trained before, in this process.

    Args:
        measure: evaluates one row; a function of a module.
        rows: settings of evaluations, whose code is checked.
        processes: how many; "auto": one for every GPU, or on a CPU one for every core, at most four.
        folder: where each process leaves ``process<number>.log``; it exists.

    Raises:
        InputError: the data, a network that is to be trained or a row cannot be used, or a log cannot be written.
    """
    left = list({_folder_of(row): row for row in rows if not was_measured(row)}.values())
    shares = machine_shares(left, processes)
    if len(shares) < 2:
        return
    for row in left:
        catalogue = read_catalogue(row.dataset)
        if is_to_be_trained(row):
            # Here and not above: Lightning is imported where something is trained.
            from relsplit.bench.explain.explained_network import explained_network

            explained_network(row, catalogue)
    logs = [folder / f"process{number}.log" for number in range(1, len(shares) + 1)]
    with _started(measure, shares, logs) as workers, _progress() as progress:
        bar = progress.add_task("Evaluations", total=len(left))
        for row, worker, answer in dealt(left, workers):
            if isinstance(answer, InputError):
                raise answer
            if answer is None:
                line = f"{row.title}: failed, see {logs[workers.index(worker)]}; it is tried once more in its table"
            else:
                line = f"{row.title}: {answer}"
                progress.advance(bar)
            progress.console.print(line, markup=False, highlight=False, soft_wrap=True)


def _folder_of(row: Settings) -> Path:
    return run_folder("evaluate", row, row.identity())


@dataclass(frozen=True)
class Share:
    """What of the machine one of the processes uses.

    Attributes:
        threads: for torch.
        gpu: as ``CUDA_VISIBLE_DEVICES`` names it; None: none of its own.
    """

    threads: int
    gpu: str | None


def machine_shares(rows: Sequence[Settings], processes: int | Literal["auto"]) -> list[Share]:
    """Return how the machine is divided among processes; one share where there is nothing to divide.

    Rows that are dealt out over devices themselves (``trainer.devices``), or by srun or torchrun, stay in one process.
    """
    alone = started_alone() and all(str(row.trainer.devices) == "1" and row.trainer.num_nodes == 1 for row in rows)
    devices = {row.device for row in rows}
    threads = torch.get_num_threads()
    if not alone or len(devices) != 1:
        return [Share(threads, gpu=None)]
    (device,) = devices
    on_gpus = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    gpus = visible_gpus(os.environ, torch.cuda.device_count()) if on_gpus else []
    if processes != "auto":
        count = processes
    elif device in ("auto", "cpu") and not on_gpus:
        count = min(threads, MOST_ON_CPU, len(rows) // ROWS_EACH)
    else:
        count = len(gpus)  # none: of another accelerator, or one that is named, there is one
    count = max(1, min(count, len(rows)))
    return [Share(max(1, threads // count), gpus[index % len(gpus)] if gpus else None) for index in range(count)]


def visible_gpus(environment: Mapping[str, str], count: int) -> list[str]:
    """Return the names of ``count`` GPUs as ``CUDA_VISIBLE_DEVICES`` has them, by default their numbers."""
    named = environment.get("CUDA_VISIBLE_DEVICES")
    return (named.split(",") if named else [str(number) for number in range(count)])[:count]


def dealt(rows: Sequence[Settings], workers: Sequence[Connection]) -> Iterator[tuple[Settings, Connection, Answer]]:
    """Deal rows out, the next one to whoever is free; yield each with its worker and what that answers.

    A dead worker has answered None and gets nothing more; what nobody is left for is not yielded.
    """
    waiting, busy = deque(rows), dict[Connection, Settings]()

    def give(worker: Connection) -> None:
        if waiting:
            try:
                worker.send(waiting[0])
            except OSError:  # it is dead
                return
            busy[worker] = waiting.popleft()

    for worker in workers:
        give(worker)
    while busy:
        ready = wait(list(busy))
        for worker in [each for each in busy if each in ready]:
            row = busy.pop(worker)
            try:
                answer: Answer = worker.recv()
            except (EOFError, OSError):
                yield row, worker, None
                continue
            yield row, worker, answer
            give(worker)


@contextmanager
def _started(measure: Measure, shares: Sequence[Share], logs: Sequence[Path]) -> Iterator[list[Connection]]:
    """Start processes that :func:`_work`; end them when they have nothing left to do, or at once after an error."""
    for log in logs:
        try:
            log.write_bytes(b"")
        except OSError as error:
            raise unwritable(log.parent, error) from error
    spawning = get_context("spawn")
    hydra = HydraConfig.instance().cfg
    started: list[tuple[SpawnProcess, Connection]] = []
    try:
        for share, log in zip(shares, logs, strict=True):
            ours, theirs = spawning.Pipe()
            process = spawning.Process(target=_work, args=(theirs, measure, share, log, hydra))
            process.start()
            theirs.close()  # so that its end is seen when it dies
            started.append((process, ours))
        yield [ours for _, ours in started]
    except BaseException:
        for process, _ in started:
            process.terminate()
        raise
    finally:
        _end(started)


def _end(started: Sequence[tuple[SpawnProcess, Connection]]) -> None:
    """Let the processes end by themselves for a while, and no longer, whatever interrupts that."""
    deadline = time.monotonic() + SECONDS_TO_END
    try:
        for _, ours in started:
            ours.close()
        for process, _ in started:
            process.join(max(0.0, deadline - time.monotonic()))
    finally:
        for process, _ in started:
            process.kill()
        for process, _ in started:
            process.join()


def _work(tasks: Connection, measure: Measure, share: Share, log: Path, hydra: Any) -> None:
    """Measure what is sent and answer, until the other end is closed; die with the process at the other end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches it, too: the other end then ends it, once
    signal.signal(signal.SIGTERM, _terminate)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with log.open("ab", buffering=0) as file:  # as the terminal of libraries, too, that do not write through Python
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    if share.gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = share.gpu
    if hydra is not None:
        HydraConfig.instance().set_config(hydra)
    torch.set_num_threads(share.threads)
    keep_freed_memory()
    with datasets_read_once(), suppress(EOFError, KeyboardInterrupt):
        while True:
            tasks.send(_answer(measure, tasks.recv()))


def _answer(measure: Measure, row: Settings) -> Answer:
    try:
        return str(measure(row))
    except InputError as error:
        traceback.print_exc()
        return error
    except Exception:
        traceback.print_exc()
        return None


def _end_with_parent() -> None:
    """Wait until the process that started this one is gone; then end as if it had asked for it."""
    parent = parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGTERM)


def _terminate(number: int, frame: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # what is cleaned up now is not interrupted again
    raise Terminated


def _progress() -> Progress:
    return Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
