"""Splatting on a GPU, by our own loops and by gsplat, against the reference; needs `--device cuda`."""

import pytest
import torch
from test_ops_splat import cloud, images, views

from dreamkit.ops import _library
from dreamkit.ops.splat import splat, splat_reference


def everything(run, gaussians, cameras):
    found = images(run(*gaussians, cameras, False))
    return *found, *torch.autograd.grad(found, gaussians, [torch.ones_like(image) for image in found])


@pytest.mark.parametrize("backend", ["native", "gsplat"])
def test_the_gpu_equals_the_reference_with_all_gradients(backend, device, generator, monkeypatch):
    if device.type != "cuda":
        pytest.skip("needs a GPU: pytest --device cuda")
    exact = cloud(generator, 60, size=0.1)
    single = tuple(tensor.detach().float().to(device).requires_grad_() for tensor in exact)
    cameras = views(height=40, width=56, dtype=torch.float32).to(device)
    if backend == "native":
        monkeypatch.setenv("DREAMKIT_BACKEND", "native")
        if not _library.kernels().with_cuda():
            pytest.skip("the kernels were built without CUDA")
    elif _library.library("splat", single[0]) is None:
        pytest.skip("gsplat is not installed: pip install 'dreamkit[cuda]'")
    ours = everything(splat, single, cameras)
    for actual, expected in zip(ours, everything(splat_reference, exact, views(height=40, width=56)), strict=True):
        assert (actual.cpu() - expected).abs().max() <= 1e-3 * expected.detach().abs().max().clamp_min(1)
