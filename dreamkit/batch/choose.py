"""Which workers carry out a batch."""

import os
from pathlib import Path

from dreamkit.batch.cluster import ClusterPool
from dreamkit.batch.pool import AbstractPool, LocalPool


def choose_pool(
    out: Path,
    device: str,
    workers: int | None,
    threads: int,
    cluster: str | None,
    pack: int = 1,
    patience: float | None = None,
) -> AbstractPool:
    """Processes here, or tasks on the Ray cluster at the address `cluster`; each makes `pack` assets at a time.

    Without a number of workers: as many as this process may use cores, or one on a GPU; on a cluster, as many as it has
    room for. There, the device `auto` is the CPU. Workers here are replaced after `patience` seconds of silence. Raises
    ValueError for a cluster with patience.
    """
    if cluster is not None:
        if patience is not None:
            raise ValueError("--patience is for workers of this machine; a cluster watches over its own. Leave it out")
        return ClusterPool(cluster, workers, "cpu" if device == "auto" else device, threads, pack)
    if workers is None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        workers = max(1, cores // threads) if device == "cpu" else 1
    log = out / "workers.log"
    return LocalPool(workers, log, device, threads, pack, LocalPool.patience if patience is None else patience)
