"""The same batch on two Ray nodes of this machine, one of which is killed in the middle."""

from pathlib import Path

import pytest
from tiny_batches import checksums, plan

from dreamkit.batch.cluster import ClusterPool
from dreamkit.batch.pool import LocalPool
from dreamkit.batch.result import Result


def test_without_ray_the_option_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    # An entry of None is how Python marks a module that cannot be imported.
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match=r"dreamkit\[cluster\]"):
        list(ClusterPool("auto").run(plan(tmp_path, "a red mug")))


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
