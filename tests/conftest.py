"""Every shape and type annotation of dreamkit is checked at run time while the tests run."""

import os

if "PYTEST_XDIST_WORKER" in os.environ:
    # One core for each process and for what it starts; torch reads this when it is imported.
    os.environ["OMP_NUM_THREADS"] = "1"

from jaxtyping import install_import_hook

install_import_hook("dreamkit", "typecheck.checked")

import pytest  # noqa: E402
import torch  # noqa: E402


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--device", default="cpu", help="run device-agnostic tests on this device (cpu, cuda)")


@pytest.fixture(scope="session")
def device(request: pytest.FixtureRequest) -> torch.device:
    chosen = torch.device(request.config.getoption("--device"))
    if chosen.type == "cuda" and not torch.cuda.is_available():
        pytest.skip("--device cuda was asked for, but torch sees no CUDA device")
    return chosen


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)
