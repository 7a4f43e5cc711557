"""What it saves to evaluate several methods together: seconds, masked images scored, image files opened.

    python benchmarks/evaluated_together.py            # Table 1 on the demo (trained on first use), 16 images
    python benchmarks/evaluated_together.py --quick    # three of them

The rows and controls are evaluated as a process each (``explainer=NAME``), as the points of a sweep in one process
(``-m explainer=A,B``), and together (``task.explainers=[A,B]``). Scores are compared, too.
"""

import argparse
import json
import resource
import runpy
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
from _measuring import arguments

from relsplit.metrics.insertion_deletion.masked_images import MaskedImages

ROOT = Path(__file__).parents[1]
ROWS = ["lrp_epsilon", "integrated_gradients", "guided_backprop", "grad_cam", "score_cam", "ours_released", "ours"]
CONTROLS = ["random", "center", "edges", "one_pixel"]
QUICK = ["ours_released", "ours", "one_pixel"]
IMAGES = (".png", ".jpg", ".jpeg")


def main() -> None:
    """Print the table."""
    args = parse_arguments()
    names = QUICK if args.quick else args.methods
    common = ["protocol=[published,strict]", "logger=none", "device=cpu", *args.overrides]
    common.append(f"num_samples={args.samples}")
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run(  # trains and draws what is missing
            command(Path(scratch, "first.json"), ["explainer=center", f"output_dir={scratch}/first", *common]),
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        ways = {
            "a process each": [[f"explainer={name}", f"output_dir={scratch}/alone/{name}"] for name in names],
            "a sweep": [["-m", f"explainer={','.join(names)}", f"output_dir={scratch}/sweep/${{explainer.name}}"]],
            "together": [[f"task.explainers=[{','.join(names)}]", f"output_dir={scratch}/together"]],
        }
        print(f"{len(names)} methods, {args.samples} images")
        print(f"{'':16}{'seconds':>9}{'CPU s':>9}{'masked images':>15}{'files opened':>14}")
        for way, starts in ways.items():
            total, begin, used = Counter[str](), time.perf_counter(), cpu_seconds()
            for typed in starts:
                report = Path(scratch, "report.json")
                subprocess.run(
                    command(report, [*typed, *common]),
                    check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                )  # fmt: skip
                total.update(json.loads(report.read_text()))
            seconds, used = time.perf_counter() - begin, cpu_seconds() - used
            counts = f"{total['masked images']:15,}{total['files opened']:14,}"
            print(f"{way:16}{seconds:9.1f}{used:9.1f}{counts}", flush=True)
        gap = max(difference(Path(scratch, "together", name), Path(scratch, "sweep", name)) for name in names)
        print(f"largest difference of a score: {gap:.1e}")


def command(report: Path, typed: list[str]) -> list[str]:
    """A command line in a process that counts."""
    return [sys.executable, __file__, "--counted", str(report), *typed]


def cpu_seconds() -> float:
    """CPU seconds of all processes that were waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def difference(folder: Path, other: Path) -> float:
    """Largest difference between the scores of two runs."""
    first, second = (pd.read_csv(each / "samples.csv").filter(regex="insertion|deletion") for each in (folder, other))
    return float((first - second).abs().to_numpy().max())


def counted(report: Path, typed: list[str]) -> None:
    """Run a command line, and write down what it scored and opened."""
    counts = Counter[str]()

    def heard(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and str(arguments[0]).endswith(IMAGES) and arguments[1] in ("r", "rb"):
            counts["files opened"] += 1

    build = MaskedImages.build

    def counting(self: MaskedImages, start: int, stop: int) -> Any:
        counts["masked images"] += stop - start
        return build(self, start, stop)

    sys.addaudithook(heard)
    setattr(MaskedImages, "build", counting)  # noqa: B010 (for type checkers)
    sys.argv = [str(ROOT / "run.py"), *typed]
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    finally:
        report.write_text(json.dumps(counts))


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = arguments(__doc__, quick="three of the methods")
    parser.add_argument("overrides", nargs="*", help="of the configuration")
    parser.add_argument("--methods", nargs="+", default=[*ROWS, *CONTROLS])
    parser.add_argument("--samples", type=int, default=16)
    return parser.parse_args()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--counted"]:
        counted(Path(sys.argv[2]), sys.argv[3:])
    else:
        main()
