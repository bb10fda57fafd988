"""The page's HTML: nothing that people write becomes markup, and what it says is right."""

import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from PIL import Image

from dreamkit.rendering import Rendering
from dreamkit.service import markup
from dreamkit.service.past import PastRun
from dreamkit.service.pictures import Picture, preview_pictures, thumbnail
from dreamkit.service.run import Snapshot, State

HOSTILE = """<script>alert(1)</script><img src=x onerror="alert(2)">'"&<b>"""


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


def past(**other) -> PastRun:
    return replace(PastRun("a-mug-0", Path("nowhere"), "a mug", 0, "sds", 400, True), **other)


def run(**other) -> Snapshot:
    return replace(Snapshot("a-mug-0", "a mug", State.RUNNING, stage="optimise", index=3, total=10), **other)


@pytest.mark.parametrize(
    "html",
    [
        markup.live(run(title=HOSTILE, note=HOSTILE)),
        markup.live(run(title="a", state=State.FAILED, error=HOSTILE)),
        markup.gallery([past(prompt=HOSTILE, method=HOSTILE)]),
    ],
)
def test_hostile_words_stay_words(html: str) -> None:
    tags = Tags(html).seen
    assert not {tag for tag, _ in tags} & {"script", "iframe"}
    assert not [tag for tag, attributes in tags if tag == "img" or any(name.startswith("on") for name in attributes)]
    assert "&lt;script&gt;" in html


def test_the_names_of_runs_stay_inside_their_link() -> None:
    tags = Tags(markup.gallery([past(name='a"onclick="x')])).seen
    assert [attributes for tag, attributes in tags if tag == "a"] == [
        {"class": "dk-card", "href": "?run=a%22onclick%3D%22x"}
    ]


def test_what_a_run_says_of_itself() -> None:
    assert "step 3 of 10" in markup.live(run())
    assert "about 61 s left" in markup.live(run(seconds_left=60.2))
    assert "then the fine stage" in markup.live(run(stage="coarse", seconds_left=9.0))
    assert "2 runs before yours" in markup.live(run(state=State.WAITING, ahead=2))
    assert "1 run before yours" in markup.live(run(state=State.WAITING, ahead=1))
    assert "next" in markup.live(run(state=State.WAITING))
    assert "Continue" in markup.live(run(state=State.STOPPED))
    assert "width:30.0%" in markup.live(run())
    assert "progressbar" not in markup.live(run(state=State.DONE))


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 s"), (89, "89 s"), (91, "2 min"), (3600, "60 min"), (5400, "1 h 30 min"), (7500, "2 h 5 min")],
)
def test_durations_are_as_exact_as_wanted(seconds: float, words: str) -> None:
    assert markup.duration(seconds) == words


def test_the_curve_falls_where_the_loss_falls() -> None:
    html = markup.loss_curve([100.0, 10.0, 1.0])
    points = re.findall(r"([\d.]+),([\d.]+)", html.split('points="')[1].split('"')[0])
    # Three decades at equal distances, on an axis that grows downwards from 4 to 52.
    assert [(float(x), float(y)) for x, y in points] == [(0.0, 4.0), (150.0, 28.0), (300.0, 52.0)]


def test_the_curve_of_a_long_run_is_short_and_keeps_its_means() -> None:
    html = markup.loss_curve([1.0, 3.0] * 5000, points=100)
    points = re.findall(r"[\d.]+,[\d.]+", html.split('points="')[1].split('"')[0])
    assert len(points) == 100
    assert "<span>2</span>" in html


@pytest.mark.parametrize("losses", [[], [1.0], [float("nan")] * 5, [0.0, -1.0, 2.0]])
def test_no_curve_without_two_numbers(losses: list[float]) -> None:
    assert markup.loss_curve(losses) == ""


def test_a_flat_loss_is_a_line() -> None:
    assert "nan" not in markup.loss_curve([2.0, 2.0, 2.0])


def test_normals_are_shown_as_colours() -> None:
    """A normal of +Y under full opacity is (0.5, 1, 0.5); without opacity there is paper."""
    alpha = torch.tensor([1.0, 0.0]).view(1, 1, 2, 1)
    normal = torch.tensor([0.0, 0.7, 0.0]).expand(1, 1, 2, 3)
    pictures = preview_pictures(Rendering(torch.zeros(1, 1, 2, 3), alpha, alpha, normal))
    image = Image.open(io.BytesIO(next(p.png for p in pictures if p.name == "normals")))
    assert image.getpixel((0, 0)) == (128, 255, 128)
    assert image.getpixel((1, 0)) == (33, 33, 33)


def test_the_gallery_shows_the_front_of_the_newest_picture(tmp_path: Path) -> None:
    """The strip's first square is the front; a preview that is written again is shown anew."""
    strip = Image.new("RGB", (40, 10), "blue")
    strip.paste("red", (0, 0, 10, 10))
    strip.save(tmp_path / "preview.png")
    # WebP is lossy: measured (254, 0, 0).
    red, _, blue = Image.open(io.BytesIO(thumbnail(tmp_path / "preview.png"))).convert("RGB").getpixel((96, 96))
    assert red > 240
    assert blue < 15
    before = markup.gallery([past(folder=tmp_path)])
    Image.new("RGB", (40, 10), "green").save(tmp_path / "preview.png")
    assert markup.gallery([past(folder=tmp_path)]) != before


def test_an_empty_gallery_says_what_it_is_for() -> None:
    assert "kept here" in markup.gallery([])


def test_a_tile_for_every_picture() -> None:
    html = markup.live(run(pictures=(Picture("render", b"1"), Picture("opacity", b"2"))))
    assert [attributes["alt"] for tag, attributes in Tags(html).seen if tag == "img"] == ["render", "opacity"]


def test_a_conversion_shows_what_it_kept_and_other_runs_nothing() -> None:
    told = {
        "route": ["hash_field", HOSTILE], "convert_psnr": [30.0, None, 15.0], "convert_psnr_median": 30.04,
        "convert_opacity_error": 0.0123, "convert_depth_error": None, "mesh_psnr_median": 27.5,
    }  # fmt: skip
    shown = markup.kept(told)
    assert "hash field → &lt;script&gt;" in shown
    for words in ("30.0 dB", "0.012", "–", "27.5 dB", "height:25%", "height:100%"):
        assert words in shown
    assert shown in markup.live(run(state=State.DONE), told)
    assert markup.kept({"prompt": "a mug"}) == ""
    assert markup.kept({"convert_psnr": "x", "route": 3}) == ""
