"""What a visitor wants to have converted, kept on the disk so that a server that comes back still knows it."""

import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path

import tomli_w

from dreamkit.export.atomic import write_atomically

FILE = "conversion.toml"


@dataclass(frozen=True)
class ConversionOrder:
    """A finished run, and the kind of shape that it is to become. It was checked before it was written."""

    source: str
    "The name of the run."
    to: str
    title: str
    settings: tuple[str, ...] = ()
    "`key=value`, as after `--set`."
    by: str = ""
    "The converter; empty for whichever suits."

    def write(self, folder: Path) -> None:
        """Note it in the folder that the conversion will fill; raises OSError."""
        write_atomically(folder / FILE, tomli_w.dumps({**asdict(self), "settings": list(self.settings)}).encode())


def read_order(folder: Path) -> ConversionOrder | None:
    """The conversion that was ordered for a folder, None where there was none.

    Raises OSError, and ValueError where the note is damaged.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        settings = tuple(str(setting) for setting in table.pop("settings"))
        return ConversionOrder(**{name: str(value) for name, value in table.items()}, settings=settings)
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} is no whole order: {error}") from error
