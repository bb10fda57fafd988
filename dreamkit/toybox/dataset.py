"""Pictures of the toy world with captions, rendered by several processes."""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from safetensors.torch import load_file, save_file
from torch import Tensor

from dreamkit.cameras import Cameras, OrbitSampler
from dreamkit.rendering import Step
from dreamkit.toybox.captions import VIEWS, Subject, held_out, sample_subject, view_word
from dreamkit.toybox.paint import COLORS, PATTERNS
from dreamkit.toybox.world import KINDS, Look, build, picture
from dreamkit.workers import end_with_parent

SIZE = 64
_CHUNK = 500
"Pictures rendered by one task; also the unit of seeding, so the set does not depend on the number of processes."


@dataclass(frozen=True)
class ToyPictures:
    """Pictures and what they show."""

    images: UInt8[Tensor, "pictures 64 64 3"]
    labels: Float[Tensor, "pictures 5"]
    "Index of kind, colour, pattern (-1: plain) and view, and 1 where kind and colour are a held-out pair."

    def __len__(self) -> int:
        return len(self.images)

    def subject(self, index: int) -> tuple[Subject, str]:
        """What picture `index` shows, and its view word."""
        kind, color, pattern, view = (int(value) for value in self.labels[index, :4])
        look = Look(tuple(COLORS)[color], PATTERNS[pattern] if pattern >= 0 else None)
        return Subject(tuple(KINDS)[kind], look), VIEWS[view]


def sample_cameras(count: int, size: int, generator: torch.Generator) -> Cameras:
    """Views from all around: most from the height of a person's eyes, one in eight from above."""
    low = OrbitSampler(elevation=(-15.0, 50.0), distance=(2.2, 2.9), fov=(37.0, 43.0), stratified=False)
    high = OrbitSampler(elevation=(50.0, 88.0), distance=(2.2, 2.9), fov=(37.0, 43.0), stratified=False)
    above = torch.rand((), generator=generator) < 0.125
    return (high if above else low).sample(count, size, size, generator)


def backgrounds(count: int, generator: torch.Generator) -> Float[Tensor, "count 3"]:
    """Flat backgrounds: grey for seven views in ten, any colour for the rest."""
    gray = torch.rand(count, 1, generator=generator).expand(count, 3)
    tinted = torch.rand(count, 3, generator=generator)
    return torch.where(torch.rand(count, 1, generator=generator) < 0.7, gray, tinted)


def render_pictures(count: int, seed: int, processes: int = 2) -> Iterator[ToyPictures]:
    """Render `count` pictures in chunks; the result depends on the seed alone."""
    tasks = [(start, min(_CHUNK, count - start), seed) for start in range(0, count, _CHUNK)]
    if processes == 1:
        yield from map(_render_chunk, tasks)
        return
    # Spawned, not forked: a forked child of a process that has used OpenMP can hang.
    with ProcessPoolExecutor(processes, get_context("spawn"), end_with_parent) as pool:
        yield from pool.map(_render_chunk, tasks)


def render_once(path: Path, count: int, seed: int, processes: int = 2) -> Iterator[Step]:
    """Render the pictures into the file `path`, or do nothing where it exists."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    chunks: list[ToyPictures] = []
    for chunk in render_pictures(count, seed, processes):
        chunks.append(chunk)
        yield Step(sum(len(c) for c in chunks), count, 0.0, stage="pictures")
    save_pictures(joined(chunks), path)


def joined(chunks: list[ToyPictures]) -> ToyPictures:
    return ToyPictures(torch.cat([c.images for c in chunks]), torch.cat([c.labels for c in chunks]))


def save_pictures(pictures: ToyPictures, path: Path) -> None:
    partial = path.with_suffix(".partial")
    save_file({"images": pictures.images, "labels": pictures.labels}, partial)
    partial.replace(path)


def load_pictures(path: Path) -> ToyPictures:
    stored = load_file(path)
    return ToyPictures(stored["images"], stored["labels"])


def _render_chunk(task: tuple[int, int, int]) -> ToyPictures:
    start, count, seed = task
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(seed * 1_000_003 + start)
    pairs = [_render_one(generator) for _ in range(count)]
    return ToyPictures(torch.stack([image for image, _ in pairs]), torch.stack([label for _, label in pairs]))


def _render_one(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    subject = sample_subject(generator)
    stretch = 1 + 0.12 * (torch.rand(3, generator=generator) - 0.5)
    camera = sample_cameras(1, SIZE, generator)
    color, _ = picture(build(subject.kind, stretch), subject.look, camera, backgrounds(1, generator))
    view = VIEWS.index(view_word(float(camera.azimuth), float(camera.elevation)))
    pattern = PATTERNS.index(subject.look.pattern) if subject.look.pattern else -1
    label = [list(KINDS).index(subject.kind), list(COLORS).index(subject.look.color), pattern, view]
    unseen = float(subject.look.color == held_out(subject.kind))
    return (color[0] * 255 + 0.5).clamp(0, 255).byte(), torch.tensor([*label, unseen])
