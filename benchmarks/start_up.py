"""What a command costs before it computes anything: CPU seconds, beside the import of torch and torchvision.

    python benchmarks/start_up.py                # rounds over everything; some minutes, most for the tables' first run
    python benchmarks/start_up.py --quick        # without the tables of a paper

Every command is a process of its own, in an empty folder with a few drawn birds and a network with random weights; the
commands take turns, and the table shows medians over the rounds. CPU seconds (user and system, of all threads) are what
to compare on a machine that others use, too.
"""

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from _measuring import arguments
from hydra import compose, initialize_config_dir

from relsplit.bench.models.build import initial_model

PROJECT = Path(__file__).parents[1]
RUN = [sys.executable, str(PROJECT / "run.py")]
NUM_SPECIES = 12
SMALL = [
    "dataset.catalogue.train_per_species=2",
    "dataset.catalogue.test_per_species=1",
    "model.checkpoint=weights.pt",
    f"num_samples={NUM_SPECIES}",
    "task.pictures=2",
    "logger=none",
    "device=cpu",
]
EVALUATION = ["explainer=ours", *SMALL]
PAPER = ["experiment=otsuki2024/all", *SMALL]
REFERENCE = "import torch, torchvision"


def main() -> None:
    """Print the table."""
    parser = arguments(__doc__, quick="without the tables of a paper")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    commands = {
        REFERENCE: [sys.executable, "-c", REFERENCE],
        "--help": [*RUN, "--help"],
        "a value out of range": [*RUN, "num_samples=0"],
        "an unknown explainer": [*RUN, "explainer=unheard_of"],
        "an option it does not take": [*RUN, "+explainer.colour=blue"],
        "a finished evaluation": [*RUN, *EVALUATION],
    }
    if not options.quick:
        commands |= {"planning reproduce-all": [*RUN, *PAPER], "finished reproduce-all": [*RUN, *PAPER]}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_weights(folder / "weights.pt")
        for first in [EVALUATION] if options.quick else [EVALUATION, PAPER]:
            subprocess.run([*RUN, *first], cwd=folder, check=True, capture_output=True)
        seconds: dict[str, list[float]] = {what: [] for what in commands}
        for _ in range(options.rounds):
            for what, command in commands.items():
                seconds[what].append(cpu_seconds(command, folder, only_first_line=what.startswith("planning")))
    medians = {what: statistics.median(values) for what, values in seconds.items()}
    print(f"median of {options.rounds} rounds, {os.cpu_count()} cores")
    print(f"{'':28}{'CPU s':>8}{'least':>8}{'of the import':>15}")
    for what, median in medians.items():
        print(f"{what:28}{median:8.2f}{min(seconds[what]):8.2f}{median / medians[REFERENCE]:15.2f}")


def write_weights(path: Path) -> None:
    """Random weights of the demo network."""
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        torch.save(initial_model(compose("config"), NUM_SPECIES).state_dict(), path)


def cpu_seconds(command: list[str], folder: Path, only_first_line: bool = False) -> float:
    """CPU seconds of a process until it ends, or until it has something to say: then it has planned, and is ended."""
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    if only_first_line:
        process.stdout.readline()
        process.terminate()
    process.stdout.read()
    _, _, usage = os.wait4(process.pid, 0)
    process.returncode = 0  # it has been waited for
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
