"""How an evaluation scales over processes: predicted from measured times per batch, and measured for 1 and 2.

    python benchmarks/scale_out.py            # the demo (its network is trained on first use), 96 images
    python benchmarks/scale_out.py --quick    # 32 images

An evaluation deals its batches to P processes, every P-th to each, and ends with the slowest. Predicted: the start-up
and the greatest sum of batch times of any process. The start-up is that of an evaluation of one batch, for several
processes of one batch each, less that batch. Every process has one thread, so that two do not share a core of a machine
with two; on GPUs a process has a GPU of its own. The method is Score-CAM, so that there is something to do.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
from _measuring import arguments

ROOT = Path(__file__).parents[1]
BATCH = 8


def main() -> None:
    args = parse_arguments()
    with tempfile.TemporaryDirectory() as scratch:
        evaluated(Path(scratch, "first"), BATCH, 1, args.overrides)  # trains and draws what is missing
        starts = []
        for processes in (1, 2):
            wall, seconds = evaluated(Path(scratch, f"start{processes}"), processes * BATCH, processes, args.overrides)
            starts.append(wall - max(seconds))
        walls = {}
        for processes in (1, 2):
            walls[processes], seconds = evaluated(
                Path(scratch, f"{processes}"), args.samples, processes, args.overrides
            )
            if processes == 1:
                batches = seconds
        print(f"{args.samples} images, batches of {BATCH}: {sum(batches) / args.samples:.2f} s an image")
        print(f"start-up: {starts[0]:.1f} s for one process, {starts[1]:.1f} s for two")
        print(f"{'processes':>10}{'predicted s':>13}{'measured s':>12}")
        for processes in (1, 2, 4, 8):
            predicted = starts[processes > 1] + slowest(batches, processes)
            measured = f"{walls[processes]:12.1f}" if processes in walls else ""
            print(f"{processes:10}{predicted:13.1f}{measured}", flush=True)


def evaluated(folder: Path, samples: int, processes: int, overrides: list[str]) -> tuple[float, list[float]]:
    """Run an evaluation; return its duration and the seconds of each batch."""
    command = [
        sys.executable, str(ROOT / "run.py"), "explainer=score_cam", f"output_dir={folder}", f"num_samples={samples}",
        f"task.batch_size={BATCH}", f"trainer.devices={processes}", "device=cpu", "logger=none", "task.pictures=0",
        *overrides,
    ]  # fmt: skip
    begin = time.perf_counter()
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wall = time.perf_counter() - begin
    assert json.loads((folder / "summary.json").read_text())["num_samples"] == samples
    each = pd.read_csv(folder / "samples.csv")["seconds"]
    return wall, [float(each[start : start + BATCH].sum()) for start in range(0, samples, BATCH)]


def slowest(batches: list[float], processes: int) -> float:
    """Seconds of the process that has most to do when every ``processes``-th batch is dealt to each."""
    return max(sum(batches[first::processes]) for first in range(processes))


def parse_arguments() -> argparse.Namespace:
    parser = arguments(__doc__, quick="32 images")
    parser.add_argument("overrides", nargs="*", help="of the configuration")
    parser.add_argument("--samples", type=int, default=96)
    args = parser.parse_args()
    if args.quick:
        args.samples = 32
    return args


if __name__ == "__main__":
    main()
