"""Names that a person may choose from, and what to say when the name is not among them."""

import difflib
import errno
import re
from collections.abc import Iterable, Sequence
from pathlib import Path


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """The end of a sentence: `"; did you mean 'x'?"` with the known name nearest to `given`, or "." if none is near."""
    matches = difflib.get_close_matches(given.lower(), list(known), n=1, cutoff=0.4)
    return f"; did you mean {matches[0]!r}?" if matches else "."


def check_choice(what: str, given: str, known: Sequence[str]) -> None:
    """Raise ValueError unless `given` is one of `known`; the message lists them and proposes the nearest."""
    if given not in known:
        raise ValueError(f"unknown {what} {given!r}: known are {', '.join(known)}{did_you_mean(given, known)}")


def existing(text: str) -> Path | None:
    """The file or folder that a text names, `~` expanded; None where there is none.

    Also for texts that no file system takes (too long, with a zero byte, the home of nobody). Raises OSError where the
    machine does not say whether it is there.
    """
    try:
        path = Path(text).expanduser()
        return path if path.exists() else None
    except (ValueError, RuntimeError):
        return None
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        return None


def folder_name(prompt: str, seed: int) -> str:
    """`a-red-mug-0`: a folder name that any file system takes, at most 80 plain letters whatever the prompt holds."""
    return f"{re.sub(r'[^a-z0-9]+', '-', prompt.lower()[:1000]).strip('-')[:60].strip('-') or 'asset'}-{seed}"


def shown(text: str, length: int = 100) -> str:
    """A text for one line of a terminal: without characters that steer it or cannot be seen, and cut to `length`."""
    visible = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[: length + 1])
    return visible if len(text) <= length else visible[: length - 1] + "…"
