"""Which backend each op uses, and what is said about it."""

import subprocess
import sys

import pytest
import torch

from dreamkit.ops import _library


def test_every_op_says_which_backend_it_uses_and_why():
    lines = _library.backends()
    assert [line.op for line in lines] == list(_library.OPS)
    assert all(line.reason for line in lines)


def test_environment_variable_forces_the_reference(monkeypatch):
    monkeypatch.setenv("DREAMKIT_BACKEND", "reference")
    assert {line.backend for line in _library.backends()} == {"reference"}
    assert not _library.runs_native("march", torch.device("cpu"))


def test_unknown_backend_names_the_nearest(monkeypatch):
    monkeypatch.setenv("DREAMKIT_BACKEND", "nativ")
    with pytest.raises(ValueError, match="did you mean 'native'"):
        _library.backends()


def test_unknown_op_names_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'composite'"):
        _library.backend_of("compose", torch.device("cpu"))


def test_forced_native_on_a_device_without_kernels_is_an_error(monkeypatch):
    monkeypatch.setenv("DREAMKIT_BACKEND", "native")
    with pytest.raises(RuntimeError, match="cannot run native on meta"):
        _library.backend_of("march", torch.device("meta"))


MISSING = """
import sys, warnings
sys.modules["dreamkit._kernels"] = None  # the import system's way to say that a module is not there
import torch
from dreamkit.ops import _library
from dreamkit.ops.hash_encode import HashLevels, hash_encode
levels = HashLevels(levels=2, log2_table_size=5, base=4)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for _ in range(3):
        encoded = hash_encode(torch.rand(5, 3), torch.ones(levels.entries, 2), levels)
ours = [str(w.message) for w in caught if "dreamkit" in str(w.message)]
assert len(ours) == 1, ours
assert "60 times" in ours[0] and "compiler" in ours[0], ours
assert torch.allclose(encoded, torch.ones(5, 4))
assert {line.backend for line in _library.backends()} == {"reference"}
try:
    _library.kernels()
except RuntimeError as error:
    assert "install a C++17 compiler" in str(error)
else:
    raise AssertionError("kernels() must raise")
"""


def test_without_the_compiled_module_ops_work_and_warn_exactly_once():
    done = subprocess.run([sys.executable, "-c", MISSING], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
