"""Long runs that cannot be lost: a job's shards on all cores or a Dask cluster, kept in a folder as they finish."""

from .job import CHUNKS_PER_THREAD, Address, Job, grid, split
from .pools import cores
from .progress import ProgressCallback, Step, console_progress
from .store import publish
from .sweep import Results, Shard, run, stored_results
from .work import unfinished, work_of, workplace

__all__ = [
    "CHUNKS_PER_THREAD",
    "Address",
    "Job",
    "ProgressCallback",
    "Results",
    "Shard",
    "Step",
    "console_progress",
    "cores",
    "grid",
    "publish",
    "run",
    "split",
    "stored_results",
    "unfinished",
    "work_of",
    "workplace",
]
