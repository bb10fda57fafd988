"""A 3D file from a visitor's machine: looked at before anything is done with it."""

from dataclasses import dataclass
from pathlib import Path

from dreamkit.export.import_shape import import_shape
from dreamkit.representations.gaussians import Gaussians

ENDINGS = (".glb", ".obj", ".ply", ".stl", ".off")
"What can be sent as one file; a glTF with parts cannot."
LARGEST_ASSET = 32 << 20
"Bytes."
MOST_FACES, MOST_GAUSSIANS, MOST_TEXELS = 200_000, 500_000, 4096 * 4096


@dataclass(frozen=True)
class Upload:
    """A file's name and content. Nothing in it is trusted; of its name, only the ending counts."""

    name: str
    content: bytes

    def store(self, folder: Path) -> Path:
        """Write it into a run's folder as `source.ENDING`, and read it once.

        Raises ValueError (DamagedFile) for files of unknown kinds, too large ones, and whatever cannot be imported.
        """
        ending = Path(self.name[-20:]).suffix.lower()
        if ending not in ENDINGS:
            raise ValueError(f"an upload is one of {', '.join(ENDINGS)}; got {self.name[-60:]!r}")
        if len(self.content) > LARGEST_ASSET:
            raise ValueError(
                f"an upload has at most {LARGEST_ASSET >> 20} MB; this one has {len(self.content):,} bytes"
            )
        path = folder / f"source{ending}"
        path.write_bytes(self.content)
        _check_size(path)
        return path


def _check_size(path: Path) -> None:
    shape = import_shape(path)
    if isinstance(shape, Gaussians):
        parts = [("Gaussians", len(shape.positions), MOST_GAUSSIANS)]
    else:
        texels = shape.texels.shape[0] * shape.texels.shape[1]
        parts = [("triangles", len(shape.faces), MOST_FACES), ("texels", texels, MOST_TEXELS)]
    for what, count, most in parts:
        if count > most:
            raise ValueError(
                f"the file holds {count:,} {what}; this server takes at most {most:,}. Use the command line"
            )
