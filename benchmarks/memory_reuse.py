"""What a forward pass costs when freed memory is returned to the system at once, and when the process keeps it.

    python benchmarks/memory_reuse.py [--rounds 5]

Two processes, one as Python starts it and one after ``keep_freed_memory()``, take turns; milliseconds per image, the
median over the rounds, and the peak of resident memory.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

NETWORKS = {"mobilenet_v2": 32, "resnet50": 8, "vit_b_16": 8}


def measure(name: str, keep: bool) -> dict[str, float]:
    """Milliseconds per image of one forward pass (the best of three) and peak MiB of this process."""
    import torch
    from torchvision.models import get_model

    from relsplit.bench.machine.memory import keep_freed_memory

    if keep:
        keep_freed_memory()
    model, images = get_model(name).eval(), torch.rand(NETWORKS[name], 3, 224, 224)
    durations = []
    with torch.inference_mode():
        for _ in range(4):
            begin = time.perf_counter()
            model(images)
            durations.append(time.perf_counter() - begin)
    return {
        "ms": 1000 * min(durations[1:]) / len(images),
        "MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--one", nargs=2, metavar=("NAME", "KEEP"), help="measure one, in this process")
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(arguments.one[0], arguments.one[1] == "True")))
        return
    print(f"{'network':<14} {'batch':>5}  {'returned: ms':>12} {'MiB':>6}  {'kept: ms':>9} {'MiB':>6}  ratio")
    for name, batch in NETWORKS.items():
        found: dict[bool, list[dict[str, float]]] = {False: [], True: []}
        for _ in range(arguments.rounds):
            for keep, results in found.items():
                command = [sys.executable, __file__, "--one", name, str(keep)]
                results.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
        returned, kept = (
            {key: statistics.median(each[key] for each in results) for key in ("ms", "MiB")}
            for results in found.values()
        )
        print(
            f"{name:<14} {batch:>5}  {returned['ms']:>12.1f} {returned['MiB']:>6.0f}  {kept['ms']:>9.1f} "
            f"{kept['MiB']:>6.0f}  {returned['ms'] / kept['ms']:.1f}"
        )


if __name__ == "__main__":
    main()
