import pytest
import torch

from dreamkit.guidance.weighting import FORMULAS, weight
from dreamkit.priors.schedule import scaled_linear

KEPT = 0.276333
"alpha^2 at level 500 (method card 0.2)."


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sds", 1 - KEPT),
        ("uniform", 1.0),
        ("fantasia3d", KEPT**0.5 * (1 - KEPT)),
        ("ism", ((1 - KEPT) / KEPT) ** 0.5),
        ("inv", 1 / (1 - KEPT)),
    ],
)
def test_weights_follow_the_table(name: str, expected: float) -> None:
    """Method card 0.5."""
    found = weight(name, scaled_linear(), torch.tensor([500, 20]), torch.zeros(2, 4, 8, 8, dtype=torch.float64))
    assert found.shape == (2, 1, 1, 1)
    # The card's alpha^2 has six digits: worst relative 7.9e-7.
    assert found[0].item() == pytest.approx(expected, rel=3e-6)


@pytest.mark.parametrize("name", FORMULAS)
def test_weights_are_finite_and_positive_on_every_level(name: str) -> None:
    found = weight(name, scaled_linear(), torch.arange(1000), torch.zeros(1000, 1))
    assert found.isfinite().all()
    assert (found > 0).all()


def test_an_unknown_weighting_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(ValueError, match="did you mean 'fantasia3d'"):
        weight("fantasia", scaled_linear(), torch.tensor([0]), torch.zeros(1, 1))
