"""Which share of a harvest is this process's: as it was told, or as torchrun or srun say."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from autointerp.errors import BadInput

CHECKPOINTS = "harvest"  # folder in a run
MOST_PROCESSES = 100_000


@dataclass(frozen=True)
class Share:
    """One of `count` processes that harvest together, numbered from 0."""

    rank: int = 0
    count: int = 1


def share_of_text(text: str) -> Share:
    """Return the share that `3/8` means, of 0/8 to 7/8. Raises BadInput if it means none."""
    match = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text.strip())
    if match is None:
        raise BadInput(f"--shard {text}: write I/N, such as 3/8, of shards 0/8 to 7/8")
    rank, count = int(match[1]), int(match[2])
    if not 0 < count <= MOST_PROCESSES:
        raise BadInput(f"--shard {text}: N is to be from 1 to {MOST_PROCESSES:,}")
    if rank >= count:
        raise BadInput(
            f"--shard {text}: shards are numbered from 0, so the last one is {count - 1}/{count}"
        )
    return Share(rank, count)


def share_of_environment(environment: Mapping[str, str] = os.environ) -> Share:
    """Return the share that torchrun (RANK, WORLD_SIZE) or srun (SLURM_PROCID) gave this process.

    In a batch script outside of srun, where SLURM_NTASKS is set but nobody else runs, all of it.
    """
    if "RANK" in environment and "WORLD_SIZE" in environment:
        return Share(int(environment["RANK"]), int(environment["WORLD_SIZE"]))
    if "SLURM_PROCID" in environment and "SLURM_STEP_ID" in environment:
        count = environment.get("SLURM_STEP_NUM_TASKS") or environment.get("SLURM_NTASKS", "1")
        return Share(int(environment["SLURM_PROCID"]), int(count))
    return Share()


def job_of_environment() -> str:
    """Return what tells this group of processes from an earlier one; the same in all of them."""
    names = ("TORCHELASTIC_RUN_ID", "MASTER_ADDR", "MASTER_PORT", "SLURM_JOB_ID", "SLURM_STEP_ID")
    return "/".join(os.environ.get(name, "") for name in names)
