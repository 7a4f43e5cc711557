"""How an evaluation scales over processes: predicted from measured times per batch, and measured for 1 and 2.

    python benchmarks/scale_out.py            # the demo (its network is trained on first use), 96 images
    python benchmarks/scale_out.py --quick    # 32 images

An evaluation deals its batches to P processes, every P-th to each, and ends with the slowest. Predicted: the start-up,
and as many batches as a process has at most. What a batch takes follows from an evaluation of all and one of a single
batch; the start-up is that of an evaluation of one batch for each process, less that batch. Every process has one
thread, so that two do not share a core of a machine with two; on GPUs a process has a GPU of its own. The method is
Score-CAM, so that there is something to do.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _measuring import arguments

ROOT = Path(__file__).parents[1]
BATCH = 8


def main() -> None:
    args = parse_arguments()
    with tempfile.TemporaryDirectory() as scratch:
        evaluated(Path(scratch, "first"), BATCH, 1, args.overrides)  # trains and draws what is missing
        walls = {}
        for processes in (1, 2):
            for samples in (processes * BATCH, args.samples):
                folder = Path(scratch, f"{processes}_{samples}")
                walls[processes, samples] = evaluated(folder, samples, processes, args.overrides)
        batches = math.ceil(args.samples / BATCH)
        batch = (walls[1, args.samples] - walls[1, BATCH]) / (batches - 1)
        starts = [walls[processes, processes * BATCH] - batch for processes in (1, 2)]
        print(f"{args.samples} images, batches of {BATCH}: {batch / BATCH:.2f} s an image")
        print(f"start-up: {starts[0]:.1f} s for one process, {starts[1]:.1f} s for two")
        print(f"{'processes':>10}{'predicted s':>13}{'measured s':>12}")
        for processes in (1, 2, 4, 8):
            predicted = starts[processes > 1] + math.ceil(batches / processes) * batch
            measured = f"{walls[processes, args.samples]:12.1f}" if processes in (1, 2) else ""
            print(f"{processes:10}{predicted:13.1f}{measured}", flush=True)


def evaluated(folder: Path, samples: int, processes: int, overrides: list[str]) -> float:
    """Run an evaluation; return its duration in seconds."""
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
    return wall


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
