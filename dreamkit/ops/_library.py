"""Which implementation an op uses: on CUDA the field's own library, else our compiled module, else the torch reference.

Each is taken where it is there and fits. The environment variable `DREAMKIT_BACKEND` (`native` or `reference`)
overrules the choice.
"""

import importlib
import os
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from dreamkit.names import check_choice

OPS = ("hash_encode", "march", "composite", "rasterize", "interpolate", "antialias", "texture", "splat")
"The ops that have a native implementation."

_UNORDERED = ("hash_encode", "rasterize", "interpolate", "antialias", "texture")
"Ops whose CUDA gradient is added up with atomic operations."

LIBRARIES = {
    "hash_encode": "tinycudann",
    "march": "nerfacc",
    "composite": "nerfacc",
    "rasterize": "nvdiffrast",
    "interpolate": "nvdiffrast",
    "antialias": "nvdiffrast",
    "texture": "nvdiffrast",
    "splat": "gsplat",
}
"What stands behind an op on CUDA where it can be imported; the adapters are `_nerfacc.py` and its like."

_MODULES = {"nvdiffrast": "nvdiffrast.torch"}
"Where a library's functions are not in its own name."

_CHOICES = ("native", "reference")
_REMEDY = (
    "install a C++17 compiler (Debian: apt install g++, macOS: xcode-select --install, "
    "Windows: the Visual Studio Build Tools) and run pip install --force-reinstall --no-deps dreamkit again"
)


@dataclass(frozen=True)
class Backend:
    """What computes an op, and why: a line of `dreamkit doctor`."""

    op: str
    backend: str
    "`native`, `reference`, or the name of a library."
    reason: str


def backends(device: torch.device | str = "cpu") -> list[Backend]:
    """The backend of every op for tensors on `device`."""
    return [backend_of(op, torch.device(device)) for op in OPS]


def backend_of(op: str, device: torch.device) -> Backend:
    """The backend of one op; raises `ValueError` for an unknown op or an unknown `DREAMKIT_BACKEND`."""
    own = _own_backend(op, device)
    if device.type == "cuda" and isinstance(_library_for(op), ModuleType):
        return Backend(op, LIBRARIES[op], f"{LIBRARIES[op]} is installed; what it does not serve: {own.backend}")
    return own


def _own_backend(op: str, device: torch.device) -> Backend:
    """The choice among our own implementations."""
    check_choice("op", op, OPS)
    forced = _forced()
    if forced == "reference":
        return Backend(op, "reference", "DREAMKIT_BACKEND=reference")
    obstacle = _obstacle(op, device)
    if obstacle is None:
        return Backend(op, "native", f"compiled kernels: {kernels().description()}" if device.type == "cpu" else "CUDA")
    if forced == "native":
        raise RuntimeError(f"DREAMKIT_BACKEND=native, but {op} cannot run native on {device.type}: {obstacle}")
    return Backend(op, "reference", obstacle)


def _forced() -> str:
    forced = os.environ.get("DREAMKIT_BACKEND", "")
    if forced:
        check_choice("DREAMKIT_BACKEND", forced, _CHOICES)
    return forced


# torch.compile must not trace the search for a module; the answer is a constant of the process.
@torch.compiler.assume_constant_result
def runs_native(op: str, device: torch.device) -> bool:
    """Whether the op's native implementation is to be used; warns once when a missing build makes it slow."""
    chosen = _own_backend(op, device)
    if chosen.backend == "reference" and "DREAMKIT_BACKEND" not in os.environ and isinstance(_load(), str):
        _warn_once()
    return chosen.backend == "native"


def library(op: str, tensor: Tensor) -> ModuleType | None:
    """The field's own library for an op on this tensor: float32 on CUDA, and installed; None where it is not for it."""
    if not tensor.is_cuda or tensor.dtype != torch.float32:
        return None
    found = _library_for(op)
    return found if isinstance(found, ModuleType) else None


@torch.compiler.assume_constant_result
def _library_for(op: str) -> ModuleType | str:
    """The library's module, or why it is not used."""
    if _forced():
        return "DREAMKIT_BACKEND asks for another"
    if torch.are_deterministic_algorithms_enabled():
        return "deterministic algorithms are asked for, and its gradients add in no fixed order"
    return _import_library(LIBRARIES[op])


@cache
def _import_library(name: str) -> ModuleType | str:
    """The library's module, or the reason why it cannot be used. nerfacc and nvdiffrast may compile themselves here."""
    try:
        module = importlib.import_module(_MODULES.get(name, name))
        # Without a compiler nerfacc can still be imported, and fails when it is called.
        if name == "nerfacc" and importlib.import_module("nerfacc.cuda._backend")._C is None:
            return "nerfacc is installed without its CUDA part"
        return module
    # tinycudann raises OSError where there is no GPU, a failed compilation RuntimeError.
    except (ImportError, OSError, RuntimeError) as error:
        return str(error)


def kernels() -> ModuleType:
    """The compiled module; raises `RuntimeError` with the remedy where there is none."""
    module = _load()
    if isinstance(module, str):
        raise RuntimeError(f"dreamkit has no compiled kernels ({module}); {_REMEDY}")
    return module


def launch(tensor: Tensor) -> tuple[int, int]:
    """How the kernels are to run: torch's number of threads, and the address of the current CUDA stream (else 0)."""
    stream = torch.cuda.current_stream(tensor.device).cuda_stream if tensor.is_cuda else 0
    return torch.get_num_threads(), stream


def on_device(tensor: Tensor) -> AbstractContextManager:
    """Makes the tensor's GPU the current one, which a kernel launch needs; does nothing on the processor."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else nullcontext()


def run_kernel(name: str, *arguments: Any) -> None:
    """Call a loop of the compiled module on the device of the first tensor; outputs are new tensors among the rest."""
    first = next(argument for argument in arguments if isinstance(argument, Tensor))
    plain = [a.detach().contiguous() if isinstance(a, Tensor) else a for a in arguments]
    with on_device(first):
        getattr(kernels(), name)(*plain, *launch(first))


def no_second(op: str) -> Callable[..., tuple]:
    """The backward pass of a kernel that is itself a derivative: it says what to call instead."""

    def refuse(ctx: Any, *cotangents: Tensor) -> tuple:
        raise RuntimeError(
            f"{op}: the native kernels have a first derivative, and this asks for a second; "
            f"call {op}_reference, or set DREAMKIT_BACKEND=reference"
        )

    return refuse


def _obstacle(op: str, device: torch.device) -> str | None:
    """Why the op cannot run native on the device; None where it can."""
    module = _load()
    if isinstance(module, str):
        return f"the compiled kernels are missing ({module})"
    if device.type == "cpu":
        return None
    if device.type != "cuda":
        return f"there are no kernels for {device.type} devices"
    if not module.with_cuda():
        return "the kernels were built without CUDA (set DREAMKIT_CUDA=ON in CMake's options)"
    if op in _UNORDERED and torch.are_deterministic_algorithms_enabled():
        return "deterministic algorithms are asked for, and its CUDA gradient adds in no fixed order"
    return None


@cache
def _load() -> ModuleType | str:
    """The compiled module, or the reason why it cannot be imported."""
    try:
        return importlib.import_module("dreamkit._kernels")
    except ImportError as error:
        return str(error)


@cache
def _warn_once() -> None:
    warnings.warn(
        f"dreamkit runs without its compiled kernels: encoding and rendering on the processor take 10 to 60 times "
        f"longer. To have them, {_REMEDY}. DREAMKIT_BACKEND=reference silences this warning.",
        RuntimeWarning,
        stacklevel=4,
    )
