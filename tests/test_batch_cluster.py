"""The same batch on two Ray nodes of this machine, one of which is killed in the middle."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from tiny_batches import checksums, plan

from dreamkit.batch.cluster import ClusterPool
from dreamkit.batch.pool import LocalPool
from dreamkit.batch.result import Result
from dreamkit.batch.task import Task
from dreamkit.batch.worker import message
from dreamkit.rendering import Step


def test_without_ray_the_option_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    # An entry of None is how Python marks a module that cannot be imported.
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match=r"dreamkit\[cluster\]"):
        list(ClusterPool("auto").run(plan(tmp_path, "a red mug")))


class PretendedRay:
    """As much of Ray as the pool uses, in this process: two cores, and the first pack's machine is lost half-way."""

    class RayError(Exception):
        pass

    def __init__(self) -> None:
        self.exceptions = self
        self.sent: list[list[str]] = []

    def is_initialized(self) -> bool:
        return True

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 2.0}

    def remote(self, **options: object):
        return lambda function: SimpleNamespace(remote=self._perform)

    def wait(self, streams: list[Iterator], num_returns: int, timeout: float) -> tuple[list, list]:
        return streams[:1], streams[1:]

    def get(self, said: dict | Exception) -> dict:
        if isinstance(said, Exception):
            raise said
        return said

    def _perform(self, pack: list[dict], device: str, threads: int, version: str) -> Iterator[dict | Exception]:
        tasks = [Task(**entry) for entry in pack]
        self.sent.append([task.prompt for task in tasks])
        return self._said(tasks, breaks=len(self.sent) == 1)

    def _said(self, tasks: list[Task], breaks: bool) -> Iterator[dict | Exception]:
        for index, task in enumerate(tasks):
            yield message(task, Step(1, 6, 0.5))
            if breaks and index == 1:
                yield self.RayError("the node is gone")
            yield message(task, Result(task.key, "done"))


def test_packs_travel_whole_and_go_on_one_by_one_where_a_machine_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = PretendedRay()
    monkeypatch.setattr("dreamkit.batch.cluster._ray", lambda: ray)
    prompts = ("a red mug", "a blue cat", "a red car", "a green mug", "a red cat")
    events = list(ClusterPool("auto", pack=3).run(plan(tmp_path, *prompts)))
    # The first asset of the lost pack was done; the other two come back alone.
    assert ray.sent == [list(prompts[:3]), list(prompts[3:]), [prompts[1]], [prompts[2]]]
    ended = [event.task.prompt for event in events if isinstance(event.said, Result)]
    assert sorted(ended) == sorted(prompts)
    died = [e.task.prompt for e in events if isinstance(e.said, Step) and e.said.note]
    assert died == ["a blue cat", "a red car"]
    first = {event.task.prompt: event.place for event in reversed(events)}
    assert [first[prompt] for prompt in prompts] == [0, 1, 2, 3, 4]


@pytest.mark.slow
def test_a_lost_node_costs_nothing_but_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two nodes of one core each; the second is killed when its task has passed a checkpoint.

    Every prompt has exactly one result, and the bytes are those of one local worker.
    """
    pytest.importorskip("ray.cluster_utils", reason="Ray is not installed: pip install 'dreamkit[cluster]'")
    from ray.cluster_utils import Cluster

    # Ray runs its workers at the lowest priority but four; on a busy machine they would get next to nothing.
    monkeypatch.setenv("RAY_worker_niceness", "0")
    prompts = ("a red mug", "a blue cat", "a red dragon")
    out, alone = tmp_path / "cluster", tmp_path / "alone"
    memory = {"object_store_memory": 80 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False, **memory})
    lost = cluster.add_node(num_cpus=1, resources={"lost": 1}, **memory)
    out.mkdir()
    (out / "run.lock").touch()
    events = []
    try:
        for event in ClusterPool(cluster.address).run(plan(out, *prompts)):
            events.append(event)
            both = {e.place for e in events if not isinstance(e.said, Result) and e.said.index >= 3}
            if lost is not None and len(both) == 2:
                cluster.remove_node(lost, allow_graceful=False)
                lost = None
    finally:
        cluster.shutdown()
    assert lost is None, "the node was never killed: both workers did not run at once"
    ended = [(e.task.prompt, e.said.status) for e in events if isinstance(e.said, Result)]
    assert sorted(ended) == [("a blue cat", "done"), ("a red dragon", "failed"), ("a red mug", "done")]
    assert [e for e in events if not isinstance(e.said, Result) and e.said.note and "worker died" in e.said.note]
    alone.mkdir()
    list(LocalPool(1, alone / "log").run(plan(alone, *prompts[:2])))
    assert checksums(out) == checksums(alone)
