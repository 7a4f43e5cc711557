"""What the benchmarks measure with: time and memory on any device, in rounds that a busy machine meets alike."""

import argparse
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


def arguments(what: str | None, quick: str) -> argparse.ArgumentParser:
    """A parser with the option --quick; ``what`` is the script's docstring, ``quick`` what it then does."""
    parser = argparse.ArgumentParser(description=what, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=quick)
    return parser


def add_machine(parser: argparse.ArgumentParser) -> None:
    """Add the options --threads and --device."""
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 leaves torch's choice")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")


def use_threads(count: int) -> int:
    """Have torch use so many threads, its own choice for 0; return how many it uses."""
    if count:
        torch.set_num_threads(count)
    return torch.get_num_threads()


def now() -> float:
    """The time in seconds, once every device has done what it was given."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter()


def timed(function: Callable[..., object], *arguments: Any) -> float:
    """Seconds of one call."""
    begin = now()
    function(*arguments)
    return now() - begin


def in_rounds(runs: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of every run in every round, in turn, so that a drifting machine hits all alike; one round warms up."""
    found = [{name: timed(run) for name, run in runs.items()} for _ in range(rounds + 1)][1:]
    return {name: [seconds[name] for seconds in found] for name in runs}


def medians(seconds: Mapping[str, list[float]]) -> dict[str, float]:
    """The median of every run."""
    return {name: statistics.median(values) for name, values in seconds.items()}


def ratios(seconds: Mapping[str, list[float]], to: str) -> dict[str, list[float]]:
    """Every run's seconds over those of the run called ``to`` in the same round."""
    return {
        name: [mine / reference for mine, reference in zip(values, seconds[to], strict=True)]
        for name, values in seconds.items()
    }


def times_a_forward(network: nn.Module, explain: Callable[[Tensor], object], images: Tensor, rounds: int) -> float:
    """How many forward passes of the same images one explanation takes, median over the rounds."""
    forward = torch.inference_mode()(network.__call__)
    seconds = in_rounds({"forward": lambda: forward(images), "explained": lambda: explain(images)}, rounds)
    return statistics.median(ratios(seconds, "forward")["explained"])


def peak_memory(device: str, reset: bool = False) -> int:
    """Bytes at the highest point so far; after ``reset`` on Linux and on a GPU, at the highest point from now on."""
    if device != "cpu":
        if reset:
            torch.cuda.reset_peak_memory_stats()
        return torch.cuda.max_memory_allocated()
    if sys.platform == "linux":
        if reset:
            Path("/proc/self/clear_refs").write_text("5")
        status = Path("/proc/self/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def draw_statistics(network: nn.Module, affine: bool = True) -> None:
    """Give BatchNorms random statistics (and scales and shifts), so that nothing cancels by initialisation."""
    for module in network.modules():
        mean, variance = getattr(module, "running_mean", None), getattr(module, "running_var", None)
        if isinstance(mean, Tensor) and isinstance(variance, Tensor):
            mean.normal_(0, 0.1)
            variance.uniform_(0.5, 1.5)
            if affine:
                nn.init.uniform_(module.weight, 0.5, 1.5)  # type: ignore[arg-type]
                nn.init.normal_(module.bias, 0.0, 0.1)  # type: ignore[arg-type]
