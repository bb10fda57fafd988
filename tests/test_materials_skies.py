"""Environment files: what is written is what is read, what is in the box is what the formulas say."""

from pathlib import Path

import numpy as np
import pytest
import torch

from dreamkit.materials.environment import texel_areas
from dreamkit.materials.radiance_file import read_hdr, write_hdr
from dreamkit.materials.skies import SKIES, sky

FOLDER = Path(__file__).parents[1] / "assets" / "environments"


@pytest.mark.parametrize("name", SKIES)
def test_the_box_holds_what_the_formulas_say(name, tmp_path):
    write_hdr(sky(name), tmp_path / "made.hdr")
    made, kept = read_hdr(tmp_path / "made.hdr"), read_hdr(FOLDER / f"{name}.hdr")
    # Other machines round the formulas otherwise: one step of the mantissa. Here the files are equal.
    assert ((made - kept).abs() <= kept.amax(dim=-1, keepdim=True) / 128).all()


@pytest.mark.parametrize("name", SKIES)
def test_a_white_ball_shows_as_light_grey(name):
    light = read_hdr(FOLDER / f"{name}.hdr") @ torch.tensor([0.2126, 0.7152, 0.0722])
    mean = float((light * texel_areas(64)[:, None]).sum() / (4 * torch.pi))
    assert mean == pytest.approx(0.35 if name == "night" else 0.6, rel=5e-3)


def test_round_trip_keeps_eight_bits(tmp_path, generator):
    light = torch.rand(9, 18, 3, generator=generator) * 10 ** (4 * torch.rand(9, 18, 1, generator=generator) - 2)
    light[0, 0] = 0
    light[1, 1] = torch.tensor([255.9, 1.0, 0.0])
    write_hdr(light, tmp_path / "a.hdr")
    error = (read_hdr(tmp_path / "a.hdr") - light).abs()
    # Half a step of the largest channel's mantissa, whose top bit is set: 1/256 of it, and rounding.
    assert (error <= light.amax(dim=-1, keepdim=True) / 255).all()


def packed_rows(texels: np.ndarray) -> bytes:
    """Run-length encoding as Radiance writes it: here runs of equal bytes, and single plain bytes."""
    content = bytearray()
    for row in texels:
        content += bytes([2, 2, row.shape[0] >> 8, row.shape[0] & 255])
        for channel in row.T:
            values, x = channel.tolist(), 0
            while x < len(values):
                run = next((i for i in range(x, min(len(values), x + 127)) if values[i] != values[x]), None)
                run = (min(len(values), x + 127) if run is None else run) - x
                content += bytes([128 + run, values[x]]) if run > 1 else bytes([1, values[x]])
                x += run
    return bytes(content)


def test_packed_files_are_read_like_plain_ones(tmp_path):
    write_hdr(sky("window"), tmp_path / "plain.hdr")
    content = (tmp_path / "plain.hdr").read_bytes()
    start = content.index(b"+X 128\n") + 7
    texels = np.frombuffer(content[start:], dtype=np.uint8).reshape(64, 128, 4)
    (tmp_path / "packed.hdr").write_bytes(content[:start] + packed_rows(texels))
    assert torch.equal(read_hdr(tmp_path / "packed.hdr"), read_hdr(tmp_path / "plain.hdr"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"GIF89a", "not a Radiance"),
        (b"#?RADIANCE\n\n-Y 4 +X 8\n" + bytes(9), "cut short"),
        (b"#?RADIANCE\n\n-Y 4 +X 8\n" + bytes([2, 2, 0, 8]) + bytes(12), "cut short"),
        (b"#?RADIANCE\n\n-Y 1 +X 8\n" + bytes([2, 2, 0, 8]) + bytes([255] * 40), "does not fit"),
        (b"#?RADIANCE\n\n-Y 999999999 +X 999999999\n", "at most"),
    ],
)
def test_broken_files_are_explained(content, message, tmp_path):
    (tmp_path / "a.hdr").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_hdr(tmp_path / "a.hdr")


def test_light_that_no_file_can_hold_is_refused(tmp_path):
    with pytest.raises(ValueError, match="at least 0"):
        write_hdr(torch.full((2, 4, 3), -1.0), tmp_path / "a.hdr")
