import pytest
import torch

from dreamkit.priors.draws import PackedGenerators, normal, uniform


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_packed_scene_draws_what_it_draws_alone() -> None:
    packed = PackedGenerators((seeded(1), seeded(2)), (2, 3))
    together = normal(torch.zeros(5, 4), packed), uniform(5, packed)
    first, second = seeded(1), seeded(2)
    alone = [normal(torch.zeros(2, 4), first), normal(torch.zeros(3, 4), second), uniform(2, first), uniform(3, second)]
    assert torch.equal(together[0], torch.cat(alone[:2]))
    assert torch.equal(together[1], torch.cat(alone[2:]))


def test_the_same_seed_gives_the_same_bytes() -> None:
    assert torch.equal(normal(torch.zeros(3, 2), seeded(7)), normal(torch.zeros(3, 2), seeded(7)))
    assert not torch.equal(normal(torch.zeros(3, 2), seeded(7)), normal(torch.zeros(3, 2), seeded(8)))


def test_views_of_a_group_share_their_number() -> None:
    drawn = uniform(8, seeded(0), group=4).view(2, 4)
    assert (drawn == drawn[:, :1]).all()
    assert drawn[0, 0] != drawn[1, 0]


def test_counts_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="groups of 4"):
        uniform(6, seeded(0), group=4)
    with pytest.raises(ValueError, match="own 3 views of a batch of 4"):
        uniform(4, PackedGenerators((seeded(0),), (3,)))
    with pytest.raises(ValueError, match="one to each"):
        PackedGenerators((seeded(0),), (1, 2))
