"""A worker: a process that reads packs of tasks from its input and tells of them on its output, in lines of JSON.

Nothing is pickled, and nothing is asked of the program that started it: it may be a notebook. A worker dies with its
parent, because then its input ends.
"""

import json
import os
import queue
import sys
import threading
import traceback
from dataclasses import asdict
from typing import TextIO

import torch

from dreamkit.batch.pack import perform_pack
from dreamkit.batch.perform import LoadedPrior
from dreamkit.batch.result import Result
from dreamkit.batch.task import Task
from dreamkit.rendering import Step


def serve(channel: TextIO, device: str, threads: int) -> None:
    """Carry out tasks until the input ends; `channel` hears a line for each step and each result."""
    torch.set_num_threads(threads)
    tasks: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(tasks,), daemon=True).start()
    prior = LoadedPrior(device)
    _tell(channel, {"event": "ready"})
    while True:
        pack = [Task(**entry) for entry in json.loads(tasks.get())]
        for task, said in perform_pack(pack, prior):
            _tell(channel, message(task, said))


def message(task: Task, said: Step | Result) -> dict:
    """A step or a result of a task as plain values."""
    if isinstance(said, Result):
        return {"event": "result", **asdict(said)}
    return {
        "event": "step", "key": task.key, "index": said.index, "total": said.total, "loss": said.loss,
        "note": said.note, "stage": said.stage,
    }  # fmt: skip


def heard(message: dict) -> tuple[str, Step | Result]:
    """The task's key, and what it said."""
    values = {name: value for name, value in message.items() if name != "event"}
    if message["event"] == "result":
        return message["key"], Result(**values)
    return values.pop("key"), Step(**values)


def main() -> None:
    """`python -m dreamkit.batch.worker DEVICE THREADS`; started by the batch."""
    # What libraries print must not get between the messages.
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        serve(channel, sys.argv[1], int(sys.argv[2]))
    except BaseException:
        # The listening thread may not hold up the end of a process that is broken.
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)


def _listen(tasks: "queue.SimpleQueue[str]") -> None:
    for line in sys.stdin:
        tasks.put(line)
    # The parent has closed the input, or has died. Files are only ever whole, so there is nothing to tidy up.
    os._exit(0)


def _tell(channel: TextIO, said: dict) -> None:
    channel.write(json.dumps(said) + "\n")
    channel.flush()


if __name__ == "__main__":
    main()
