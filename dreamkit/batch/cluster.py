"""Workers on a Ray cluster: the same tasks, on any number of machines that share a folder.

Ray (extra `cluster`) is an option; nothing else imports it. Only texts and numbers travel through Ray: the assets are
written by the machine that makes them, in a folder that every machine sees under the same path (NFS, say). Locks in
that folder are flock's, which NFS keeps from version 4 on. Ray itself sends functions pickled between its own
processes, so a cluster is for machines that trust each other.
"""

import inspect
from collections import Counter, deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import torch

import dreamkit
from dreamkit.batch.pack import Pack, packs_of, perform_pack
from dreamkit.batch.perform import LoadedPrior
from dreamkit.batch.pool import AbstractPool, Event, Places, hear, try_again
from dreamkit.batch.task import Task
from dreamkit.batch.worker import message
from dreamkit.training.lock import NAME


@dataclass(frozen=True)
class ClusterPool(AbstractPool):
    """As many packs at once as the cluster has room for, or `workers` at most; each has `threads` cores, or one GPU.

    Tasks whose process or machine is lost go on from their checkpoints on others, each one alone; the lock in its
    folder keeps a machine that was only believed dead from writing beside it.
    """

    address: str
    "What `ray start` printed, or `auto`."
    workers: int | None = None
    device: str = "cpu"
    threads: int = 1
    pack: int = 1

    def run(self, tasks: Sequence[Task]) -> Generator[Event]:
        """See `AbstractPool.run`. Raises ValueError where Ray is missing or the cluster cannot be reached."""
        ray = _ray()
        mine = not ray.is_initialized()
        if mine:
            _connect(ray, self.address)
        try:
            yield from self._run(ray, deque(packs_of(tasks, self.pack)))
        finally:
            if mine:
                ray.shutdown()

    def _run(self, ray: Any, waiting: deque[Pack]) -> Generator[Event]:
        begin, attempts = self._remote(ray), Counter()
        running: dict[Any, Places] = {}
        try:
            while waiting or running:
                while waiting and len(running) < self._room(ray):
                    pack = waiting.popleft()
                    sent = [asdict(task) for task in pack]
                    stream = begin.remote(sent, self.device, self.threads, dreamkit.__version__)
                    running[stream] = self._places(pack, running)
                for stream in ray.wait(list(running), num_returns=1, timeout=10)[0]:
                    places = running[stream]
                    try:
                        yield hear(places, ray.get(next(stream)))
                    except (ray.exceptions.RayError, StopIteration) as error:
                        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
                        yield from try_again(places, attempts, waiting, reason)
                        places.clear()
                    if not places:
                        del running[stream]
        finally:
            for stream in running:
                with suppress(ray.exceptions.RayError):
                    ray.cancel(stream, force=True)

    def _places(self, pack: Pack, running: dict[Any, Places]) -> Places:
        """The first numbers that no other pack has."""
        taken = {place for places in running.values() for place, _ in places.values()}
        free = (place for place in count() if place not in taken)
        return {task.key: (next(free), task) for task in pack}

    def _remote(self, ray: Any) -> Any:
        threads = str(self.threads)
        gpus = 0 if self.device == "cpu" else 1
        # `max_calls`: Ray would end a process with a GPU after each task, and the prior in it.
        # `unwrap`: a wrapper that checks types, as in the tests, hides from Ray that this is a generator.
        # `max_retries`: retries are counted here, and told.
        return ray.remote(
            num_cpus=self.threads, num_gpus=gpus, max_retries=0, max_calls=0, num_returns="streaming",
            runtime_env={"env_vars": {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}},
        )(inspect.unwrap(_perform))  # fmt: skip

    def _room(self, ray: Any) -> int:
        kind, share = ("CPU", self.threads) if self.device == "cpu" else ("GPU", 1)
        room = max(1, int(ray.cluster_resources().get(kind, 0)) // share)
        return room if self.workers is None else min(room, self.workers)


def _perform(pack: list[dict], device: str, threads: int, version: str) -> Iterator[dict]:
    """One pack, in a process of the cluster; it stays for the next one, and so does its prior."""
    if version != dreamkit.__version__:
        raise RuntimeError(f"this machine has dreamkit {dreamkit.__version__}, the batch has {version}")
    out = Path(pack[0]["folder"]).parent
    if not (out / NAME).exists():
        raise RuntimeError(f"this machine does not see {out}; a cluster shares that folder")
    torch.set_num_threads(threads)
    for task, said in perform_pack([Task(**entry) for entry in pack], _prior(device)):
        yield message(task, said)


@cache
def _prior(device: str) -> LoadedPrior:
    return LoadedPrior(device)


def _ray() -> Any:
    try:
        import ray  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ValueError("--ray needs Ray: pip install 'dreamkit[cluster]'; without --ray, none is needed") from error
    return ray


def _connect(ray: Any, address: str) -> None:
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ValueError(f"cannot reach the Ray cluster at {address!r}: {str(error).splitlines()[0]}") from error
