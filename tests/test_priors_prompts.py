import pytest
import torch

from dreamkit.priors.analytic import GaussianMixture
from dreamkit.priors.prompts import PromptTable, Row, ViewRegions, ViewWording, embed_prompts, wrap

NAMES = ["bear", "bear, front view", "bear, side view", "bear, back view", "bear, overhead view", "car", "ugly"]


@pytest.fixture
def prior() -> GaussianMixture:
    return GaussianMixture(torch.arange(7.0)[:, None], 1.0, names=NAMES)


@pytest.fixture
def table(prior: GaussianMixture) -> PromptTable:
    return embed_prompts(prior, [ViewWording().prompts("bear", negative="ugly"), ViewWording().prompts("car")])


def chosen(table: PromptTable, azimuth: list[float], elevation: float = 0.0, owner: int = 0, **options) -> list:
    angles = torch.tensor(azimuth)
    owners = torch.full((len(azimuth),), owner)
    found = ViewRegions(**options).condition(table, owners, angles, torch.full_like(angles, elevation))
    return [{NAMES[k]: round(w.item(), 4) for k, w in enumerate(row[0]) if w} for row in found.tokens]


def test_wording_appends_or_prepends_the_view() -> None:
    assert ViewWording().prompts("a mug").back == "a mug, back view"
    assert ViewWording(back="backside view", prepend=True).prompts("a mug").back == "backside view of a mug"
    alike = ViewWording(enabled=False).prompts("a room", negative="people")
    assert set(alike.rows()) == {"a room", "people", ""}


@pytest.mark.parametrize("within", [30.0, 45.0])
def test_t13_10_regions_partition_the_circle(within: float) -> None:
    """T13.10: every azimuth has one region, of the right width, and 180 is the middle of the back."""
    azimuth = torch.arange(-180, 180, 0.25) + 0.125
    row = ViewRegions(within=within).rows(azimuth, torch.zeros_like(azimuth))
    widths = [(row == r).double().mean().item() * 360 for r in (Row.FRONT, Row.SIDE, Row.BACK)]
    assert widths == pytest.approx([2 * within, 360 - 4 * within, 2 * within])
    ends = torch.tensor([180.0, -180.0, 179.0, -179.0, 540.0])
    assert (ViewRegions().rows(ends, torch.zeros(5)) == Row.BACK).all()


def test_regions_at_their_borders() -> None:
    azimuth = torch.tensor([0.0, 44.9, 45.0, 90.0, -90.0, 135.0, 135.1, 0.0])
    elevation = torch.tensor([0.0, 0, 0, 0, 0, 0, 0, 60.1])
    expected = [Row.FRONT, Row.FRONT, Row.SIDE, Row.SIDE, Row.SIDE, Row.SIDE, Row.BACK, Row.OVERHEAD]
    assert ViewRegions().rows(azimuth, elevation).tolist() == expected


def test_wrapping_keeps_the_direction() -> None:
    found = wrap(torch.tensor([0.0, 180.0, -180.0, 190.0, -190.0, 725.0]))
    assert found.tolist() == [0, 180, 180, -170, 170, 5]


def test_each_view_gets_its_wording_and_its_prompt(table: PromptTable) -> None:
    found = chosen(table, [0.0, 90.0, 180.0])
    assert found == [{"bear, front view": 1}, {"bear, side view": 1}, {"bear, back view": 1}]
    assert chosen(table, [0.0], elevation=70.0) == [{"bear, overhead view": 1}]
    assert chosen(table, [0.0], owner=1) == [{"car": 1}]


def test_interpolated_wordings_blend_by_azimuth(table: PromptTable) -> None:
    """Method card 13.3: `r front + (1 - r) side` with `r = 1 - |a| / 90`, then side to back."""
    found = chosen(table, [0.0, -22.5, 90.0, 135.0, 180.0], interpolate=True)
    assert found[0] == {"bear, front view": 1}
    assert found[1] == {"bear, front view": 0.75, "bear, side view": 0.25}
    assert found[2] == {"bear, side view": 1}
    assert found[3] == {"bear, side view": 0.5, "bear, back view": 0.5}
    assert found[4] == {"bear, back view": 1}
    assert chosen(table, [20.0], elevation=70.0, interpolate=True) == [{"bear, overhead view": 1}]


def test_negative_and_empty_prompts_are_rows_of_the_table(prior: GaussianMixture, table: PromptTable) -> None:
    both = torch.tensor([0, 1])
    assert torch.equal(table.select(both, Row.NEGATIVE).tokens, prior.embed(["ugly", ""]).tokens)
    assert torch.equal(table.select(both, Row.NULL).tokens, prior.embed(["", ""]).tokens)
