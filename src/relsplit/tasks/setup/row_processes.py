"""Rows of a table measured by several processes at once, each with a GPU of its own or its share of the cores.

A row is a run folder, whoever measures it. What a process fails to measure is left: the task comes to it afterwards,
and says what is wrong.
"""

import os
import signal
import sys
import traceback
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Literal

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from relsplit.errors import Terminated
from relsplit.tasks.setup.catalogue import read_catalogue
from relsplit.tasks.setup.configuration import resolved, run_title
from relsplit.tasks.setup.processes import started_alone
from relsplit.tasks.setup.resumption import was_measured
from relsplit.tasks.setup.training_folder import is_to_be_trained

MOST_ON_CPU = 4
"""Processes of ``processes=auto`` on a CPU: each holds the network and a batch of its own."""

ROWS_EACH = 4
"""Rows that a process of ``processes=auto`` has at least on a CPU: it takes seconds to start."""


def measure_at_once(configs: Sequence[DictConfig], processes: int | Literal["auto"], folder: Path) -> None:
    """Evaluate what is not evaluated yet in several processes, where that is asked for and possible.

    The dataset is read and missing networks are trained before, in this process.

    Args:
        configs: composed and checked, of evaluations.
        processes: how many; "auto": one for every GPU, or on a CPU one for every core, at most four.
        folder: where each process leaves ``process<number>.log``.

    Raises:
        InputError: the data or a network that is to be trained cannot be used.
    """
    distinct = {id(config): config for config in configs}.values()  # tables share rows
    left = list({str(resolved(config)): config for config in distinct if not was_measured(config)}.values())
    shares = machine_shares(left, processes)
    if len(shares) < 2:
        return
    for config in left:
        catalogue = read_catalogue(config)
        if is_to_be_trained(config):
            # Here and not above: Lightning is imported where something is trained.
            from relsplit.tasks.setup.explained_network import explained_network

            explained_network(config, catalogue)
    folder.mkdir(parents=True, exist_ok=True)
    logs = [folder / f"process{number}.log" for number in range(1, len(shares) + 1)]
    with _started(shares, logs) as workers, _progress() as progress:
        bar = progress.add_task("Evaluations", total=len(left))
        for config, worker, measured in dealt(left, list(workers)):
            if measured:
                progress.console.print(f"{run_title(resolved(config))}: {measured}", markup=False, soft_wrap=True)
                progress.advance(bar)
            else:
                log = logs[list(workers).index(worker)]
                progress.console.print(f"{run_title(resolved(config))}: failed, see {log}", markup=False)


@dataclass(frozen=True)
class Share:
    """What of the machine one of the processes uses.

    Attributes:
        threads: for torch.
        gpu: as ``CUDA_VISIBLE_DEVICES`` names it; None: none of its own.
    """

    threads: int
    gpu: str | None


def machine_shares(configs: Sequence[DictConfig], processes: int | Literal["auto"]) -> list[Share]:
    """Return how the machine is divided among processes; one share where there is nothing to divide.

    Rows that are dealt out over devices themselves (``trainer.devices``), or by srun or torchrun, stay in one process.
    """
    alone = started_alone() and all(
        str(config.trainer.devices) == "1" and config.trainer.num_nodes == 1 for config in configs
    )
    devices = {config.device for config in configs}
    if not alone or len(devices) != 1 or processes == 1:
        return [Share(threads=0, gpu=None)]
    # Here and not above: a finished table is laid out without torch.
    import torch

    from relsplit.tasks.setup.device import chosen_device

    threads = torch.get_num_threads()
    (device,) = devices
    on_gpu = chosen_device(device).type == "cuda"
    gpus = visible_gpus(os.environ, torch.cuda.device_count()) if on_gpu and device in ("auto", "cuda") else []
    if processes != "auto":
        count = processes
    elif on_gpu:
        count = max(1, len(gpus))
    else:
        count = min(threads, MOST_ON_CPU, len(configs) // ROWS_EACH)
    count = max(1, min(count, len(configs)))
    return [Share(max(1, threads // count), gpus[index % len(gpus)] if gpus else None) for index in range(count)]


def visible_gpus(environment: Mapping[str, str], count: int) -> list[str]:
    """Return the names of ``count`` GPUs as ``CUDA_VISIBLE_DEVICES`` has them, by default their numbers."""
    named = environment.get("CUDA_VISIBLE_DEVICES")
    return (named.split(",") if named else [str(number) for number in range(count)])[:count]


def dealt(
    configs: Sequence[DictConfig], workers: Sequence[Connection]
) -> Iterator[tuple[DictConfig, Connection, str | None]]:
    """Deal configurations out, the next one to whoever is free; yield each with its worker and what that answers.

    The answer is None where a worker failed or died; a dead one gets nothing more, and what nobody is left for is not
    yielded.
    """
    waiting, busy = deque(configs), dict[Connection, DictConfig]()

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
            config = busy.pop(worker)
            try:
                answer: str | None = worker.recv()
            except (EOFError, OSError):
                yield config, worker, None
                continue
            yield config, worker, answer
            give(worker)


@contextmanager
def _started(shares: Sequence[Share], logs: Sequence[Path]) -> Iterator[list[Connection]]:
    """Start processes that :func:`_work`; end them when they have nothing left to do, or at once after an error."""
    spawning = get_context("spawn")
    hydra = HydraConfig.instance().cfg
    started = []
    try:
        for share, log in zip(shares, logs, strict=True):
            ours, theirs = spawning.Pipe()
            process = spawning.Process(target=_work, args=(theirs, share, log, hydra), daemon=False)
            process.start()
            theirs.close()  # so that its end is seen when it dies
            started.append((process, ours))
        yield [ours for _, ours in started]
    except BaseException:
        for process, _ in started:
            process.terminate()
        raise
    finally:
        for _, ours in started:
            ours.close()
        for process, _ in started:
            process.join(30)
            process.kill()


def _work(tasks: Connection, share: Share, log: Path, hydra: Any) -> None:
    """Measure what is sent and answer with its folder, or None, until the other end is closed (or dead)."""
    signal.signal(signal.SIGTERM, _terminate)
    sys.stdout = sys.stderr = log.open("a", encoding="utf-8", buffering=1)
    if share.gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = share.gpu
    if hydra is not None:
        HydraConfig.instance().set_config(hydra)
    import torch

    from relsplit.tasks.evaluate import measure
    from relsplit.tasks.setup.catalogue import datasets_kept
    from relsplit.tasks.setup.memory import keep_freed_memory

    torch.set_num_threads(share.threads)
    keep_freed_memory()
    with datasets_kept(), suppress(EOFError, KeyboardInterrupt):
        while True:
            config = tasks.recv()
            try:
                answer = str(measure(config))
            except Exception:
                traceback.print_exc()
                answer = None
            tasks.send(answer)


def _terminate(number: int, frame: object) -> None:
    raise Terminated


def _progress() -> Progress:
    return Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
