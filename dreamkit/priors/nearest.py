"""The part of an error message that guesses what was meant."""

import difflib
from collections.abc import Iterable


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """The end of a sentence: `"; did you mean 'x'?"` with the known name nearest to `given`, or "." if none is near."""
    matches = difflib.get_close_matches(given.lower(), list(known), n=1, cutoff=0.5)
    return f"; did you mean {matches[0]!r}?" if matches else "."
