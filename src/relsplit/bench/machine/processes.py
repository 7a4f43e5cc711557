"""Which of the processes of a run this one is: srun and torchrun start several of the same command."""

import os

from lightning_utilities.core.rank_zero import rank_zero_only

RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")
"""Environment variables that say it, in Lightning's order: SLURM_PROCID is also set where Slurm starts one process."""

SIZES = ("WORLD_SIZE", "SLURM_NTASKS", "JSM_NAMESPACE_SIZE")
"""Environment variables that say how many there are."""


def first_process() -> bool:
    """Whether this is the process that writes what belongs to the whole run.

    Lightning says it where it has been imported; until then the environment, as Lightning will read it.
    """
    rank = getattr(rank_zero_only, "rank", None)
    if rank is None:
        rank = next((int(os.environ[name]) for name in RANKS if name in os.environ), 0)
    return bool(rank == 0)


def started_alone() -> bool:
    """Whether srun, torchrun or jsrun has started no other process beside this one."""
    return all(int(os.environ.get(name) or 1) == 1 for name in SIZES)
