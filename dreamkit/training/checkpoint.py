"""Checkpoints: one safetensors file that is either whole or absent, and that knows when it is damaged.

The one before it is kept as well, for the day when the disk has damaged the last one. Nothing is pickled, so a
checkpoint from a stranger cannot run code.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor


class DamagedCheckpoint(ValueError):
    """A checkpoint cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class Checkpoint:
    """Named tensors, and plain facts about them (step, seed, version ...)."""

    tensors: Mapping[str, Tensor]
    facts: Mapping[str, str]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose names start with `prefix/`, without it."""
        return {name[len(prefix) + 1 :]: value for name, value in self.tensors.items() if name.startswith(prefix + "/")}


def prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `Checkpoint.part`."""
    return {f"{prefix}/{name}": value for name, value in tensors.items()}


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write the checkpoint beside its place, flush it to the disk, then move it there.

    What was there becomes the previous one (see `previous`). A crash at any moment leaves a whole checkpoint in one of
    the two places. Raises OSError where the disk refuses.
    """
    tensors = {name: value.detach().cpu().contiguous() for name, value in checkpoint.tensors.items()}
    facts = {**checkpoint.facts, "sha256": _digest(tensors, checkpoint.facts)}
    partial = path.with_name(path.name + ".partial")
    try:
        save_file(tensors, partial, metadata=facts)
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        if path.exists():
            path.replace(previous(path))
        partial.replace(path)
    except SafetensorError as error:
        # safetensors wraps what the operating system said ("No space left on device (os error 28)") in its own type.
        if number := re.search(r"os error (\d+)", str(error)):
            code = int(number[1])
            raise OSError(code, os.strerror(code), str(path)) from error
        raise OSError(f"could not write the checkpoint {path}: {error}") from error
    finally:
        partial.unlink(missing_ok=True)


def previous(path: Path) -> Path:
    """Where the checkpoint before the last one is kept."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def load_latest(path: Path) -> tuple[Checkpoint | None, str | None]:
    """The last checkpoint that is whole, None where there is none, and what a person should know about it.

    Falls back to the previous one where the last is damaged, or is missing because a crash came between two renames.
    Raises DamagedCheckpoint where no whole one is left.
    """
    older = previous(path)
    if not path.exists():
        return (load_checkpoint(older), None) if older.exists() else (None, None)
    try:
        return load_checkpoint(path), None
    except DamagedCheckpoint as error:
        if not older.exists():
            raise
        stored = load_checkpoint(older)
        step = stored.facts.get("step", "unknown")
        return stored, f"{path.name} is damaged: going on from the previous checkpoint, step {step} ({error})"


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint and verify its checksum.

    Raises FileNotFoundError where there is none, DamagedCheckpoint where it is cut short or altered.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}")
    try:
        with safe_open(path, framework="pt") as file:
            facts = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except SafetensorError as error:
        raise DamagedCheckpoint(f"the checkpoint {path} is damaged ({error}). {_advice(path)}") from error
    stored = facts.pop("sha256", None)
    if stored != _digest(tensors, facts):
        raise DamagedCheckpoint(
            f"the checkpoint {path} does not match its checksum: it was altered or damaged after it was written. "
            + _advice(path)
        )
    return Checkpoint(tensors, facts)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's state as flat named tensors: `INDEX/NAME` for each parameter."""
    state = optimizer.state_dict()["state"]
    return {
        f"{index}/{name}": torch.as_tensor(value) for index, entry in state.items() for name, value in entry.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` returned; the parameter groups stay as they are."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split("/", 1)
        # A copy: the optimiser changes its state in place, and the checkpoint may be needed again.
        state.setdefault(int(index), {})[name] = value.clone()
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _advice(path: Path) -> str:
    older = previous(path)
    others = f" The one before it is {older}: resuming the run goes on from there." if older.exists() else ""
    return f"Delete it to start afresh, or restore it from a copy.{others}"


def _digest(tensors: Mapping[str, Tensor], facts: Mapping[str, str]) -> str:
    digest = hashlib.sha256(json.dumps(dict(facts), sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
