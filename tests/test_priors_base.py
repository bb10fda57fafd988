import pytest
import torch

from dreamkit.priors.analytic import gaussian
from dreamkit.priors.conditioning import Conditioning


def sdxl_like(rows: int, start: float = 0.0) -> Conditioning:
    counted = torch.arange(rows, dtype=torch.float32) + start
    return Conditioning(
        counted[:, None, None].expand(rows, 3, 2), counted[:, None].expand(rows, 4), counted[:, None].expand(rows, 6)
    )


def test_rows_can_be_picked_repeated_and_joined() -> None:
    rows = sdxl_like(3)
    again = Conditioning.cat([rows[[2, 0]], rows[1:2], rows[torch.tensor([1])].repeat(2)])
    assert again.tokens[:, 0, 0].tolist() == [2, 0, 1, 1, 1]
    assert again.pooled is not None
    assert again.pooled[:, 0].tolist() == [2, 0, 1, 1, 1]
    assert again.time_ids is not None
    assert len(again) == 5


def test_interpolation_meets_its_ends_and_moves_every_part() -> None:
    a, b = sdxl_like(3), sdxl_like(3, start=10)
    mixed = a.lerp(b, torch.tensor([0.0, 0.25, 1.0]))
    assert mixed.tokens[:, 0, 0].tolist() == [0, 3.5, 12]
    assert mixed.pooled is not None
    assert mixed.pooled[:, 0].tolist() == [0, 3.5, 12]


def test_moving_changes_the_type_of_every_part() -> None:
    moved = sdxl_like(2).to(dtype=torch.float64)
    assert moved.pooled is not None
    assert (moved.tokens.dtype, moved.pooled.dtype) == (torch.float64, torch.float64)


def test_rows_of_different_models_do_not_mix() -> None:
    with pytest.raises(ValueError, match="do not mix"):
        Conditioning.cat([sdxl_like(1), Conditioning(torch.zeros(1, 3, 2))])
    with pytest.raises(ValueError, match="at least one"):
        Conditioning.cat([])


def test_predictions_have_no_graph_unless_asked() -> None:
    prior = gaussian(torch.zeros(1), 0.5)
    noised, t = torch.ones(1, 1, requires_grad=True), torch.tensor([500])
    assert not prior.predict_noise(noised, t, prior.embed([""])).requires_grad
    assert prior.predict_noise(noised, t, prior.embed([""]), differentiable=True).requires_grad


def test_counts_that_differ_are_refused() -> None:
    prior = gaussian(torch.zeros(1), 0.5)
    with pytest.raises(ValueError, match="2 latents, 2 levels, 1 conditions"):
        prior.predict_noise(torch.ones(2, 1), torch.tensor([500, 500]), prior.embed([""]))
